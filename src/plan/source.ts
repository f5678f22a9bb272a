import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type ParsedNode,
  Parser,
} from 'yaml';
import { PLAN_LIMITS } from '../model/plan.ts';

/** Lists and mappings within one another. */
const MAX_DEPTH = 32;
/** Values of the document once every alias stands for what it names: an anchor can multiply what a file says. */
const MAX_VALUES = 500_000;
/** Beyond this, more mistakes of one kind help nobody. */
const MAX_ISSUES = 100;

export interface SourceIssue {
  /** From 1. */
  line: number;
  column: number;
  message: string;
}

/** Where a value stands, with its parts. */
interface Place {
  at: number;
  parts: Map<string | number, { key_at: number; place: Place }> | null;
}

export interface Source {
  /** Plain mappings, lists and scalars, null where there is none; null when the text could not be read to its end. */
  value: unknown;
  issues: SourceIssue[];
  /** The position of a value (or of its key), or of the nearest thing around it that exists. */
  locate(path: readonly (string | number)[], is_key?: boolean): { line: number; column: number };
}

/**
 * Reads one YAML document, keeping the position of everything in it. Bounded in size, depth and what aliases may
 * multiply; a mistake is an issue and never an exception.
 */
export function readSource(text: string): Source {
  const counter = new LineCounter();
  const issues: SourceIssue[] = [];
  const position = (at: number) => {
    const { line, col } = counter.linePos(at);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const complain = (at: number, message: string) => {
    if (issues.length < MAX_ISSUES) issues.push({ ...position(at), message });
  };
  const failed = (): Source => ({ value: null, issues, locate: () => ({ line: 1, column: 1 }) });
  if (Buffer.byteLength(text) > PLAN_LIMITS.bytes) {
    complain(0, `the file has ${Buffer.byteLength(text)} bytes; at most ${PLAN_LIMITS.bytes} are read`);
    return failed();
  }
  const document = compose(text, counter, complain);
  if (document === null) return failed();
  const conversion = new Conversion(complain);
  const root: Place = { at: 0, parts: null };
  const value = conversion.of(document.contents, root, []);
  return {
    value: conversion.isCut ? null : value,
    issues,
    locate: (path, is_key = false) => position(offsetOf(root, path, is_key)),
  };
}

function compose(
  text: string,
  counter: LineCounter,
  complain: (at: number, message: string) => void,
): Document.Parsed | null {
  counter.addNewLine(0);
  const parser = new Parser(counter.addNewLine);
  const tokens = [];
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token);
    // Composing a document calls itself for every level.
    if (parser.stack.length > 4 * MAX_DEPTH || tokens.length > PLAN_LIMITS.steps) {
      const why =
        tokens.length > PLAN_LIMITS.steps ? 'is no single document' : `nests more than ${MAX_DEPTH} levels deep`;
      complain(parser.offset, `the file ${why}`);
      return null;
    }
  }
  for (const token of parser.end()) tokens.push(token);
  const composer = new Composer({ uniqueKeys: false, version: '1.2', merge: false, strict: true });
  const documents = [...composer.compose(tokens, true, text.length)];
  const [document] = documents;
  // What is missing at the end of the text is missing behind its last word.
  const end = text.trimEnd().length;
  for (const problem of documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]))
    complain(Math.min(problem.pos[0], end), problem.message.split('\n')[0] ?? problem.message);
  if (documents.length > 1) complain(documents[1]?.range[0] ?? 0, 'a plan is one YAML document, this is a second one');
  return document === undefined || document.errors.length > 0 || documents.length > 1
    ? null
    : (document as Document.Parsed);
}

class Conversion {
  readonly #complain: (at: number, message: string) => void;
  readonly #anchors = new Map<string, ParsedNode>();
  #values = 0;
  /** Too deep or too much: what it made is not what the text says. */
  isCut = false;

  constructor(complain: (at: number, message: string) => void) {
    this.#complain = complain;
  }

  /** `within`: the anchored values around it, so that none can contain itself. */
  of(node: ParsedNode | null, place: Place, within: readonly ParsedNode[], depth = 0): unknown {
    if (node === null) return null;
    place.at = node.range[0];
    if (++this.#values > MAX_VALUES || depth > MAX_DEPTH) {
      this.isCut = true;
      if (this.#values === MAX_VALUES + 1)
        this.#complain(place.at, `aliases make more than ${MAX_VALUES} values of this file`);
      else if (depth > MAX_DEPTH) this.#complain(place.at, `nests more than ${MAX_DEPTH} levels deep`);
      return null;
    }
    if (isAlias(node)) return this.#alias(node.source, place, within, depth);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    const around = node.anchor === undefined ? within : [...within, node];
    if (isScalar(node)) return this.#scalar(node.value, place);
    if (isSeq(node)) {
      const parts: NonNullable<Place['parts']> = new Map();
      place.parts = parts;
      return node.items.map((item, i) => {
        const part = { key_at: place.at, place: { at: place.at, parts: null } };
        parts.set(i, part);
        const value = this.of(item as ParsedNode | null, part.place, around, depth + 1);
        part.key_at = part.place.at;
        return value;
      });
    }
    return this.#map(node, place, around, depth);
  }

  #alias(name: string, place: Place, within: readonly ParsedNode[], depth: number): unknown {
    const { at } = place;
    const meant = this.#anchors.get(name);
    if (meant === undefined || within.includes(meant)) {
      this.#complain(at, meant === undefined ? `*${name} names no anchor before it` : `&${name} contains itself`);
      return null;
    }
    // The parts of what it names stand elsewhere; a mistake in them is told where it is used.
    return this.of(meant, { at, parts: null }, within, depth + 1);
  }

  #scalar(value: unknown, place: Place): unknown {
    if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return value;
    this.#complain(place.at, 'is no text, number, true, false or null');
    return null;
  }

  #map(node: ParsedNode, place: Place, within: readonly ParsedNode[], depth: number): Record<string, unknown> {
    // Without a prototype, so that no key means anything but itself.
    const value: Record<string, unknown> = Object.create(null);
    if (!isMap(node)) return value;
    const parts: NonNullable<Place['parts']> = new Map();
    place.parts = parts;
    for (const pair of node.items) {
      const key_node = pair.key as ParsedNode | null;
      const key_at = key_node?.range[0] ?? place.at;
      if (!isScalar(key_node) || key_node.value === null || typeof key_node.value === 'object') {
        this.#complain(key_at, 'a key must be a word');
        continue;
      }
      const key = String(key_node.value);
      const part = { key_at, place: { at: key_at, parts: null } };
      if (parts.has(key)) this.#complain(key_at, `the key ${JSON.stringify(key.slice(0, 80))} stands here twice`);
      parts.set(key, part);
      value[key] = this.of(pair.value as ParsedNode | null, part.place, within, depth + 1);
    }
    return value;
  }
}

function offsetOf(root: Place, path: readonly (string | number)[], is_key: boolean): number {
  let place = root;
  let at = root.at;
  for (const [i, step] of path.entries()) {
    const part = place.parts?.get(step);
    if (part === undefined) break;
    at = is_key && i === path.length - 1 ? part.key_at : part.place.at;
    place = part.place;
  }
  return at;
}
