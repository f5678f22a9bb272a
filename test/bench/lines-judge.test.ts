import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CampaignHome } from '../../bench/durability/home.ts';
import { judgeHolds, judgeLines, parseLedger } from '../../bench/lines/judge.ts';
import { placesOf } from '../../bench/lines/places.ts';
import { gitText, seedRepository, TARGET } from '../../bench/lines/repository.ts';
import { tempDir } from '../support/temp.ts';

const ROOT = resolve(import.meta.dir, '../..');
let home: CampaignHome;
let ledger: string[];

beforeEach(() => {
  home = new CampaignHome(ROOT, () => ({}));
  seedRepository(home, 2, 3);
  ledger = [];
});
afterEach(() => home.close());

/** A commit with this line on a branch of its own, noted as its author would. */
function commitLine(branch: string, token: string): void {
  gitText(home, ['checkout', '-q', '-B', branch, TARGET]);
  writeFileSync(join(home.repo, 'src', `${branch}.txt`), `${token} of ${branch}\n`);
  gitText(home, ['add', '-A']);
  gitText(home, ['commit', '-q', '-m', branch]);
  ledger.push(`wrote ${branch} 1 ${token} src/${branch}.txt`, `committed ${branch} 1 abc ${token}`);
  gitText(home, ['checkout', '-q', TARGET]);
}

const judged = () => judgeLines(parseLedger([...ledger, ''].join('\n')), placesOf(home));

test('lines: each is counted where it is, and nothing is lost while a branch or a rescued ref has it', () => {
  commitLine('a', 'ln-a-1-1-1');
  commitLine('b', 'ln-b-1-1-1');
  commitLine('c', 'ln-c-1-1-1');
  gitText(home, ['merge', '-q', '--no-ff', '-m', 'a', 'a']);
  gitText(home, ['branch', '-D', 'a']);
  gitText(home, ['update-ref', 'refs/drover/rescued/x', 'b']);
  gitText(home, ['branch', '-D', 'b']);
  writeFileSync(join(home.repo, 'src/open.txt'), 'ln-d-1-1-1 not committed\n');
  ledger.push('wrote d 1 ln-d-1-1-1 src/open.txt', 'turn a 1 x');
  expect(judged()).toMatchObject({
    ...{ lines_committed: 9, in_target: 7, in_incidents: 0, in_rescued: 1, on_branches: 1, removed_by_author: 0 },
    ...{ lost: [], lines_uncommitted: 1, uncommitted_lost: [] },
  });
});

test('lines: one that the ledger has and nothing else is lost', () => {
  ledger.push('committed a 1 abc ln-a-1-1-1 ln-base-0-1-0');
  expect(judged().lost).toEqual(['committed a 1 abc ln-a-1-1-1 ln-base-0-1-0']);
});

test('lines: one that no ref leads to any more is lost, although nobody noted it', () => {
  commitLine('a', 'ln-a-1-1-1');
  ledger = [];
  gitText(home, ['branch', '-D', 'a']);
  expect(judged().lost).toEqual(['ln-a-1-1-1: only a commit knows it']);
});

test('lines: one whose commit was made and then nothing moved to it is uncommitted as long as its file has it', () => {
  commitLine('a', 'ln-a-1-1-1');
  gitText(home, ['branch', '-D', 'a']);
  writeFileSync(join(home.repo, 'src/a.txt'), 'ln-a-1-1-1\n');
  expect(judged().lost).toHaveLength(1);
  ledger = ledger.filter((line) => line.startsWith('wrote'));
  expect(judged()).toMatchObject({ lost: [], lines_uncommitted: 1, uncommitted_lost: [] });
});

test('lines: one that the history has and the tree has not is lost, unless its own author took it out', () => {
  commitLine('a', 'ln-a-1-1-1');
  gitText(home, ['merge', '-q', '-s', 'ours', '-m', 'dropped', 'a']);
  gitText(home, ['branch', '-D', 'a']);
  expect(judged().lost).toHaveLength(1);
  ledger.push('gone a 2 ln-a-1-1-1');
  expect(judged()).toMatchObject({ lost: [], removed_by_author: 1, lines_committed: 6 });
});

test('lines: one that was written and is in no commit and no working tree is lost as well', () => {
  ledger.push('wrote a 1 ln-a-1-1-1 src/f1.txt', 'wrote a 1 ln-a-1-1-2 src/f1.txt', 'gone a 1 ln-a-1-1-2');
  expect(judged()).toMatchObject({ lost: [], uncommitted_lost: ['wrote a 1 ln-a-1-1-1 src/f1.txt'] });
});

test('lines: one that only an incident knows counts there, and each counts once', () => {
  const only = (token: string) => new Set([token]);
  const places = { commits: new Set(['a', 'b', 'c', 'd']), disk: new Set<string>() };
  const all = { target: only('a'), incidents: new Set(['a', 'b']), rescued: new Set(['b', 'c']), branches: only('d') };
  expect(judgeLines(parseLedger(''), { ...places, ...all })).toMatchObject({
    ...{ lines_committed: 4, in_target: 1, in_incidents: 1, in_rescued: 1, on_branches: 1, lost: [] },
  });
});

/** What the harness of the campaign does around a reservation; each argument is a step of its shell. */
function hold(dir: string, ...steps: string[]) {
  const script = ['. "$1/lines-hold.sh"', 'dir=$2', ...steps].join('\n');
  const done = Bun.spawnSync(['bash', '-c', script, 'hold', join(ROOT, 'bench/bin'), dir]);
  expect(done.stderr.toString()).toBe('');
  return judgeHolds(readFileSync(join(dir, 'holds'), 'utf8'));
}

test('holders: one after the other is fine, also when the one before was killed with the thing in its hand', () => {
  const dir = tempDir('drover-lines');
  const killed = 'sleep 60 & other=$!; take "$dir" t $other; kill -9 $other; wait $other 2>/dev/null || :';
  const seen = hold(dir, 'take "$dir" t $$', 'drop "$dir" t', killed, 'take "$dir" t $$', 'drop "$dir" t');
  expect(seen).toEqual({ double_reservations: [], holds: 3 });
});

test('holders: a second one while the first lives is a double reservation', () => {
  const dir = tempDir('drover-lines');
  mkdirSync(dir, { recursive: true });
  const seen = hold(dir, 'sleep 60 & other=$!', 'take "$dir" t $other', 'take "$dir" t $$ || :', 'kill -9 $other');
  expect(seen.double_reservations).toHaveLength(1);
});
