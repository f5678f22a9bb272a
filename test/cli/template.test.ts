import { describe, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MailRow } from '../../src/model/mail.ts';
import { OPERATOR } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { type Launched, type LaunchRequest, launchTemplate, templateOf } from '../../src/plan/template.ts';
import { listTemplates } from '../../src/session/template-files.ts';
import { listSessions } from '../../src/store/session.ts';
import { doorbell, jsonAs, runAs } from '../support/agent.ts';
import { writeConfig } from '../support/drover.ts';
import { PACKAGE_DIR, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const human = { name: OPERATOR, session: null };
const CONFIG = {
  default_harness: 'rehearsal',
  default_profile: 'plain',
  profiles: { plain: {}, fast: { model: 'quick' } },
};

interface Farm extends TestStore {
  repo: string;
}

async function farm(config: object = {}): Promise<Farm> {
  const world = await testStore();
  const home = world.deps.env.HOME ?? '';
  writeConfig(home, { ...CONFIG, ...config });
  const repo = join(home, 'barn');
  for (const args of [
    ['init', '-q', '-b', 'main', repo],
    ['-C', repo, '-c', 'user.name=t', '-c', 'user.email=t@localhost', 'commit', '-q', '--allow-empty', '-m', 'start'],
  ]) {
    const env = { PATH: process.env.PATH ?? '', HOME: home, GIT_CONFIG_GLOBAL: '/dev/null' };
    if (Bun.spawnSync(['git', ...args], { env }).exitCode !== 0) throw new Error(`git ${args.join(' ')}`);
  }
  return { ...world, repo };
}

function launch(
  at: Farm,
  raw: unknown,
  more: Partial<LaunchRequest> = {},
  caller: Parameters<typeof launchTemplate>[1] = human,
) {
  const template = { name: 'night_crew', file: '/crew.yaml', text: JSON.stringify(raw), found_in: null };
  return launchTemplate(at.deps, caller, { template, cwd: at.repo, task: null, source: null, variables: {}, ...more });
}

const THREE = { steps: [{ name: 'look', task: 'look' }, { task: 'build' }, { name: 'check', task: 'check' }] };
const sessions = async (at: Farm) => (await listSessions(at.store, {})).reverse();
const handoffs = (at: Farm) =>
  at.store.read((tx) => tx.all<MailRow>("SELECT * FROM mail WHERE type = 'task_handoff' ORDER BY seq"));
const rowsOf = async (at: Farm, { created }: Launched): Promise<SessionRow[]> => {
  const all = new Map((await sessions(at)).map((row) => [row.id, row]));
  return created.map(({ session_id }) => all.get(session_id) as SessionRow);
};

describe('a launch', () => {
  test('creates one session per step, in order, and says which (E-070)', async () => {
    const at = await farm();
    const launched = await launch(at, THREE);
    const rows = await sessions(at);
    expect(launched).toEqual({
      ...{ template_name: 'night_crew', step_count: 3, anchor_session_id: rows[0]?.id ?? '' },
      created: [
        { step_name: 'look', session_id: rows[0]?.id ?? '', task: 'look' },
        { step_name: 'step 2', session_id: rows[1]?.id ?? '', task: 'build' },
        { step_name: 'check', session_id: rows[2]?.id ?? '', task: 'check' },
      ],
      ...{ failed_step: null, waiting_for_worktree: 0 },
    });
    expect(rows.map(({ state, project, task_group }) => [state, project, task_group])).toEqual(
      Array(3).fill(['queued', 'barn', 'night crew']),
    );
  });

  test('harness, profile and worktree are those of step, template and settings (E-072, E-074)', async () => {
    const at = await farm({ worktree: { by_default: true } });
    const raw = {
      steps: [
        { task: 'a' },
        { task: 'b', agent: 'rehearsal', worktree: false },
        { task: 'c', agent: 'rehearsal', profile: 'fast' },
      ],
    };
    const rows = await rowsOf(at, await launch(at, raw));
    expect(rows.map(({ harness, profile_name }) => [harness, profile_name])).toEqual([
      ['rehearsal', 'plain'],
      ['rehearsal', null],
      ['rehearsal', 'fast'],
    ]);
    expect(rows.map(({ branch }) => branch !== null)).toEqual([true, false, true]);
  });

  test('needs a slot for every step beside all sessions that live, wherever they are (E-073)', async () => {
    const at = await farm({ max_live_sessions: 4 });
    for (const repo_root of ['/farm', '/field']) await seedSession(at, { repo_root });
    const before = await sessions(at);
    await expect(launch(at, THREE)).rejects.toMatchObject({
      code: 'no_slots',
      message: 'template night_crew requires 3 session slots but only 2 available',
    });
    expect(await sessions(at)).toEqual(before);
    expect((await launch(at, { steps: THREE.steps.slice(1) })).created).toHaveLength(2);
    await expect(launch(at, { steps: [{ task: 'x' }] })).rejects.toThrow(
      'requires 1 session slots but only 0 available',
    );
  });

  test('what is wrong with any step is said before anything is created (CX-54)', async () => {
    const at = await farm();
    const bad = (more: object) => launch(at, { steps: [{ task: 'fine' }, { name: 'two', task: 'x', ...more }] });
    await expect(bad({ profile: 'none-such' })).rejects.toMatchObject({
      ...{ code: 'unknown_profile', message: 'two: There is no profile called none-such.' },
      details: { data: { failed_step: 'two' } },
    });
    await expect(bad({ agent: 'none-such' })).rejects.toMatchObject({ code: 'unknown_harness' });
    await expect(bad({ role: 'none-such' })).rejects.toMatchObject({ code: 'unknown_role' });
    await expect(launch(at, { steps: [{ task: '{{ a }}' }] }, { variables: { a: ' ' } })).rejects.toMatchObject({
      code: 'task_empty',
    });
    await expect(launch(at, { steps: [] })).rejects.toMatchObject({ code: 'template_empty' });
    await expect(launch(at, { steps: [{ task: '{{ a }}' }] })).rejects.toMatchObject({ code: 'template_unfilled' });
    expect(await sessions(at)).toEqual([]);
  });

  test('sessions beyond the worktrees wait in the queue, and are counted (CX-55)', async () => {
    const at = await farm({ max_worktrees: 2, worktree: { by_default: true } });
    expect((await launch(at, THREE)).waiting_for_worktree).toBe(1);
    expect((await launch(at, { steps: [{ task: 'x' }, { task: 'y', worktree: false }] })).waiting_for_worktree).toBe(1);
  });
});

describe('lineage', () => {
  test('without a source the first is the anchor and hands to every later one (E-076, E-077)', async () => {
    const at = await farm();
    const launched = await launch(at, THREE);
    const [first, second, third] = await rowsOf(at, launched);
    expect(launched.anchor_session_id).toBe(first?.id ?? '');
    const mails = await handoffs(at);
    expect(mails.map(({ from_id, to_id }) => [from_id, to_id])).toEqual([
      [first?.id ?? '', second?.id ?? ''],
      [first?.id ?? '', third?.id ?? ''],
    ]);
    expect(JSON.parse(mails[0]?.payload_json ?? '')).toEqual({
      ...{ task: 'build', priority: 'normal' },
      context: `Assigned by ${first?.id} [rehearsal] | cwd ${at.repo} | template night_crew | step 2`,
    });
  });

  test('with a source every session gets a handoff from it, and its words (E-071, E-075, E-076, E-077)', async () => {
    const at = await farm();
    const source = await seedSession(at, { task: 'mend the fence', task_group: 'fences', project: 'farm' });
    const raw = { steps: [{ task: 'go on with {{ source_task }}' }, { task: '{{ task }} in {{ project }}' }] };
    const launched = await launch(at, raw, { source });
    expect(launched.anchor_session_id).toBe(source.id);
    const rows = await rowsOf(at, launched);
    expect(rows.map(({ task, project, task_group }) => [task, project, task_group])).toEqual([
      ['go on with mend the fence', 'farm', 'fences'],
      ['mend the fence in farm', 'farm', 'fences'],
    ]);
    expect((await handoffs(at)).map(({ from_id, to_id }) => [from_id, to_id])).toEqual(
      rows.map(({ id }) => [source.id, id]),
    );
  });

  test('a step that is refused ends the launch; the sessions before it stay and keep their handoffs (E-078)', async () => {
    const at = await farm({ max_children: 2 });
    const session = await seedSession(at, { name: 'lead-1', role: 'lead', repo_root: at.repo });
    const launched = await launch(at, THREE, {}, { name: session.name, session });
    expect(launched).toMatchObject({ step_count: 3, failed_step: { step_name: 'check' } });
    expect(launched.failed_step?.error.code).toBe('too_many_children');
    expect(launched.created.map(({ step_name }) => step_name)).toEqual(['look', 'step 2']);
    expect((await rowsOf(at, launched)).map(({ state, parent_id }) => [state, parent_id])).toEqual(
      Array(2).fill(['queued', session.id]),
    );
    expect(await handoffs(at)).toHaveLength(1);
  });
});

describe('files', () => {
  test('a person’s own template wins over the repository’s, and that over the one that is shipped', async () => {
    const at = await farm();
    const dirs = { user: `${at.home}/templates`, project: `${at.repo}/.drover/templates` };
    const write = (dir: string, name: string) => writeFileSync(join(dir, name), JSON.stringify(THREE));
    for (const dir of Object.values(dirs)) mkdirSync(dir, { recursive: true });
    write(dirs.project, 'feature-crew.yaml');
    for (const name of ['own.yml', '-odd.yaml', 'notes.txt']) write(dirs.project, name);
    write(dirs.user, 'own.yaml');
    const places = { home: at.home, package_dir: PACKAGE_DIR };
    const found = listTemplates(places, at.repo).map(({ name, origin }) => `${name} ${origin}`);
    expect(found).toEqual(['feature-crew project', 'own user', 'second-opinions drover']);
    expect(listTemplates(places, null).map(({ origin }) => origin)).toEqual(['drover', 'user', 'drover']);
  });

  test('every shipped one can be read and says what it is for', () => {
    const shipped = listTemplates({ home: '/nowhere', package_dir: PACKAGE_DIR }, null);
    expect(shipped.length).toBeGreaterThan(1);
    for (const file of shipped) expect(templateOf(file).description).not.toBeNull();
  });
});

describe('the verb', () => {
  const run = (at: Farm, args: string[], stdin?: string) =>
    jsonAs<Launched & { error?: { code: string; message: string } }>(at, null, ['--project', at.repo, ...args], stdin);

  test('lists, shows and runs; every refusal has its exit code', async () => {
    const at = await farm();
    const bell = await doorbell(at);
    const file = join(at.repo, 'crew.yaml');
    writeFileSync(file, 'steps:\n  - task: "{{ task }} for {{ who }}"\n');
    expect((await runAs(at, null, ['template'])).stdout).toMatch(/feature-crew +drover +3 +project task/);
    expect((await runAs(at, null, ['template', 'show', file])).stdout).toMatch(/variables {2}task, who\n[\s\S]*step 1/);
    const launched = await run(at, ['template', 'run', file, '--var', 'who=a=b', '-'], 'work');
    expect(launched).toMatchObject({ template_name: 'crew', created: [{ step_name: 'step 1', task: 'work for a=b' }] });
    expect(bell.lines).toHaveLength(1);
    const source = launched.created[0]?.session_id ?? '';
    const next = await run(at, ['template', 'run', './crew.yaml', '--from', source, '--var', 'who=c']);
    expect(next).toMatchObject({ anchor_session_id: source, created: [{ task: 'work for a=b for c' }] });
    const codes = async (args: string[]) => (await runAs(at, null, ['template', 'run', ...args])).code;
    expect(await Promise.all([codes([file, 'x']), codes(['none-such', 'x']), codes([file, '--var', 'x'])])).toEqual([
      2, 4, 2,
    ]);
    expect((await run(at, ['template', 'run', 'none-such'])).error?.code).toBe('unknown_template');
  });

  test('a mistake in the file is told with its place', async () => {
    const at = await farm();
    const file = join(at.repo, 'crew.yaml');
    writeFileSync(file, 'steps:\n  - task: a\n    tsak: b\n');
    const { error } = await run(at, ['template', 'run', file]);
    expect(error?.code).toBe('template_invalid');
    expect(error?.message).toContain(`${file}:3:5 unknown key "tsak"`);
    writeFileSync(file, 'steps: &a [*a]\n');
    expect((await run(at, ['template', 'show', file])).error?.code).toBe('template_invalid');
  });

  test('a session hands on its own work and nobody else’s', async () => {
    const at = await farm();
    await doorbell(at);
    const file = join(at.repo, 'crew.yaml');
    writeFileSync(file, JSON.stringify(THREE));
    const other = await seedSession(at, { name: 'ox-1' });
    const lead = await seedSession(at, { name: 'lead-1', role: 'lead', repo_root: at.repo, working_dir: at.repo });
    const { token } = await takeTurn(at, lead.id);
    const as = (args: string[]) =>
      jsonAs<Launched & { error?: { code: string } }>(at, token, [
        '--project',
        at.repo,
        'template',
        'run',
        file,
        ...args,
      ]);
    expect((await as(['--from', other.name])).error?.code).toBe('not_allowed');
    expect((await as([])).anchor_session_id).toBe(lead.id);
    expect((await handoffs(at)).map(({ from_id }) => from_id)).toEqual(Array(3).fill(lead.id));
    const builder = await takeTurn(at, (await seedSession(at, { name: 'builder-1' })).id);
    const ran = await runAs(at, builder.token, ['template', 'run', file]);
    expect(ran.code).toBe(3);
  });
});
