import { AppError } from '../model/error.ts';
import type { TurnRow } from '../model/turn.ts';
import { listTurns } from '../store/turn-list.ts';
import { fileExists, fileSize } from '../sys/directory.ts';
import { readFrom, type Watch, watchDirectory } from '../sys/tail.ts';
import { turnFiles } from '../sys/turn-files.ts';
import { changes } from './follow.ts';
import { isOver, type LogSource } from './log-source.ts';
import { paint } from './output.ts';
import { writeOut } from './stream-out.ts';

const CHUNK_BYTES = 256 * 1024;

/** The bytes of `stdout.jsonl` of the wanted turns, one after the other, as they are. */
export async function copyRaw(source: LogSource): Promise<void> {
  const wanted = await turnsOf(source);
  if (!source.isFollowing && wanted.length > 0 && wanted.every((turn) => !fileExists(turn.dir))) throw gone(source);
  if (!source.isFollowing) {
    for (const turn of wanted) await copyFrom(turn, 0);
    return;
  }
  await followRaw(source);
}

async function turnsOf({ store, session, turn }: LogSource): Promise<TurnRow[]> {
  const turns = await listTurns(store, session.id);
  return turn === null ? turns : turns.filter((row) => row.turn === turn);
}

function gone({ session }: LogSource): AppError {
  return new AppError(
    'not_found',
    'files_gone',
    `The files of ${session.name} are gone; \`drover clean\` removes them some time after the end.`,
    {
      hint: 'Without --raw the recorded events are shown.',
      recovery_commands: [`drover logs ${session.name}`],
    },
  );
}

/** Copies from `offset` to the present end; returns the new offset. */
async function copyFrom(turn: TurnRow, offset: number): Promise<number> {
  const path = turnFiles(turn.dir).stdout;
  let at = offset;
  while (fileSize(path) > at) {
    const chunk = readFrom(path, at, CHUNK_BYTES);
    if (chunk.length === 0) break;
    await writeOut(chunk);
    at += chunk.length;
  }
  return at;
}

async function followRaw(source: LogSource): Promise<void> {
  const database = changes(source.context.home, source.store);
  const offsets = new Map<number, number>();
  const file = new FileBell();
  let committed: Promise<void> | null = null;
  try {
    for (;;) {
      // Asked before the files are read, so that the last bytes of a turn that has just ended are not missed.
      const over = await isOver(source);
      const turns = await turnsOf(source);
      for (const turn of turns) offsets.set(turn.turn, await copyFrom(turn, offsets.get(turn.turn) ?? 0));
      if (over) return;
      const open = turns.findLast((turn) => turn.ended_at === null && fileExists(turn.dir));
      file.watch(open?.dir ?? null);
      committed ??= database.next().then(() => {
        committed = null;
      });
      await Promise.race([committed, file.rung()]);
    }
  } finally {
    file.close();
    database.close();
  }
}

/** Rings when the files of the watched directory change; at most one directory at a time. */
class FileBell {
  #dir: string | null = null;
  #watch: Watch | null = null;
  #isRung = false;
  #wake: () => void = () => undefined;

  watch(dir: string | null): void {
    if (dir === this.#dir) return;
    this.close();
    this.#dir = dir;
    if (dir === null) return;
    this.#watch = watchDirectory(
      dir,
      () => {
        this.#isRung = true;
        this.#wake();
      },
      // Changes of the database still wake the reader, only less often.
      (error) => console.error(paint('dim', `watching ${dir}: ${error.message}`)),
    );
    // Something may have been written between the last look and the watch.
    this.#isRung = true;
  }

  async rung(): Promise<void> {
    if (!this.#isRung) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#isRung = false;
  }

  close(): void {
    this.#watch?.close();
    this.#watch = null;
  }
}
