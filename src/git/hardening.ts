/**
 * What keeps a repository from running programs of its own choice inside our git (ARCHITECTURE §6). Whoever
 * can write the shared configuration or a `.gitattributes` can name filters, drivers, hooks and helpers; git itself
 * runs them in the process tree of whoever types `git status`.
 *
 * Three layers: constant overrides, which git also hands down to submodules; overrides for every key with a free name
 * (`filter.<name>.clean`), which have to be read from the configuration first; and options of single commands.
 */

/** Safe whatever the repository says. Ordered as `git -c key=value`. */
const CONSTANT_OVERRIDES: readonly [key: string, value: string][] = [
  ['core.fsmonitor', 'false'],
  ['core.hooksPath', '/dev/null'],
  ['core.alternateRefsCommand', 'false'],
  ['core.pager', 'cat'],
  ['core.sshCommand', 'false'],
  ['credential.helper', ''],
  ['gpg.program', 'false'],
  ['gpg.ssh.defaultKeyCommand', 'false'],
  ['commit.gpgSign', 'false'],
  ['tag.gpgSign', 'false'],
  ['log.showSignature', 'false'],
  ['merge.verifySignatures', 'false'],
  ['protocol.allow', 'never'],
  ['protocol.ext.allow', 'never'],
  ['submodule.recurse', 'false'],
  ['diff.ignoreSubmodules', 'dirty'],
  // A background `gc` would outlive the call.
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  // With `no`, git itself takes a worktree full of new files for clean and deletes it.
  ['status.showUntrackedFiles', 'normal'],
  // A recorded resolution is the repository's opinion about a merge, too.
  ['rerere.enabled', 'false'],
  ['branch.autoSetupMerge', 'false'],
  ['worktree.guessRemote', 'false'],
  ['color.ui', 'false'],
];

/** Exactly the merge git does when no driver is named; a failing command would leave conflicts without markers. */
const TEXT_MERGE = 'git merge-file --marker-size=%L %A %O %B';

/** Keys with a free part in the name, as git lists them (section and last part in lower case). */
const NAMED_KEYS: readonly [pattern: RegExp, replacements: (name: string) => [key: string, value: string][]][] = [
  [
    // Empty is "no filter" to git; `process` decides before the other two; `required` would turn that into an error.
    /^filter\.(.+)\.[^.]+$/s,
    (name) => [
      [`filter.${name}.process`, ''],
      [`filter.${name}.clean`, ''],
      [`filter.${name}.smudge`, ''],
      [`filter.${name}.required`, 'false'],
    ],
  ],
  [/^diff\.(.+)\.textconv$/s, (name) => [[`diff.${name}.textconv`, 'cat']]],
  [/^merge\.(.+)\.driver$/s, (name) => [[`merge.${name}.driver`, TEXT_MERGE]]],
  [/^credential\.(.+)\.helper$/s, (name) => [[`credential.${name}.helper`, '']]],
  [/^remote\.(.+)\.uploadpack$/s, (name) => [[`remote.${name}.uploadpack`, 'git-upload-pack']]],
  [/^remote\.(.+)\.receivepack$/s, (name) => [[`remote.${name}.receivepack`, 'git-receive-pack']]],
  [/^submodule\.(.+)\.update$/s, (name) => [[`submodule.${name}.update`, 'none']]],
  [/^gpg\.(.+)\.program$/s, (name) => [[`gpg.${name}.program`, 'false']]],
  // Options of every merge into that branch.
  [/^branch\.(.+)\.mergeoptions$/s, (name) => [[`branch.${name}.mergeOptions`, '']]],
  [/^pager\.(.+)$/s, (name) => [[`pager.${name}`, 'false']]],
  [/^alias\.(.+)$/s, (name) => [[`alias.${name}`, 'version']]],
  [
    /^hook\.(.+)\.command$/s,
    (name) => [
      [`hook.${name}.command`, 'true'],
      [`hook.${name}.enabled`, 'false'],
    ],
  ],
  [
    /^(.+\.(?:cmd|command))$/s,
    // diff.<name>.command, trailer.<name>.cmd, mergetool.<name>.cmd and whatever else git may learn to run.
    (key) => [[key, 'false']],
  ],
];

/** One key of the configuration and where it was found (`local`, `worktree`, `global`, `system`, `command`). */
interface ConfigKey {
  scope: string;
  key: string;
}

/** Parses `git config --list --show-scope --name-only -z`. */
export function parseConfigKeys(listing: string): ConfigKey[] {
  const parts = listing.split('\0');
  const keys: ConfigKey[] = [];
  for (let i = 0; i + 1 < parts.length; i += 2) keys.push({ scope: parts[i] ?? '', key: parts[i + 1] ?? '' });
  return keys;
}

