import { checkConfig } from '../model/config-schema.ts';
import { AppError } from '../model/error.ts';
import type { VerdictRow } from '../model/verdict.ts';
import type { FileIssue } from '../session/config.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import { type Opinion, type OtherLimits, rejudge } from '../watchdog/replay.ts';
import type { Context } from './context.ts';
import { instantText, paint, printJson, safe, table } from './output.ts';
import { actText, healthText } from './render-watch.ts';
import { asVerdict, parsed } from './verdict-schema.ts';

interface Replayed {
  at: number;
  session_id: string;
  turn: number;
  recorded: Opinion;
  replayed: Opinion;
  differs: boolean;
}

/** Judges every verdict of a file again. Throws `input_unreadable`, `not_verdicts` and `config_invalid` (2). */
export async function replay(context: Context, file: string, config: string | undefined): Promise<void> {
  const other = config === undefined ? {} : limitsIn(config);
  const all = rowsIn(file).map((row) => again(row, other));
  const differing = all.filter(({ differs }) => differs).length;
  if (context.globals.json) return printJson({ verdicts: all, differing });
  const header = ['AT', 'TURN', 'RECORDED', 'ACT', '', 'NOW', 'ACT', 'EVIDENCE'].map((cell) => paint('dim', cell));
  const rows = all.map(({ at, turn, recorded, replayed, differs }) => [
    instantText(at),
    String(turn),
    healthText(recorded.health, recorded.cause),
    actText(recorded.act, recorded.level),
    differs ? paint('yellow', '≠') : '=',
    healthText(replayed.health, replayed.cause),
    actText(replayed.act, replayed.level),
    safe(replayed.evidence),
  ]);
  if (rows.length > 0) console.log(table([header, ...rows]));
  console.log(`${all.length} verdicts, ${differing} would be others`);
}

function again(row: VerdictRow, other: OtherLimits): Replayed {
  const { at, session_id, turn, health, cause, act, level, evidence } = row;
  const recorded = { health, cause, act, level, evidence };
  const replayed = rejudge(row, other) ?? recorded;
  const differs = replayed.health !== health || replayed.cause !== cause || replayed.act !== act;
  return { at, session_id, turn, recorded, replayed, differs };
}

/** One object as `watch explain --json` prints it, a list, or one verdict per line. */
function rowsIn(file: string): VerdictRow[] {
  const text = textOf(file);
  const whole = parsed(text);
  const values =
    whole === undefined
      ? text
          .split('\n')
          .filter((line) => line.trim() !== '')
          .map(parsed)
      : listIn(whole);
  return values.map((value, i) => {
    const row = asVerdict(value);
    if (typeof row !== 'string') return row;
    throw new AppError('usage', 'not_verdicts', `${file}: entry ${i + 1} is no verdict: ${row}.`, {
      hint: 'Give it what `drover watch explain SESSION --json` prints.',
    });
  });
}

function listIn(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  const { verdicts } = (value ?? {}) as { verdicts?: unknown };
  return Array.isArray(verdicts) ? verdicts : [value];
}

function limitsIn(file: string): OtherLimits {
  const text = textOf(file);
  let raw: unknown;
  try {
    raw = Bun.YAML.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw unusable([{ file, path: [], message: error.message }]);
  }
  const checked = checkConfig(raw, 'user');
  if (checked.issues.length > 0) throw unusable(checked.issues.map((issue) => ({ file, ...issue })));
  const given = <T extends object>(keys: T | undefined) =>
    Object.fromEntries(Object.entries(keys ?? {}).filter(([, value]) => value !== undefined)) as T;
  return { turn: given(checked.file?.turn), watchdog: given(checked.file?.watchdog) } as OtherLimits;
}

/** The lines are added where it is told. */
function unusable(issues: FileIssue[]): AppError {
  const told = issues.map(({ file, path, message }) => `${file}: ${[...path, message].join(': ')}`);
  return new AppError('usage', 'config_invalid', told.join('\n'), { data: { issues } });
}

function textOf(file: string): string {
  const text = readTextIfExists(file);
  if (text !== null) return text;
  throw new AppError('usage', 'input_unreadable', `There is no file ${file}.`);
}
