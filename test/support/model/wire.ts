import type { ModelRequest, SentText, WireId } from './request.ts';
import type { StatusStep, TokenUsage, ToolCall } from './scenario.ts';

/** What the model is to say. */
export interface Answer {
  /** Unique within one server; ids on the wire are made from it. */
  serial: string;
  model: string;
  text: string;
  reasoning: string;
  calls: ToolCall[];
  usage: TokenUsage;
}

/** An error answer: body and the headers that belong to its flavour. */
export interface Refusal {
  body: unknown;
  headers: Record<string, string>;
}

export interface Wire {
  id: WireId;
  read(path: string, body: Json): ModelRequest;
  /** Server-sent events in order, each complete with its blank line. */
  stream(answer: Answer, request: ModelRequest): string[];
  whole(answer: Answer, request: ModelRequest): unknown;
  refusal(step: StatusStep, now_s: number): Refusal;
}

export interface Json {
  [key: string]: unknown;
}

export function asObject(value: unknown): Json {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Json) : {};
}

export function asList(value: unknown): Json[] {
  return Array.isArray(value) ? value.map(asObject) : [];
}

export function asText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Text of a content field that is a string or a list of parts with a `text`. */
export function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  return asList(content)
    .map((part) => asText(part.text))
    .filter((text) => text !== '')
    .join('\n');
}

/** All texts after the last assistant text, joined. */
export function newestOf(texts: SentText[]): string {
  const last = texts.findLastIndex((part) => part.role === 'assistant');
  return texts
    .slice(last + 1)
    .map((part) => part.text)
    .join('\n');
}

/** Three pieces of a text, so that a stream can be cut within it. Never splits a code point. */
export function pieces(text: string): string[] {
  const points = [...text];
  const size = Math.max(1, Math.ceil(points.length / 3));
  const out: string[] = [];
  for (let at = 0; at < points.length; at += size) out.push(points.slice(at, at + size).join(''));
  return out;
}

/** One server-sent event. */
export function frame(data: unknown, event?: string): string {
  return `${event ? `event: ${event}\n` : ''}data: ${JSON.stringify(data)}\n\n`;
}