/**
 * A key of the repository's own that makes the rest of its configuration depend on the branch or the directory, or
 * null. What we read would not be what a later step of the same command runs with.
 */
export function conditionalInclude(keys: readonly ConfigKey[]): string | null {
  const own = keys.filter(({ scope }) => scope === 'local' || scope === 'worktree');
  return own.find(({ key }) => key.startsWith('includeif.'))?.key ?? null;
}

/** The overrides for every executable key with a free name that the configuration holds, each once. */
export function namedOverrides(keys: readonly ConfigKey[]): Map<string, string> {
  const overrides = new Map<string, string>();
  for (const { scope, key } of keys) {
    if (scope === 'command') continue;
    for (const [pattern, replacements] of NAMED_KEYS) {
      const name = pattern.exec(key)?.[1];
      if (name === undefined) continue;
      for (const [replaced, value] of replacements(name)) overrides.set(replaced, value);
      break;
    }
  }
  return overrides;
}

/** Global options before the command: git hands these down to the processes it starts in submodules. */
export function globalOptions(): string[] {
  return ['--no-pager', ...CONSTANT_OVERRIDES.flatMap(([key, value]) => ['-c', `${key}=${value}`])];
}

/**
 * `--no-ext-diff` also covers `diff.external`, for which no harmless value exists; both hold even when the configuration
 * is rewritten between being read and being used.
 */
const NO_DIFF_PROGRAMS = ['--no-ext-diff', '--no-textconv'];
/** A changed submodule is seen by its commit; looking for changes inside it would run git with its configuration. */
const NO_SUBMODULE_STATUS = '--ignore-submodules=dirty';

const COMMAND_OPTIONS: Record<string, readonly string[]> = {
  status: [NO_SUBMODULE_STATUS],
  diff: [...NO_DIFF_PROGRAMS, NO_SUBMODULE_STATUS],
  'diff-files': [...NO_DIFF_PROGRAMS, NO_SUBMODULE_STATUS],
  'diff-index': [...NO_DIFF_PROGRAMS, NO_SUBMODULE_STATUS],
  'diff-tree': NO_DIFF_PROGRAMS,
  log: NO_DIFF_PROGRAMS,
  show: NO_DIFF_PROGRAMS,
  'format-patch': NO_DIFF_PROGRAMS,
  blame: ['--no-textconv'],
  grep: ['--no-textconv'],
};

/** The arguments of a command with its own safe options right behind its name, where later ones may overrule them. */
export function commandArguments(args: readonly string[]): string[] {
  const [command = '', ...rest] = args;
  return [command, ...(COMMAND_OPTIONS[command] ?? []), ...rest];
}

/** Commands that neither read attributes nor start anything: the constants are enough and reading is saved. */
const PLAIN_COMMANDS = new Set([
  'rev-parse',
  'symbolic-ref',
  'check-ref-format',
  'show-ref',
  'merge-base',
  'rev-list',
  'for-each-ref',
  'commit-tree',
  'update-ref',
]);

export function needsNamedOverrides(command: string | undefined): boolean {
  return command === undefined || !PLAIN_COMMANDS.has(command);
}

/**
 * Where git and its own programs are looked up. Not the user's PATH: entries of that may lie in a repository.
 */
const GIT_PATH = '/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin:/run/current-system/sw/bin';

/**
 * The whole environment of a git: nothing is inherited, so no `GIT_DIR`, `GIT_INDEX_FILE` or `GIT_CONFIG_*` of ours.
 * System and user configuration stay in force (`safe.directory`, identity, ignored files, line ends).
 * `overrides` goes in by `GIT_CONFIG_KEY_n`, because `-c` cannot carry a name that contains `=`.
 */
export function gitEnvironment(home: string, overrides: ReadonlyMap<string, string>): Record<string, string> {
  const env: Record<string, string> = {
    PATH: GIT_PATH,
    HOME: home,
    LANG: 'C',
    LC_ALL: 'C',
    TERM: 'dumb',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '',
    SSH_ASKPASS: '',
    GIT_EDITOR: ':',
    GIT_SEQUENCE_EDITOR: ':',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_LFS_SKIP_SMUDGE: '1',
    // No transport at all, `file` included: a promisor remote names a program to fetch missing objects with.
    GIT_ALLOW_PROTOCOL: 'none',
    GIT_NO_LAZY_FETCH: '1',
    // A commit id means what it hashes to, not what the repository replaces it with.
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_CONFIG_COUNT: String(overrides.size),
  };
  let n = 0;
  for (const [key, value] of overrides) {
    env[`GIT_CONFIG_KEY_${n}`] = key;
    env[`GIT_CONFIG_VALUE_${n}`] = value;
    n += 1;
  }
  return env;
}
