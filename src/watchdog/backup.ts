import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { BACKUP_EVERY_MS, backupName, KEPT_BACKUPS, listBackups } from '../session/backups.ts';
import { backup } from '../store/backup.ts';
import { fileSize, listFiles, modifiedAt } from '../sys/directory.ts';
import { diskFree, privateDir } from '../sys/files.ts';
import { discardFile, publish } from '../sys/publish.ts';

/** `why`: the newest one is young enough, nothing was written since, there is nothing to copy, or the disk is too full for it. */
export type BackupResult =
  | { made: string; removed: string[] }
  | { made: null; why: 'fresh' | 'unchanged' | 'empty' | 'disk' };

const SUFFIX = '.tmp';

/**
 * Keeps a daily copy of the database in DROVER_HOME/backup, the newest three, each 0600. Only the holder of the
 * watchdog's lock calls it. It reads on a connection of its own, so no writer waits, but it blocks the calling process
 * while it copies. Throws what `backup` throws (the older copies stay) and `permission_denied`.
 */
export function backupIfDue(home: string, now: number): BackupResult {
  const database = homePaths.database(home);
  const files = [database, `${database}-wal`];
  const bytes = files.reduce((sum, file) => sum + fileSize(file), 0);
  if (bytes === 0) return { made: null, why: 'empty' };
  const kept = listBackups(home);
  const newest = kept[0]?.made_at ?? null;
  // A copy from the future, as after the clock was put right, does not stop the next one for ever.
  if (newest !== null && Math.abs(now - newest) < BACKUP_EVERY_MS) return { made: null, why: 'fresh' };
  if (newest !== null && files.every((file) => modifiedAt(file) < newest)) return { made: null, why: 'unchanged' };
  if (diskFree(home) < 2 * bytes) return { made: null, why: 'disk' };
  const dir = privateDir(homePaths.backups(home));
  for (const name of listFiles(dir)) if (name.endsWith(SUFFIX)) discardFile(`${dir}/${name}`);
  const target = `${dir}/${backupName(now)}`;
  const temporary = `${target}${SUFFIX}`;
  try {
    backup(database, temporary);
    publish(temporary, target);
  } finally {
    discardFile(temporary);
  }
  const removed = listBackups(home)
    .map(({ path }) => path)
    .filter((path) => path !== target)
    .slice(KEPT_BACKUPS - 1);
  for (const path of removed) discardFile(path);
  return { made: target, removed };
}

/** Whether a copy is due is asked so often: a refusal, as by a full disk, is not repeated at every tick. */
const ASK_MS = 3_600_000;

/** Keeps the daily copy while the watchdog runs. */
export class Backups {
  readonly #clock: Clock;
  readonly #home: string;
  readonly #log: (line: string) => void;
  #next = Number.NEGATIVE_INFINITY;

  constructor(options: { clock: Clock; home: string; log: (line: string) => void }) {
    this.#clock = options.clock;
    this.#home = options.home;
    this.#log = options.log;
  }

  /** Once an hour at the most. A failure is logged: watching goes on. */
  tend(): void {
    const now = this.#clock.monotonic();
    if (now < this.#next) return;
    this.#next = now + ASK_MS;
    try {
      const result = backupIfDue(this.#home, this.#clock.now());
      if (result.made !== null) this.#log(`backup: ${result.made}`);
      else if (result.why === 'disk') this.#log('backup: too little room on the disk');
    } catch (error) {
      if (!(error instanceof AppError) || error.kind === 'bug') throw error;
      this.#log(`backup: ${error.code}: ${error.message}`);
    }
  }
}
