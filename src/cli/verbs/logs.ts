import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import type { EventRow } from '../../model/event.ts';
import { Transcript } from '../../session/transcript.ts';
import { listEvents } from '../../store/event.ts';
import { listTurns } from '../../store/turn-list.ts';
import { onSignal } from '../../sys/signals.ts';
import type { Context } from '../context.ts';
import { changes } from '../follow.ts';
import { isOver, type LogSource } from '../log-source.ts';
import { copyRaw } from '../raw-log.ts';
import { joinPieces, renderEvent } from '../render-event.ts';
import { lookUp } from '../sessions.ts';
import { ReaderGone, writeOut } from '../stream-out.ts';
import { examples, type Verb } from '../verb.ts';

interface Options {
  turn?: number;
  raw?: boolean;
  follow?: boolean;
  tools?: boolean;
  page: string;
  pageSize: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<session>', 'id, unique prefix, name, or latest')
      .option('--turn <n>', 'only this turn', turnNumber)
      .option('--raw', "the harness's own output, byte for byte")
      .option('-f, --follow', 'go on until the session is over')
      .option('--tools', 'the calls of tools alone, newest first, page by page')
      .option('--page <n>', 'of the tool calls', '1')
      .option('--page-size <n>', 'tool calls per page', '50')
      .action((wanted: string, options: Options) => run(context, wanted, options));
    examples(command, [
      'drover logs latest -f',
      'drover logs build-1 --turn 2',
      'drover logs build-1 --raw | jq .',
      'drover logs build-1 --json',
      'drover logs build-1 --tools --page 2',
    ]);
    command.addHelpText(
      'after',
      '\nWith --json one event per line. Exit codes: 0 ok, 4 no such session or turn, 130 interrupted.',
    );
  },
};

function turnNumber(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new AppError('usage', 'usage', `--turn wants the number of a turn, not ${JSON.stringify(text)}.`);
}

async function run(context: Context, wanted: string, options: Options): Promise<void> {
  const store = await context.reader();
  const session = await lookUp(context, store, wanted, 'newest');
  if (store === null) throw new AppError('not_found', 'session_not_found', `Session not found: ${wanted}`);
  if (options.tools) return (await import('../tool-log.ts')).printTools(store, session, options, context.globals.json);
  const source = { context, store, session, turn: options.turn ?? null, isFollowing: options.follow === true };
  await checkTurn(source);
  // Every byte was written before its call returned, so there is nothing to lose.
  const signals = onSignal(['SIGINT', 'SIGTERM'], () => process.exit(130));
  try {
    await (options.raw ? copyRaw(source) : printEvents(source));
  } catch (error) {
    if (!(error instanceof ReaderGone)) throw error;
  } finally {
    signals.close();
  }
}

async function checkTurn({ store, session, turn, isFollowing }: LogSource): Promise<void> {
  if (turn === null || turn <= session.turn || (isFollowing && session.ended_at === null)) return;
  const turns = await listTurns(store, session.id);
  throw new AppError('not_found', 'turn_not_found', `${session.name} has no turn ${turn}.`, {
    hint: turns.length === 0 ? 'It has not started yet.' : `Its last turn is ${turns.length}.`,
  });
}

const PAGE = 500;

async function printEvents(source: LogSource): Promise<void> {
  const waiter = source.isFollowing ? changes(source.context.home, source.store) : null;
  const transcript = new Transcript(source.store, source.session, source.context.env);
  let after_seq = 0;
  try {
    for (;;) {
      // Asked before the events are read: what is written later than this answer is read in the next round.
      const over = waiter === null || (await isOver(source));
      after_seq = await printPages(source, transcript, after_seq);
      if (over) return;
      await waiter.next();
    }
  } finally {
    waiter?.close();
  }
}

/** Prints what came after `after_seq`, page by page; returns the last one's number. */
async function printPages(source: LogSource, transcript: Transcript, after_seq: number): Promise<number> {
  const { context, store, session, turn } = source;
  let last = after_seq;
  for (;;) {
    const stored = await listEvents(store, { session_id: session.id, turn, after_seq: last, limit: PAGE });
    const events = await transcript.whole(stored);
    const lines = context.globals.json ? events.map(jsonLine) : joinPieces(events).map((event) => renderEvent(event));
    await writeOut(lines.map((line) => (line === null ? '' : `${line}\n`)).join(''));
    last = events.at(-1)?.seq ?? last;
    if (events.length < PAGE) return last;
  }
}

function jsonLine(event: EventRow): string {
  return JSON.stringify({ ...event, at: new Date(event.at).toISOString() });
}
