import manifest from '../../package.json' with { type: 'json' };
import { AppError } from '../model/error.ts';
import { defaultSteps } from './default-script.ts';
import { ownTask } from './drover-cli.ts';
import { Output } from './output.ts';
import { MODEL, playTurn } from './play.ts';
import { type Prompt, readPrompt } from './prompt.ts';
import { loadScript, type ScriptPlace, scriptIn, scriptPlace, stepsOf } from './script.ts';
import { runCommand } from './shell.ts';
import { Stage } from './stage.ts';

/**
 * The rehearsal harness (C-04): `drover-rehearsal [run] [--resume ID] [--max-turns N] [--script FILE]`, prompt on
 * standard input, one `HarnessEvent` per line on standard output. It plays a script and calls no model.
 *
 * Exit codes: 0 · 1 for a result that is not ok, or for a rehearsal that broke down · 2 for wrong arguments or a bad
 * script · what the script says.
 */
async function main(argv: string[]): Promise<number> {
  const options = readArguments(argv);
  if (options.is_version) {
    process.stdout.write(`${manifest.version}\n`);
    return 0;
  }
  const prompt = readPrompt(await Bun.stdin.text());
  const turn = Number.parseInt(process.env.DROVER_TURN ?? '', 10) || 1;
  const name = process.env.DROVER_AGENT_NAME || prompt.name || 'rehearsal';
  const place = await placeFor(options, prompt.text);
  const { steps, values } = await partFor(place, prompt, turn, name);

  const out = new Output();
  const isTold = isOfPrompt(options) && scriptIn(prompt.text) !== null;
  const native_session_id = options.resume ?? `${isTold ? TOLD : ''}${crypto.randomUUID()}`;
  out.event({ type: 'session', native_session_id, model: MODEL, version: manifest.version });
  return playTurn(steps, new Stage(out, prompt.text.length), { values, max_turns: options.max_turns });
}

/** The id of a conversation whose prompt said what to play begins with it. */
const TOLD = 'told-';

/**
 * Where the script is. A conversation remembers what it was told: a later turn, whose prompt is the news alone, asks
 * drover for the task, as any agent may.
 */
async function placeFor(options: Options, prompt: string): Promise<ScriptPlace | null> {
  const { script, resume } = options;
  const isLater = resume?.startsWith(TOLD) === true && isOfPrompt(options) && scriptIn(prompt) === null;
  return scriptPlace({ option: script, variable: scriptVariable(), prompt: isLater ? await ownTask() : prompt });
}

/** Nobody outside of the conversation says what to play. */
function isOfPrompt({ script }: Options): boolean {
  return script === null && !scriptVariable();
}

function scriptVariable(): string | null {
  return process.env.DROVER_REHEARSAL_SCRIPT ?? null;
}

/** What to play, and the values of the holes in it. */
async function partFor(place: ScriptPlace | null, prompt: Prompt, turn: number, name: string) {
  if (place === null) {
    const inside = await runCommand(['git', 'rev-parse', '--is-inside-work-tree']);
    return {
      steps: defaultSteps({ prompt, turn, name, is_repository: inside.code === 0 }),
      values: new Map<string, string>(),
    };
  }
  const values = new Map([
    ['prompt', prompt.text],
    ['task', prompt.task ?? ''],
    ['mails', prompt.mails.join('\n\n')],
    ['turn', String(turn)],
    ['name', name],
  ]);
  return { steps: stepsOf(await loadScript(place), turn), values };
}

interface Options {
  is_version: boolean;
  resume: string | null;
  max_turns: number | null;
  script: string | null;
}

const USAGE = 'usage: drover-rehearsal [run] [--resume ID] [--max-turns N] [--script FILE] < prompt';

function readArguments(argv: string[]): Options {
  const options: Options = { is_version: false, resume: null, max_turns: null, script: null };
  const words = argv[0] === 'run' ? argv.slice(1) : [...argv];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '--version') options.is_version = true;
    else if (word === '--resume') options.resume = valueAfter(word, words);
    else if (word === '--script') options.script = valueAfter(word, words);
    else if (word === '--max-turns') options.max_turns = countAfter(word, words);
    else throw new AppError('usage', 'argument_unknown', `There is no argument ${word}. ${USAGE}`);
  }
  return options;
}

function valueAfter(flag: string, words: string[]): string {
  const value = words.shift();
  if (!value) throw new AppError('usage', 'argument_missing', `${flag} needs a value. ${USAGE}`);
  return value;
}

function countAfter(flag: string, words: string[]): number {
  const value = Number(valueAfter(flag, words));
  if (!Number.isInteger(value) || value < 1)
    throw new AppError('usage', 'argument_invalid', `${flag} needs a number from 1. ${USAGE}`);
  return value;
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  console.error(`drover-rehearsal: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(error instanceof AppError ? error.exitCode : 1);
}
