import { type Diagnosis, mendable, warning } from '../../model/finding.ts';
import { quoted } from '../../model/shell.ts';
import { membersOf, probeCgroup, removeGroup } from '../../sys/cgroup.ts';
import { isDirectory, listFiles, modifiedAt } from '../../sys/directory.ts';
import type { DoctorDeps } from './deps.ts';

/** As the group of a turn, a gate or a hook is called: of which home and of which one, and neither can be read from it. */
const OF_A_TURN = /^drover-[0-9a-f]{8}-(?:gate-|hook-)?[0-9a-f]{24}$/;
/** A turn may just be starting in one that is younger. */
const YOUNG_MS = 60_000;
/** So many commands are told at once. */
const MOST = 20;

/**
 * Control groups of turns that nobody is in any more. A supervisor removes those of its home when it starts; those of a
 * home that was removed stay until the machine starts anew.
 */
export function groupFindings({ clock }: Pick<DoctorDeps, 'clock'>): Diagnosis[] {
  const { base } = probeCgroup();
  return base === null ? [] : judgeGroups(base, clock.now());
}

/** `base`: the directory of the group below which turns have theirs. Oldest first. */
function judgeGroups(base: string, now: number): Diagnosis[] {
  const empty = listFiles(base)
    .filter((name) => OF_A_TURN.test(name) && isDirectory(`${base}/${name}`))
    .map((name) => ({ path: `${base}/${name}`, at: modifiedAt(`${base}/${name}`) }))
    .filter(({ path, at }) => now - at > YOUNG_MS && membersOf(path).length === 0)
    .sort((a, b) => a.at - b.at)
    .map(({ path }) => path);
  if (empty.length === 0) return [];
  const commands = empty.slice(0, MOST).map((path) => `rmdir ${innerFirst(path).map(quoted).join(' ')}`);
  const more = empty.length > MOST ? [`and ${empty.length - MOST} more`] : [];
  const hint = ['Harmless; the kernel refuses when somebody is in one:', ...commands, ...more].join('\n');
  const what = `${empty.length} of turns are empty, as those of a home that was removed`;
  return [
    mendable(warning('control groups', what, hint), 'remove them', async () => {
      const removed = empty.filter(removeGroup).length;
      return `removed ${removed} of ${empty.length}`;
    }),
  ];
}

function innerFirst(group: string): string[] {
  const inner = listFiles(group).map((name) => `${group}/${name}`);
  return [...inner.filter(isDirectory).flatMap(innerFirst), group];
}
