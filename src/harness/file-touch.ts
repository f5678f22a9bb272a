import type { FileTouch } from '../model/harness.ts';
import { type JsonObject, textAt } from './json-line.ts';

const MAX_TOUCHES = 200;
const MAX_PATH = 4096;
const PATH_KEYS = ['file_path', 'filePath', 'notebook_path', 'absolute_path', 'path'];

/** Tools of all harnesses that name one file, lower case. `Write` may overwrite; nobody tells, so it counts as create. */
const FILE_TOOLS = new Map<string, FileTouch['action']>([
  ['read', 'read'],
  ['read_file', 'read'],
  ['notebookread', 'read'],
  ['write', 'create'],
  ['write_file', 'create'],
  ['edit', 'modify'],
  ['multiedit', 'modify'],
  ['notebookedit', 'modify'],
  ['replace', 'modify'],
]);

const PATCH_TOOLS = new Set(['apply_patch', 'patch']);

/** The files that a tool call says it touches (E-142); shell commands say nothing. */
export function touchesOf(tool: string, input: JsonObject | null): FileTouch[] {
  if (input === null) return [];
  const name = tool.toLowerCase();
  if (PATCH_TOOLS.has(name))
    return patchTouches(textAt(input, 'patchText') ?? textAt(input, 'patch') ?? textAt(input, 'input') ?? '');
  const action = FILE_TOOLS.get(name);
  if (action === undefined) return [];
  for (const key of PATH_KEYS) {
    const path = textAt(input, key);
    if (path !== null && isPath(path)) return [{ path, action }];
  }
  return [];
}

const PATCH_LINE = /^\*\*\* (Add File|Update File|Delete File|Move to): (.+)$/gm;
const PATCH_ACTIONS = new Map<string, FileTouch['action']>([
  ['Add File', 'create'],
  ['Update File', 'modify'],
  ['Delete File', 'delete'],
  ['Move to', 'move'],
]);

/** The files named by the header lines of an `apply_patch` text. */
function patchTouches(patch: string): FileTouch[] {
  const touches: FileTouch[] = [];
  for (const [, verb = '', raw = ''] of patch.matchAll(PATCH_LINE)) {
    const path = raw.trim();
    const action = PATCH_ACTIONS.get(verb);
    if (action !== undefined && isPath(path)) touches.push({ path, action });
    if (touches.length === MAX_TOUCHES) break;
  }
  return touches;
}

export function isPath(path: string): boolean {
  return path !== '' && path.length <= MAX_PATH && !path.includes('\0') && path.isWellFormed();
}

/** At most as many touches as one event carries. */
export function boundedTouches(touches: FileTouch[]): FileTouch[] {
  return touches.slice(0, MAX_TOUCHES);
}
