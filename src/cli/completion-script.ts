import {
  type CommandSpec,
  GLOBAL_OPTIONS,
  type OptionSpec,
  offeredBy,
  optionWords,
  placesOf,
  type Shell,
  type Value,
} from './completion-spec.ts';

/** A completion script that knows every verb, command, option and fixed value; names of sessions are asked for live (O-88). */
export function completionScript(shell: Shell, specs: readonly CommandSpec[]): string {
  return { bash, zsh, fish }[shell](specs).trimEnd();
}

const SESSIONS = 'command drover completions --sessions 2>/dev/null';

/** Within single quotes. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function line(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

/** `case` patterns for options that take a value: one arm per value. */
function valueArms(specs: readonly CommandSpec[], arm: (patterns: string[], value: Value) => string): string[] {
  const arms = new Map<string, { patterns: string[]; value: Value }>();
  const add = (key: string, options: readonly OptionSpec[]) => {
    for (const option of options) {
      if (option.value === null) continue;
      const id = JSON.stringify(option.value);
      const found = arms.get(id) ?? { patterns: [], value: option.value };
      found.patterns.push(
        ...optionWords([option]).map((word) => (key === '*' ? `*' ${word}'` : quoted(`${key} ${word}`))),
      );
      arms.set(id, found);
    }
  };
  for (const { key, spec } of placesOf(specs)) add(key, spec.options);
  add('*', GLOBAL_OPTIONS);
  return [...arms.values()].map(({ patterns, value }) => arm(patterns, value));
}

/** Finds `verb`, `sub` and `key` in the words before the cursor; the same text runs in bash and zsh. */
function placeFinder(specs: readonly CommandSpec[], words: string, from: number, to: string): string {
  const subs = placesOf(specs).filter(({ key }) => key.includes(' '));
  return `  local verb= sub= key= i word
  for ((i = ${from}; i < ${to}; i++)); do
    word=\${${words}[i]}
    case $word in
      --project) ((i++)) ;;
      -*) ;;
      *) if [[ -z $verb ]]; then verb=$word; elif [[ -z $sub ]]; then sub=$word; fi ;;
    esac
  done
  key=$verb
  case "$verb $sub" in
    ${subs.map(({ key }) => quoted(key)).join(' | ') || "''"}) key="$verb $sub" ;;
  esac`;
}

function bash(specs: readonly CommandSpec[]): string {
  const offer = (value: Value) => {
    if (value.kind === 'words') return `COMPREPLY=($(compgen -W ${quoted(value.words.join(' '))} -- "$cur"))`;
    if (value.kind === 'sessions') return `COMPREPLY=($(compgen -W "latest $(${SESSIONS})" -- "$cur"))`;
    return value.kind === 'directories' ? `COMPREPLY=($(compgen -d -- "$cur"))` : `COMPREPLY=($(compgen -f -- "$cur"))`;
  };
  const places = placesOf(specs).map(({ key, spec }) => {
    const first = offeredBy(spec);
    const subs = spec.commands.map((sub) => sub.name);
    const bare = subs.length > 0 ? offer({ kind: 'words', words: subs }) : first === undefined ? ':' : offer(first);
    return `    ${quoted(key)})
      options=${quoted(optionWords(spec.options).join(' '))}
      [[ $cur == -* ]] || { ${bare}; return; } ;;`;
  });
  return `# bash completion for drover
_drover() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} options=
  COMPREPLY=()
${placeFinder(specs, 'COMP_WORDS', 1, 'COMP_CWORD')}
  case "$key $prev" in
${valueArms(specs, (patterns, value) => `    ${patterns.join(' | ')}) ${offer(value)}; return ;;`).join('\n')}
  esac
  case $key in
    '') [[ $cur == -* ]] || { ${offer({ kind: 'words', words: specs.map((spec) => spec.name) })}; return; }
      options=--version ;;
${places.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$options ${optionWords(GLOBAL_OPTIONS).join(' ')}" -- "$cur"))
}
complete -o bashdefault -F _drover drover
`;
}

