import { AppError } from '../model/error.ts';
import type { Harness } from '../model/harness.ts';
import type { HarnessRunner, Profile } from '../model/profile.ts';
import { claude } from './claude.ts';
import { codex } from './codex.ts';
import { gemini } from './gemini.ts';
import { opencode } from './opencode.ts';
import { rehearsal } from './rehearsal.ts';
import { runnerHarness } from './runner.ts';

export type HarnessRunners = Record<string, HarnessRunner>;

const BUILT_IN = new Map([claude, codex, opencode, gemini, rehearsal].map((harness) => [harness.id, harness]));

const ALIASES = new Map([
  ['claude-code', 'claude'],
  ['gemini-cli', 'gemini'],
  ['factory-droid', 'factory_droid'],
  ['factorydroid', 'factory_droid'],
]);

/** Markers in the order in which they are tried (E-005); those without a built-in adapter need a runner to count. */
const DETECTION: [id: string, markers: string[]][] = [
  ...[claude, codex, opencode, gemini].map((harness): [string, string[]] => [harness.id, harness.project_markers]),
  ['cursor', ['.cursor', '.cursorrules']],
  ['kiro', ['.kiro']],
  ['trae', ['.trae']],
  ['zed', ['.zed']],
  ['factory_droid', ['.factory']],
  ['windsurf', ['.windsurf', '.windsurfrules']],
];

const FALLBACK = 'claude';

/** `gemini-cli` → `gemini`; a name nobody knows → trimmed lower case (E-004). */
export function canonicalHarness(name: string): string {
  const id = name.trim().toLowerCase();
  return ALIASES.get(id) ?? id;
}

/** What was asked for, unless the profile names a harness (E-006). */
export function requestedHarness(requested: string | null, profile: Profile | null): string {
  return profile?.agent?.trim() || requested?.trim() || 'auto';
}

/** Every path, relative to the repository root, whose presence `detectHarness` wants to know of. */
export function markerPaths(runners: HarnessRunners): string[] {
  const own = Object.values(runners).flatMap((runner) => runner.project_markers);
  return [...new Set([...DETECTION.flatMap(([, markers]) => markers), ...own])];
}

/**
 * The harness a repository is made for (E-005), from the set of marker paths that exist in it. Known harnesses first
 * in their fixed order, then the runners of the config in theirs; only what can be started is chosen.
 */
export function detectHarness(present: ReadonlySet<string>, runners: HarnessRunners): string {
  const configured = byCanonicalId(runners);
  const known = DETECTION.map(([id, markers]): [string, string[]] => [
    id,
    [...markers, ...(configured.get(id)?.project_markers ?? [])],
  ]);
  const others = [...configured].map(([id, runner]): [string, string[]] => [id, runner.project_markers]);
  const found = [...known, ...others].find(
    ([id, markers]) => (BUILT_IN.has(id) || configured.has(id)) && markers.some((marker) => present.has(marker)),
  );
  return found?.[0] ?? FALLBACK;
}

/** The canonical id for a request; `auto` and the empty request look at the repository (E-005). */
export function resolveHarnessId(requested: string, present: ReadonlySet<string>, runners: HarnessRunners): string {
  const id = canonicalHarness(requested);
  return id === '' || id === 'auto' ? detectHarness(present, runners) : id;
}

/** Whether a word asks for one of the agent CLIs, or leaves it to the repository's markers: neither a script nor a program of the config. */
export function isAgentCli(word: string): boolean {
  const id = canonicalHarness(word);
  return id === '' || id === 'auto' || (BUILT_IN.has(id) && id !== rehearsal.id);
}

/** Ids that can be started: built-in first, then the config's own. */
export function knownHarnesses(runners: HarnessRunners): string[] {
  return [...new Set([...BUILT_IN.keys(), ...byCanonicalId(runners).keys()])];
}

/** Every word that `findHarness` and `resolveHarnessId` take, written as ids are. */
export function harnessWords(runners: HarnessRunners): string[] {
  return ['auto', ...knownHarnesses(runners), ...ALIASES.keys()];
}

/**
 * The harness of an id or alias; a configured runner wins over a built-in one (E-024). Throws `unknown_harness` with
 * the ids that would do, and `runner_without_program`.
 */
export function findHarness(name: string, runners: HarnessRunners): Harness {
  const id = canonicalHarness(name);
  const built_in = BUILT_IN.get(id) ?? null;
  const runner = byCanonicalId(runners).get(id);
  if (runner !== undefined) return runnerHarness(id, runner, built_in);
  if (built_in !== null) return built_in;
  const known = knownHarnesses(runners);
  throw new AppError('usage', 'unknown_harness', `Unsupported agent type: ${id}`, {
    hint: `Use one of: ${known.join(', ')}; or add harness_runners.${id} to the config.`,
    data: { known },
  });
}

function byCanonicalId(runners: HarnessRunners): Map<string, HarnessRunner> {
  return new Map(Object.entries(runners).map(([name, runner]) => [canonicalHarness(name), runner]));
}
