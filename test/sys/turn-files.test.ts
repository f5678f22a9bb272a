import { expect, test } from 'bun:test';
import { appendFileSync, chmodSync, mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { systemClock } from '../../src/sys/clock.ts';
import { identityOf } from '../../src/sys/identity.ts';
import { killTree } from '../../src/sys/tree.ts';
import { liveHeld, readExit, readPid, turnFiles, turnProcesses } from '../../src/sys/turn-files.ts';
import { tempDir } from '../support/temp.ts';

const NOBODY = 65_534;
const PID = { pid: 4_000_000, start_time: '1', boot_id: 'b' };

/** Does `look` as somebody to whom a closed file is closed: nothing is closed to root. */
function unprivileged<T>(look: () => T): T {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(NOBODY);
  try {
    return look();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

/** What a harness can do to a file beside it. */
const TRICKS: Record<string, (path: string) => void> = {
  'grown beyond every record': (path) => truncateSync(path, 17 * 1024 * 1024),
  'longer than any of ours': (path) => appendFileSync(path, ' '.repeat(9 * 1024)),
  closed: (path) => chmodSync(path, 0),
  'a directory': (path) => {
    rmSync(path);
    mkdirSync(path);
  },
  'a link that leads nowhere': (path) => {
    rmSync(path);
    symlinkSync('x'.repeat(300), path);
  },
  'a loop of links': (path) => {
    rmSync(path);
    symlinkSync(path, path);
  },
  gone: (path) => rmSync(path),
  'no object': (path) => writeFileSync(path, '7\n'),
};

test.each(Object.keys(TRICKS))(
  'a record that is %s is no record, and the turn can be ended all the same',
  async (trick) => {
    const dir = tempDir('records');
    const { pid, exit, group, stdout } = turnFiles(dir);
    writeFileSync(pid, JSON.stringify(PID));
    writeFileSync(exit, '{"code":0,"uptime":"12.34"}\n');
    writeFileSync(group, '/sys/fs/cgroup/none');
    writeFileSync(stdout, '');
    expect([readPid(dir), readExit(dir)?.uptime_ms, liveHeld(dir)]).toEqual([PID, 12_340, false]);
    for (const path of [pid, exit, group]) TRICKS[trick]?.(path);
    const look = trick === 'closed' ? unprivileged : <T>(read: () => T) => read();
    const known = look(() => [readPid(dir), readExit(dir)]);
    expect(known).toEqual([null, null]);
    const marker = `records-${dir}`;
    const env = { PATH: '/usr/bin:/bin', DROVER_TURN_MARKER: marker };
    const child = Bun.spawn(['/bin/sleep', '60'], { env });
    const launcher = identityOf(child.pid);
    const turn = look(() => turnProcesses(dir, marker));
    expect(turn).toMatchObject({ marker, launcher: null, launcher_end_uptime_ms: null });
    const ended = await killTree({ ...turn, launcher }, { clock: systemClock, first_signal: 'SIGKILL', spare_ms: 0 });
    expect([ended.proven_empty, await child.exited]).toEqual([true, 137]);
  },
);

test('of a sign of life that is closed to us nobody knows, so it counts as held', () => {
  const dir = tempDir('records');
  writeFileSync(turnFiles(dir).stdout, '');
  chmodSync(turnFiles(dir).stdout, 0);
  expect(unprivileged(() => liveHeld(dir))).toBe(true);
});
