import { expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { newId } from '../../src/model/id.ts';
import type { PlanRow } from '../../src/model/plan.ts';
import { readPlan } from '../../src/plan/read.ts';
import { writeReport } from '../../src/plan/report.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { getPlan, insertPlan, movePlan } from '../../src/store/plan.ts';
import { unreportedPlans } from '../../src/store/report.ts';
import { type TestStore, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

interface World extends TestStore {
  repo: string;
  plan: PlanRow;
}

/** A plan that has ended without a session of its own, in a repository that is a plain directory. */
async function ended(report: string | null = null, state: 'completed' | 'failed' = 'failed'): Promise<World> {
  const world = await testStore();
  const repo = tempDir('report-repo');
  const text = `name: night\n${report === null ? '' : `report: ${report}\n`}steps:\n  - {id: a, task: t, harness: rehearsal}\n`;
  const { plan: read, issues } = readPlan(text);
  if (read === null) throw new Error(issues.map(({ message }) => message).join());
  const { steps: _steps, ...settings } = read.file;
  const now = world.clock.now();
  const plan = await insertPlan(world.store, {
    ...{ id: newId('plan'), settings, repo_root: repo, working_dir: repo, file: null, schedule_id: null, now },
    steps: read.steps.map((step) => ({ step, pool: 'p' })),
  });
  await movePlan(world.store, { id: plan.id, to: state, reason: null, now: now + 5 });
  return { ...world, repo, plan };
}

const mails = (world: World) => listMail(world.store, { to_id: null });
const kept = (world: World, format: string) => join(homePaths.reports(world.home), `${world.plan.run_id}.${format}`);

test('the report of an ended plan is written in every format, for its owner alone, and told by one mail (C-12, I17)', async () => {
  const world = await ended('out/night.html');
  expect(await unreportedPlans(world.store)).toEqual([world.plan.id]);
  expect(await writeReport(world.deps, world.plan.id)).toBe(true);
  for (const format of ['md', 'html', 'json']) expect(statSync(kept(world, format)).mode & 0o777).toBe(0o600);
  expect(readFileSync(kept(world, 'md'), 'utf8')).toStartWith('# FAILED: nothing was done; 1 of 1 step not started.');
  expect(JSON.parse(readFileSync(kept(world, 'json'), 'utf8'))).toMatchObject({ verdict: 'failed' });
  expect(readFileSync(join(world.repo, 'out/night.html'), 'utf8')).toStartWith('<!DOCTYPE html>');
  const [mail, ...more] = await mails(world);
  expect(more).toEqual([]);
  expect(mail).toMatchObject({ from_name: 'drover', type: 'status', priority: 'high' });
  expect(mail?.subject).toBe('Plan night: FAILED: nothing was done; 1 of 1 step not started.');
  expect(mail?.body).toContain(`drover report ${world.plan.run_id}`);
  expect(mail?.body).toContain(join(world.repo, 'out/night.html'));
  expect((await getPlan(world.store, world.plan.id))?.reported_at).not.toBe(null);
  expect(await unreportedPlans(world.store)).toEqual([]);
  expect(await writeReport(world.deps, world.plan.id)).toBe(false);
  expect((await mails(world)).length).toBe(1);
});

test('of many who report it at once, one tells of it', async () => {
  const world = await ended();
  const other = { ...world.deps, store: await world.second() };
  const all = await Promise.all([world.deps, other, world.deps, other].map((deps) => writeReport(deps, world.plan.id)));
  expect(all.filter((told) => told).length).toBe(1);
  expect((await mails(world)).length).toBe(1);
});

test('whoever died after the files and before the mail is followed by somebody who writes and tells', async () => {
  const world = await ended();
  mkdirSync(homePaths.reports(world.home), { mode: 0o700 });
  writeFileSync(kept(world, 'md'), 'half a repor');
  expect(await writeReport(world.deps, world.plan.id)).toBe(true);
  expect(readFileSync(kept(world, 'md'), 'utf8')).toStartWith('# FAILED');
  expect((await mails(world)).length).toBe(1);
});

test('a plan that goes on is not reported', async () => {
  const world = await ended();
  await world.store.write((tx) =>
    tx.run("UPDATE plans SET state = 'active', ended_at = NULL WHERE id = :id", { id: world.plan.id }),
  );
  expect(await writeReport(world.deps, world.plan.id)).toBe(false);
  expect(await writeReport(world.deps, 'plan-unheard')).toBe(false);
  expect([await mails(world), existsSync(homePaths.reports(world.home))]).toEqual([[], false]);
});

test.each<[string, (repo: string, outside: string) => void]>([
  ['a link to a directory elsewhere', (repo, outside) => symlinkSync(outside, join(repo, 'out'))],
  [
    'a link to a file elsewhere',
    (repo, outside) => {
      mkdirSync(join(repo, 'out'));
      symlinkSync(join(outside, 'victim'), join(repo, 'out/night.md'));
    },
  ],
  ['a file where a directory should be', (repo) => writeFileSync(join(repo, 'out'), '')],
  ['a directory where the file should be', (repo) => mkdirSync(join(repo, 'out/night.md'), { recursive: true })],
])('%s: nothing is written there, the mail says so, the plan counts as reported', async (_what, lay) => {
  const world = await ended('out/night.md');
  const outside = tempDir('outside');
  writeFileSync(join(outside, 'victim'), 'mine');
  lay(world.repo, outside);
  expect(await writeReport(world.deps, world.plan.id)).toBe(true);
  expect(readFileSync(join(outside, 'victim'), 'utf8')).toBe('mine');
  expect(existsSync(join(outside, 'night.md'))).toBe(false);
  const [mail] = await mails(world);
  expect(mail?.body).toContain('Could not be written:\nout/night.md: ');
  expect(existsSync(kept(world, 'md'))).toBe(true);
});

test('a place that the plan may not name is refused here as well', async () => {
  for (const path of ['../out.md', '/tmp/out.md', '.git/hooks/x.md', 'a/../../x.md', '.GIT/x.md']) {
    const world = await ended('night.md');
    const settings_json = JSON.stringify({ ...JSON.parse(world.plan.settings_json), report: path });
    await world.store.write((tx) =>
      tx.run('UPDATE plans SET settings_json = :settings_json WHERE id = :id', { settings_json, id: world.plan.id }),
    );
    expect(await writeReport(world.deps, world.plan.id)).toBe(true);
    expect((await mails(world))[0]?.body).toContain(`Could not be written:\n${path}: `);
    expect(existsSync(join(world.repo, path))).toBe(false);
  }
});

test('a directory of reports that cannot be written keeps nobody from learning how it went', async () => {
  const world = await ended('night.md', 'completed');
  writeFileSync(homePaths.reports(world.home), 'in the way');
  expect(await writeReport(world.deps, world.plan.id)).toBe(true);
  const [mail] = await mails(world);
  expect(mail?.body).toContain(`Could not be written:\n${world.plan.run_id}.md: `);
  expect(existsSync(join(world.repo, 'night.md'))).toBe(true);
  expect((await getPlan(world.store, world.plan.id))?.reported_at).not.toBe(null);
});

test.skipIf(process.geteuid?.() === 0)(
  'a repository that is read-only [skipped for root, whom no mode stops]',
  async () => {
    const world = await ended('night.md');
    chmodSync(world.repo, 0o500);
    expect(await writeReport(world.deps, world.plan.id)).toBe(true);
    chmodSync(world.repo, 0o700);
    expect((await mails(world))[0]?.body).toContain('night.md: cannot write');
  },
);

test('a repository that is gone', async () => {
  const world = await ended('night.md');
  const { rmSync } = await import('node:fs');
  rmSync(world.repo, { recursive: true });
  expect(await writeReport(world.deps, world.plan.id)).toBe(true);
  expect((await mails(world))[0]?.body).toContain('night.md: ');
});
