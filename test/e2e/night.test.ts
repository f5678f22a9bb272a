import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { droverBench } from '../support/drover.ts';
import { PACKAGE_DIR } from '../support/store.ts';

const NIGHT = join(PACKAGE_DIR, 'templates/plans/night.yaml');

interface Report {
  verdict: string;
  headline: string;
  took_ms: number;
  counts: Record<string, number | string>;
  waiting: { name: string; reason: string; commands: string[] }[];
  steps: {
    id: string;
    state: string;
    outcome: string | null;
    tries: number;
    spent: { cost_micros: number };
    gates: string[];
    merged_commit: string | null;
  }[];
  merged: { step_id: string; target: string; commit: string }[];
  spent: { cost_micros: number; turns: number };
  lost_to_limits: { pool: string; wall_ms: number }[];
  bad_turns: { outcome: string; turns: number }[];
  retries: unknown[];
  kills: unknown[];
  incidents: unknown[];
}

test('the night that is shipped ends with exit code 1, and its report says exactly what happened', async () => {
  const bench = droverBench();
  const ran = await bench.run(['plan', 'run', NIGHT, '--wait', '--json']);
  expect(ran.code).toBe(1);
  const lines = ran.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; step_id?: string; change?: string });
  const told = (change: string) => lines.filter((line) => line.change === change).map(({ step_id }) => step_id);
  expect(told('failed').filter((id) => id !== undefined)).toEqual(['speed-up']);
  expect(told('skipped')).toEqual(['benchmark']);
  expect(told('parked')).toContain('update-dependencies');

  const report = await bench.json<Report>(['report', '--format', 'json']);
  expect(report.took_ms).toBeLessThan(60_000);
  expect([report.verdict, report.headline]).toEqual([
    'failed',
    'FAILED: 1 of 11 steps failed, 9 done, 1 skipped; 6 merged.',
  ]);
  const steps = report.steps.map(({ id, state, outcome, tries, spent, gates, merged_commit }) =>
    [id, state, outcome ?? '-', tries, spent.cost_micros, gates.join(' '), merged_commit === null ? '' : 'merged'].join(
      '|',
    ),
  );
  expect(steps.sort()).toEqual(
    [
      'list-modules|done|-|1|20000||',
      'update-dependencies|done|-|1|160000||merged',
      'fix-parser|done|-|1|240000|red green|merged',
      'speed-up|failed|gate|1|600000|red red red|',
      'benchmark|skipped|need_failed|0|0||',
      'document|done|-|0|90000||',
      'document.1|done|-|1|30000||merged',
      'document.2|done|-|1|30000||merged',
      'document.3|done|-|1|30000||merged',
      'sweep-up|done|-|0|20000||',
      'sweep-up.1|done|-|1|10000||',
      'sweep-up.2|done|-|1|10000||',
      'release-notes|done|-|1|40000||merged',
    ].sort(),
  );
  expect(report.spent).toMatchObject({ cost_micros: 1_170_000, turns: 14 });
  expect(report.waiting).toMatchObject([{ name: 'speed-up', reason: 'gate' }]);
  expect(report.waiting[0]?.commands[0]).toStartWith('drover resume speed-up');
  expect(report.bad_turns).toEqual([{ outcome: 'limited', turns: 1 }]);
  expect(report.lost_to_limits.map(({ pool }) => pool)).toEqual(['rehearsal']);
  expect(report.lost_to_limits[0]?.wall_ms).toBeGreaterThan(2_000);
  expect([report.retries, report.kills, report.incidents]).toEqual([[], [], []]);

  // What the report says of the repository is what git says.
  const onMain = bench.git('log', '--format=%H', '--first-parent', '--merges').split('\n');
  expect(report.merged.map(({ commit }) => commit).sort()).toEqual(onMain.sort());
  const text = (path: string) => readFileSync(join(bench.repo, path), 'utf8');
  expect(text('parser.txt')).toBe('fixed\n');
  expect(text('docs/printer.md')).toBe('# printer\n');
  expect(text('NOTES.md')).toBe('- the parser takes empty input now\n- parser-kit is at 2.1\n');
  expect(bench.git('status', '--porcelain')).toBe('');
}, 120_000);
