import { beforeAll, beforeEach, expect, test } from 'bun:test';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Bench, droverBench, writeConfig } from '../support/drover.ts';
import { counts, peek, refused, rehearse, sessionOf, untilState } from '../support/peek.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

let bench: Bench;
let marker: string;

/** The user's own: a program of theirs that plays the repository's script as well, and a profile for it. */
const OWN = {
  harness_runners: { mine: { program: 'drover-rehearsal', event_format: 'ndjson' } },
  profiles: { dry: { agent: 'mine' }, free: { agent: 'rehearsal' } },
};

beforeAll(() => {
  bench = droverBench();
});

beforeEach(() => {
  marker = join(tempDir('marker'), 'owned');
  rmSync(join(bench.repo, '.drover'), { recursive: true, force: true });
  plant('.drover/rehearsal.yaml', { turns: [[{ run: `touch ${marker}` }, { result: { ok: true, text: 'played' } }]] });
  writeConfig(bench.home, OWN);
});

/** JSON is YAML. */
function plant(path: string, content: unknown): void {
  mkdirSync(join(bench.repo, dirname(path)), { recursive: true });
  writeFileSync(join(bench.repo, path), JSON.stringify(content));
}

const P = { default_profile: 'p', profiles: { p: { agent: 'rehearsal' } } };
const BASED = { default_profile: 'p', profiles: { p: { inherits: 'q' }, q: { agent: ' Rehearsal ' } } };
const SPELLINGS: [string, unknown, string[]][] = [
  ['the default harness', { default_harness: 'rehearsal' }, []],
  ['the default harness, spelt otherwise', { default_harness: ' REHEARSAL ' }, []],
  ['a default profile that wins over --harness', P, ['--harness', 'claude']],
  ['a profile by inheritance', BASED, ['--harness', 'claude']],
  ['a profile of its own that a person names', { profiles: P.profiles }, ['--profile', 'p']],
  ["a profile of the user's", { default_profile: 'free' }, []],
  ['the program of a custom runner', { default_harness: 'mine' }, []],
  ['a custom runner in a profile', { default_profile: 'x', profiles: { x: { agent: 'mine' } } }, []],
];

test.each(SPELLINGS)(
  'a repository does not choose what runs code of its own: %s (E-006, docs/adr/0007)',
  async (_what, config, args) => {
    plant('.drover/config.yaml', config);
    const before = counts(bench);
    const error = await refused(bench, ['sling', ...args, 'fix the flaky test'], [3, 'repository_untrusted']);
    expect(error.message).toContain(join(bench.repo, '.drover/config.yaml'));
    expect(error.hint).toContain(`add ${bench.repo} to trusted_repositories`);
    expect(counts(bench)).toEqual(before);
    expect(existsSync(marker)).toBe(false);
  },
  30_000,
);

test('nor by computer_use, in a plan that names no harness, or in a template that is found there by its name (E-062, E-070)', async () => {
  const plan = join(bench.home, 'plan.yaml');
  writeFileSync(plan, JSON.stringify({ name: 'p', steps: [{ id: 'a', task: 'fix it' }] }));
  const tries: [string, unknown, string[]][] = [
    ['config.yaml', { computer_use: { harness: 'rehearsal' } }, ['dispatch', 'add', '--computer-use', 'look at it']],
    ['config.yaml', { computer_use: { profile: 'free' } }, ['dispatch', 'add', '--computer-use', 'look at it']],
    ['config.yaml', P, ['plan', 'run', plan, '--detach']],
    ['templates/crew.yaml', { steps: [{ task: 'fix it', agent: 'mine' }] }, ['template', 'run', 'crew', 'fix it']],
  ];
  for (const [file, content, args] of tries) {
    plant(`.drover/${file}`, content);
    const error = await refused(bench, args, [3, 'repository_untrusted']);
    expect(error.message).toContain(join(bench.repo, '.drover', file));
    rmSync(join(bench.repo, '.drover', file));
  }
  expect(existsSync(marker)).toBe(false);
}, 60_000);

test('a script of the repository is played only where it is trusted, whoever asks for it (C-04)', async () => {
  for (const harness of ['rehearsal', 'mine']) {
    const error = await refused(bench, ['sling', '--harness', harness, 'try it'], [3, 'repository_untrusted']);
    expect(error.message).toContain('.drover/rehearsal.yaml');
  }
  expect(existsSync(marker)).toBe(false);
  plant('.drover/config.yaml', P);
  writeConfig(bench.home, { ...OWN, trusted_repositories: [bench.repo] });
  const ran = await bench.run(['sling', '--harness', 'claude', '--name', 'trusted', '--wait', 'try it']);
  // The trap is live, and a profile that wins over a word is told (E-006).
  expect(ran).toMatchObject({ code: 0 });
  expect(existsSync(marker)).toBe(true);
  expect(ran.stderr).toContain('the profile p names its harness: rehearsal and not claude, as --harness said');
}, 60_000);

