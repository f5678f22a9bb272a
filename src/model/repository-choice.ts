/** Keys by which a repository chooses with what a session starts that nobody said more about. */
const CHOOSING = ['default_harness', 'default_profile'] as const;

/** What a repository that is not trusted chose in its own file (docs/adr/0007): such choices are bounded. */
export interface RepositoryChoice {
  repo_root: string;
  /** Key paths by which it chose what counts. */
  keys: readonly string[];
  /** Profiles that only its file defines. */
  profiles: readonly string[];
}

/** What of a config file is asked here. */
interface ChoosingFile {
  default_harness?: string | undefined;
  default_profile?: string | undefined;
  computer_use?: { harness?: string | null | undefined; profile?: string | null | undefined } | undefined;
  profiles?: Record<string, unknown> | undefined;
}

export function choiceOf(repo_root: string, user: ChoosingFile | null, project: ChoosingFile): RepositoryChoice {
  const chosen: string[] = CHOOSING.filter((key) => project[key] !== undefined);
  for (const key of ['harness', 'profile'] as const)
    if (project.computer_use?.[key] != null) chosen.push(`computer_use.${key}`);
  return {
    repo_root,
    keys: chosen,
    profiles: Object.keys(project.profiles ?? {}).filter((key) => user?.profiles?.[key] === undefined),
  };
}
