import { mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

/** What one run of a CLI left behind, machine paths and random ids replaced. */
export interface Golden {
  exit_code: number | null;
  signal: string | number | null;
  stderr_tail: string;
  /** Without the program's directory. */
  argv: string[];
  /** Names only of what the case added to the usual environment, with their values: none is secret. */
  extra_env: Record<string, string>;
  /** Kinds of the steps that the scripted model had, in order. */
  script: unknown;
}

export interface Places {
  home: string;
  repo: string;
  bin_dir: string;
  model_url: string;
}

const UUID = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g;
const PREFIXED_ID = /\b(ses|msg|prt|per|evt)_[0-9a-f]{12}[0-9A-Za-z]{14}\b/g;
const MAX_BYTES = 60 * 1024;

/**
 * A function that makes texts of one run comparable with those of another: machine paths become fixed ones, and random
 * ids become counters, the same id always the same counter. Share one scrubber between the texts of a run.
 */
export function scrubber(places: Places): (text: string) => string {
  const ids = new Map<string, string>();
  const counter = (id: string, shape: (n: string) => string) => {
    const known = ids.get(id) ?? shape(String(ids.size + 1));
    ids.set(id, known);
    return known;
  };
  const fixed = fixedNames(places);
  return (text) => {
    let out = text;
    for (const [from, to] of fixed) out = out.replaceAll(from, to);
    out = out.replace(UUID, (id) => counter(id, (n) => `00000000-0000-4000-8000-${n.padStart(12, '0')}`));
    return out.replace(PREFIXED_ID, (id) => counter(id, (n) => `${id.slice(0, 4)}${n.padStart(26, '0')}`));
  };
}

/** Longest first, because the repository lies below the home. */
function fixedNames(places: Places): [string, string][] {
  const install = join(places.bin_dir, '..');
  const dashed = (path: string) => path.replace(/[^A-Za-z0-9]/g, '-');
  const names: [string, string][] = [
    [places.repo, '/repo'],
    [dashed(places.repo), '-repo'],
    [places.home, '/home/agent'],
    [dashed(places.home), '-home-agent'],
    [install, '/opt/harness'],
    [import.meta.dir, '/opt/drover-test'],
    [process.execPath, '/opt/bun'],
    [places.model_url, 'http://127.0.0.1:18080'],
    [new URL(places.model_url).host, '127.0.0.1:18080'],
    ['sk-dummy', 'sk-scrubbed'],
  ];
  if (hostname().length > 3) names.push([hostname(), 'agent-host']);
  return names;
}

/** Writes `<dir>/<name>.jsonl` and `<name>.json`. Both must be scrubbed already. */
export function writeGolden(dir: string, name: string, stdout: string, golden: Golden): void {
  if (Buffer.byteLength(stdout) > MAX_BYTES)
    throw new Error(`${dir}/${name}: ${stdout.length} characters are too many`);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, `${name}.jsonl`), stdout);
  writeFileSync(join(dir, `${name}.json`), `${JSON.stringify(golden, null, 2)}\n`);
}