test('what overrides a word is told to programs too, and nothing where nothing was overridden (E-006)', async () => {
  rmSync(join(bench.repo, '.drover'), { recursive: true });
  const of = async (...args: string[]) =>
    (await bench.json<{ overridden_harness: string | null }>(['sling', ...args, 'try it'])).overridden_harness;
  expect(await of('--profile', 'free', '--harness', 'claude')).toBe('claude');
  expect(await of('--profile', 'free', '--harness', 'auto')).toBeNull();
  expect(await of('--profile', 'free', '--harness', ' Rehearsal')).toBeNull();
  expect(await of('--harness', 'rehearsal')).toBeNull();
}, 60_000);

test('without such a file a rehearsal needs no trust, and one that an agent plants is not played in the next turn (C-04)', async () => {
  rmSync(join(bench.repo, '.drover'), { recursive: true });
  const script = { turns: [[{ run: `touch ${marker}` }]] };
  const plants = `mkdir -p .drover && echo '${JSON.stringify(script)}' > .drover/rehearsal.yaml`;
  await rehearse(bench, 'planter', { turns: [[{ run: plants }]] }, ['--role', 'coordinator']);
  await untilState(bench, 'planter', 'idle');
  await bench.run(['nudge', 'planter']);
  await untilState(bench, 'planter', 'failed');
  expect(sessionOf(bench, 'planter').end_reason).toContain('.drover/rehearsal.yaml');
  expect(peek(bench, "SELECT 1 FROM sessions WHERE name = 'planter' AND state = 'failed'")).toHaveLength(1);
  expect(existsSync(marker)).toBe(false);
}, 60_000);

/** What is still at work writes mail, and a refusal is held against what is stored. */
async function allRest(): Promise<void> {
  const busy = "SELECT 1 FROM sessions WHERE ended_at IS NULL AND state NOT IN ('idle', 'parked')";
  await until('everybody rests', () => peek(bench, busy).length === 0);
}

test('a repository gives no rights, and takes nothing back that the user has set (docs/adr/0007)', async () => {
  const careful = { permission_mode: 'plan', allowed_tools: ['Read'], agent: 'rehearsal' };
  const loose = { permission_mode: 'acceptEdits', allowed_tools: ['Bash', 'WebFetch'] };
  const sling = ['sling', '--harness', 'rehearsal'];
  rmSync(join(bench.repo, '.drover/rehearsal.yaml'));
  plant('.drover/config.yaml', { default_role: 'coordinator' });
  await allRest();
  const role = await refused(bench, [...sling, 'x'], [3, 'repository_untrusted']);
  expect(role.message).toContain('the role coordinator has rights (sling, nudge, stop, merge)');
  // The person may; and a role without rights is a repository's to choose.
  expect((await bench.run([...sling, '--role', 'coordinator', '--name', 'boss', 'x'])).code).toBe(0);
  plant('.drover/config.yaml', { default_role: 'builder' });
  expect((await bench.json<{ session: { role: string } }>([...sling, 'x'])).session.role).toBe('builder');

  writeConfig(bench.home, { default_profile: 'careful', default_role: 'scout', profiles: { careful } });
  plant('.drover/config.yaml', { default_profile: 'loose', default_role: 'coordinator', profiles: { loose } });
  const ran = await bench.run([...sling, '--name', 'kept', 'x']);
  expect(ran.code).toBe(0);
  expect(ran.stderr).toContain(`default_profile: your own config sets one; this one counts when ${bench.repo} is in`);
  expect(ran.stderr.match(/warning: .*default_role/g)).toHaveLength(1);
  expect(sessionOf(bench, 'kept')).toMatchObject({ role: 'scout', profile_name: 'careful' });
  await allRest();
  const named = await refused(bench, [...sling, '--profile', 'loose', 'x'], [3, 'repository_untrusted']);
  expect(named.message).toContain('more than your own default profile careful: allowed_tools, permission_mode');
  expect(named.hint).toContain(`add ${bench.repo} to trusted_repositories`);

  writeConfig(bench.home, { default_profile: 'careful', profiles: { careful }, trusted_repositories: [bench.repo] });
  expect((await bench.run([...sling, '--name', 'theirs', 'x'])).code).toBe(0);
  expect(sessionOf(bench, 'theirs')).toMatchObject({ role: 'coordinator', profile_name: 'loose' });
}, 60_000);