function zsh(specs: readonly CommandSpec[]): string {
  const entry = (name: string, description: string) => quoted(`${name.replaceAll(':', '\\:')}:${line(description)}`);
  const offer = (value: Value) => {
    if (value.kind === 'words') return `compadd -- ${value.words.map(quoted).join(' ')}`;
    if (value.kind === 'sessions') return `compadd -- latest \${(f)"$(${SESSIONS})"}`;
    return value.kind === 'directories' ? '_files -/' : '_files';
  };
  const options = (list: readonly OptionSpec[]) =>
    list.flatMap((option) => optionWords([option]).map((word) => entry(word, option.description))).join(' ');
  const places = placesOf(specs).map(({ key, spec }) => {
    const first = offeredBy(spec);
    const subs = spec.commands.map((sub) => entry(sub.name, sub.description)).join(' ');
    const bare = subs !== '' ? `list=(${subs}); _describe command list` : first === undefined ? ':' : offer(first);
    return `    ${quoted(key)})
      options=(${options(spec.options)})
      [[ $cur == -* ]] || { ${bare}; return } ;;`;
  });
  return `#compdef drover
_drover() {
  local cur=\${words[CURRENT]} prev=\${words[CURRENT - 1]}
  local -a options list
${placeFinder(specs, 'words', 2, 'CURRENT')}
  case "$key $prev" in
${valueArms(specs, (patterns, value) => `    (${patterns.join(' | ')}) ${offer(value)}; return ;;`).join('\n')}
  esac
  case $key in
    '') [[ $cur == -* ]] || {
        list=(${specs.map((spec) => entry(spec.name, spec.description)).join(' ')})
        _describe verb list; return
      }
      options=('--version:show the version') ;;
${places.join('\n')}
  esac
  options+=(${options(GLOBAL_OPTIONS)})
  _describe -o option options
}
if [[ \${funcstack[1]} == _drover ]]; then _drover "$@"; else compdef _drover drover; fi
`;
}

function fish(specs: readonly CommandSpec[]): string {
  const escaped = (text: string) => `'${line(text).replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const values = (value: Value) => {
    if (value.kind === 'words') return `-x -a ${escaped(value.words.join(' '))}`;
    if (value.kind === 'sessions') return `-x -a '(__drover_sessions)'`;
    return value.kind === 'directories' ? `-x -a '(__fish_complete_directories)'` : '-r';
  };
  const option = (condition: string, spec: OptionSpec) => {
    const names = [
      spec.short === null ? '' : ` -s ${spec.short.slice(1)}`,
      spec.long === null ? '' : ` -l ${spec.long.slice(2)}`,
    ].join('');
    return `complete -c drover${condition}${names}${spec.value === null ? '' : ` ${values(spec.value)}`} -d ${escaped(spec.description)}`;
  };
  const lines = placesOf(specs).flatMap(({ key, spec }) => {
    const at = ` -n ${escaped(`__drover_at ${key}`)}`;
    const first = offeredBy(spec);
    return [
      ...spec.commands.map((sub) => `complete -c drover${at} -f -a ${sub.name} -d ${escaped(sub.description)}`),
      ...(first !== undefined && first.kind !== 'text'
        ? [`complete -c drover${at} ${values(first).replace(/^-x/, '-f')}`]
        : []),
      ...spec.options.map((each) => option(at, each)),
    ];
  });
  return `# fish completion for drover
function __drover_sessions
    echo latest
    ${SESSIONS}
end
function __drover_at
    set -l words (commandline -opc)
    set -l plain
    set -l skip 0
    for word in $words[2..-1]
        if test $skip = 1
            set skip 0
        else if test "$word" = --project
            set skip 1
        else if not string match -q -- '-*' $word
            set -a plain $word
        end
    end
    set -l wanted (count $argv)
    test (count $plain) -ge $wanted; and test "$plain[1..$wanted]" = "$argv"
end
function __drover_start
    not __fish_seen_subcommand_from ${specs.map((spec) => spec.name).join(' ')}
end
complete -c drover -f
${specs.map((spec) => `complete -c drover -n __drover_start -f -a ${spec.name} -d ${escaped(spec.description)}`).join('\n')}
complete -c drover -n __drover_start -l version -d 'show the version'
${GLOBAL_OPTIONS.map((each) => option('', each)).join('\n')}
${lines.join('\n')}
`;
}
