/** Who seems to be calling (HC-14): words of the environment first, then the program that started us. */
export interface HarnessProbe {
  provider: string | null;
  model: string | null;
  harness: string;
  thinking_level: string | null;
  probe_source: string;
  /** 0 to 1. */
  probe_confidence: number;
}

type Environment = Record<string, string | undefined>;

/** Variables that a harness sets for the commands it runs. A name that ends in `_` stands for all that begin so. */
const MARKERS: readonly [marker: string, harness: string][] = [
  ['CLAUDECODE', 'claude'],
  ['CODEX_', 'codex'],
  ['GEMINI_CLI', 'gemini'],
  ['OPENCODE', 'opencode'],
];

const PROGRAMS = ['claude', 'codex', 'gemini', 'opencode'];

/** Without blanks around it; null when nothing is left. */
function cleaned(value: string | undefined): string | null {
  return value?.trim() || null;
}

function isSet(env: Environment, marker: string): boolean {
  const names = marker.endsWith('_') ? Object.keys(env).filter((name) => name.startsWith(marker)) : [marker];
  return names.some((name) => cleaned(env[name]) !== null);
}

/** `parent_argv`: the command line of the process that called us; its words are looked at by their last part. */
export function probeHarness(env: Environment, parent_argv: readonly string[]): HarnessProbe {
  const said = {
    provider: cleaned(env.DROVER_AGENT_PROVIDER),
    model: cleaned(env.DROVER_AGENT_MODEL),
    thinking_level: cleaned(env.DROVER_AGENT_THINKING),
  };
  const marked = MARKERS.find(([marker]) => isSet(env, marker));
  if (marked !== undefined) return { ...said, harness: marked[1], probe_source: 'env', probe_confidence: 0.9 };
  const words = parent_argv.slice(0, 2).map((word) => word.slice(word.lastIndexOf('/') + 1).replace(/\.[cm]?js$/, ''));
  const program = PROGRAMS.find((name) => words.includes(name));
  if (program !== undefined) return { ...said, harness: program, probe_source: 'parent_argv', probe_confidence: 0.75 };
  return { ...said, harness: 'agent-api', probe_source: 'agent_api', probe_confidence: 1 };
}
