import type { Profile } from './profile.ts';

/** Keys by which a repository chooses with what a session starts that nobody said more about. */
const CHOOSING = ['default_harness', 'default_profile', 'default_role'] as const;
/** Of these the user's own word wins; which harness is the default, a repository knows best. */
const OVERRULED = ['default_profile', 'default_role'] as const;

/** What a repository that is not trusted chose in its own file (docs/adr/0007): such choices are bounded. */
export interface RepositoryChoice {
  repo_root: string;
  /** Key paths by which it chose what counts. */
  keys: readonly string[];
  /** Those that the user's own config overrules. */
  overruled: readonly string[];
  /** Profiles that only its file defines. */
  profiles: readonly string[];
  /** The user's default profile; none of its profiles may allow more. Null: the user has none. */
  ceiling: Profile | null;
}

/** What of a config file is asked here. */
interface ChoosingFile {
  default_harness?: string | undefined;
  default_profile?: string | undefined;
  default_role?: string | undefined;
  computer_use?: { harness?: string | null | undefined; profile?: string | null | undefined } | undefined;
  profiles?: Record<string, unknown> | undefined;
}

/** Keys of the repository that count for nothing, because the user has said something else. */
export function overruledKeys(user: ChoosingFile | null, project: ChoosingFile): (typeof OVERRULED)[number][] {
  return OVERRULED.filter((key) => user?.[key] !== undefined && project[key] !== undefined);
}

/** `profiles`: all there are, resolved. */
export function choiceOf(
  repo_root: string,
  user: ChoosingFile | null,
  project: ChoosingFile,
  profiles: Record<string, Profile>,
): RepositoryChoice {
  const overruled: string[] = overruledKeys(user, project);
  const own = user?.default_profile;
  const chosen: string[] = CHOOSING.filter((key) => project[key] !== undefined && !overruled.includes(key));
  for (const key of ['harness', 'profile'] as const)
    if (project.computer_use?.[key] != null) chosen.push(`computer_use.${key}`);
  return {
    repo_root,
    keys: chosen,
    overruled,
    profiles: Object.keys(project.profiles ?? {}).filter((key) => user?.profiles?.[key] === undefined),
    ceiling: own === undefined || user?.profiles?.[own] === undefined ? null : (profiles[own] ?? null),
  };
}

/** From strict to loose, as the adapters mean them; without a word a headless session may edit and run commands. */
const MODES: readonly (readonly (string | null)[])[] = [
  ['plan', 'read-only'],
  ['default'],
  ['acceptEdits', 'auto_edit', 'workspace-write'],
  [null],
  ['full-auto', 'yolo', 'bypassPermissions', 'danger-full-access'],
];

/** By which of its settings a profile allows more than another; none: by nothing. Tools are compared as they are written. */
export function looserBy(profile: Profile, ceiling: Profile): string[] {
  const found: string[] = [];
  const isNarrow = ceiling.allowed_tools.length > 0 || ceiling.permission_mode !== null;
  const isAll = profile.allowed_tools.length === 0 && ceiling.allowed_tools.length > 0;
  if (isNarrow && (isAll || profile.allowed_tools.some((tool) => !ceiling.allowed_tools.includes(tool))))
    found.push('allowed_tools');
  if (ceiling.disallowed_tools.some((tool) => !profile.disallowed_tools.includes(tool))) found.push('disallowed_tools');
  if (isLaxer(profile.permission_mode, ceiling.permission_mode)) found.push('permission_mode');
  for (const key of ['max_budget_usd', 'token_budget'] as const) {
    const most = ceiling[key];
    if (most !== null && (profile[key] ?? Number.POSITIVE_INFINITY) > most) found.push(key);
  }
  return found;
}

/** A word that nobody knows cannot be compared, and counts as laxer. */
function isLaxer(mode: string | null, than: string | null): boolean {
  const rank = (word: string | null) => MODES.findIndex((words) => words.includes(word));
  if (mode === than) return false;
  return rank(mode) < 0 || rank(than) < 0 || rank(mode) > rank(than);
}
