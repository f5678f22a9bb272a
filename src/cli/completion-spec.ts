export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What may stand where a value is wanted; `text`: anything, so a shell offers files. */
export type Value =
  | { kind: 'words'; words: string[] }
  | { kind: 'sessions' }
  | { kind: 'directories' }
  | { kind: 'text' };

export interface OptionSpec {
  long: string | null;
  short: string | null;
  description: string;
  /** null: a switch. */
  value: Value | null;
}

/** A verb or a command of a verb, as it declares itself. */
export interface CommandSpec {
  name: string;
  description: string;
  options: OptionSpec[];
  arguments: { value: Value; isVariadic: boolean }[];
  commands: CommandSpec[];
}

/** Accepted before and after every verb (O-91). */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { long: '--json', short: null, description: 'one JSON object', value: null },
  { long: '--quiet', short: null, description: 'less output', value: null },
  { long: '--project', short: null, description: 'work as if started there', value: { kind: 'directories' } },
  { long: '--help', short: '-h', description: 'show help', value: null },
];

/** Every place where options differ: a verb (`run`) or a command of one (`run show`). */
export interface Place {
  key: string;
  spec: CommandSpec;
}

export function placesOf(specs: readonly CommandSpec[]): Place[] {
  return specs.flatMap((spec) => [
    { key: spec.name, spec },
    ...spec.commands.map((sub) => ({ key: `${spec.name} ${sub.name}`, spec: sub })),
  ]);
}

export function optionWords(options: readonly OptionSpec[]): string[] {
  return options.flatMap((option) => [option.short, option.long].filter((word) => word !== null));
}

/** What is offered for the words of a place, wherever they stand: of its arguments the first that a shell can name. */
export function offeredBy({ arguments: wanted }: CommandSpec): Value | undefined {
  return (wanted.find(({ value }) => value.kind !== 'text') ?? wanted[0])?.value;
}
