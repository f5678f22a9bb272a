import { homePaths } from '../model/home.ts';
import { quoted } from '../model/shell.ts';
import { listFiles } from '../sys/directory.ts';

/** How many copies of the database are kept. */
export const KEPT_BACKUPS = 3;
export const BACKUP_EVERY_MS = 24 * 3_600_000;

export interface BackupFile {
  path: string;
  /** Wall ms at which the copy was begun, to the second: what was committed before is in it. */
  made_at: number;
}

const NAME = /^drover-(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)\.db$/;

/** `20260131-235959`, UTC. */
function stampOf(at: number): string {
  return new Date(at).toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
}

export function backupName(at: number): string {
  return `drover-${stampOf(at)}.db`;
}

/** The copies that are kept, newest first. */
export function listBackups(home: string): BackupFile[] {
  const dir = homePaths.backups(home);
  return listFiles(dir)
    .flatMap((name) => {
      const [, ...parts] = NAME.exec(name) ?? [];
      if (parts.length === 0) return [];
      const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.map(Number);
      return [{ path: `${dir}/${name}`, made_at: Date.UTC(year, month - 1, day, hour, minute, second) }];
    })
    .sort((a, b) => b.made_at - a.made_at);
}

/**
 * The commands that put a backup in the place of the database, to be typed as they are. Nothing is deleted: what was
 * there is moved aside, and a supervisor that is up notices by that and stops.
 */
export function restoreCommands(home: string, backup: string | null, now: number): string[] {
  const database = homePaths.database(home);
  const aside = quoted(`${home}/damaged-${stampOf(now)}`);
  return [
    `mkdir -m 700 ${aside} && mv ${quoted(database)}* ${aside}/`,
    'drover down',
    ...(backup === null ? [] : [`cp ${quoted(backup)} ${quoted(database)} && chmod 600 ${quoted(database)}`]),
    'drover doctor --quick',
  ];
}
