import { expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HarnessFacts } from '../../src/session/harness-check.ts';
import { ingest } from '../../src/store/ingest.ts';
import { type Bench, droverBench, writeConfig } from '../support/drover.ts';
import { endTurn, feedTurn, seedSession, takeTurn, testStore } from '../support/store.ts';

interface Checked {
  id: string;
  version: string | null;
  missing_flags: string[] | null;
  drift: {
    turns: number;
    malformed: { count: number }[];
    unknown: { name: string; count: number; session_id: string; turn: number }[];
  };
  problems: string[];
}

/** A bench whose PATH holds only what the launcher and the given fake programs need. */
function benchWith(programs: Record<string, string>): Bench {
  const bench = droverBench();
  const bin = join(bench.home, 'bin');
  mkdirSync(bin);
  for (const name of ['sh', 'git', 'readlink', 'sleep', 'cat', 'env', 'bun'])
    symlinkSync(Bun.which(name) ?? `/nonexistent/${name}`, join(bin, name));
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  bench.env.PATH = bin;
  return bench;
}

const CLAUDE_FLAGS =
  '--print --name --model --allowed-tools --disallowed-tools --permission-mode --add-dir --max-budget-usd --append-system-prompt --resume --mcp-config --setting-sources --strict-mcp-config --output-format --input-format --verbose';

/** A program that answers `--version` and `--help`, and tells which variables it got. */
const claude = (flags: string) =>
  `env > "$HOME/probe-env"; case $* in *--help*) echo "usage: ${flags}";; *) echo "9.9.9 (Fake)";; esac`;

test('list tells for each harness what is installed, its version, bits, and names of credentials, never values', async () => {
  const bench = benchWith({
    claude: claude(''),
    codex: 'echo broken >&2; exit 3',
    mycli: 'echo mycli 1.0',
  });
  writeConfig(bench.home, { harness_runners: { mine: { program: 'mycli' } } });
  const env = { ANTHROPIC_API_KEY: 'sk-secret', CLAUDE_CODE_MAX_OUTPUT_TOKENS: '5', OPENAI_API_KEY: '' };
  const ran = await bench.run(['harness', 'list', '--json'], { env });
  expect(ran.code).toBe(0);
  const all = (JSON.parse(ran.stdout) as { harnesses: HarnessFacts[] }).harnesses;
  expect(all.map((one) => one.id)).toEqual(['claude', 'codex', 'opencode', 'gemini', 'rehearsal', 'mine']);
  const of = (id: string) => all.find((one) => one.id === id);
  expect(of('claude')).toMatchObject({
    version: '9.9.9 (Fake)',
    path: join(bench.home, 'bin/claude'),
    credentials: ['ANTHROPIC_API_KEY'],
    problem: null,
    bits: { resume: true },
  });
  expect(of('codex')).toMatchObject({
    is_installed: true,
    version: null,
    problem: '--version ended with 3: broken',
    credentials: [],
  });
  expect(of('gemini')).toMatchObject({
    is_installed: false,
    path: null,
    version: null,
    install_hint: expect.stringContaining('npm install'),
  });
  expect(of('mine')).toMatchObject({ version: 'mycli 1.0' });
  expect(of('rehearsal')).toMatchObject({ is_installed: true });
  expect(ran.stdout).not.toContain('sk-secret');
  const probe = await Bun.file(join(bench.home, 'probe-env')).text();
  expect(probe).toContain('HOME=');
  expect(probe).not.toMatch(/sk-secret|DROVER_|GIT_CONFIG/);
  const text = await bench.run(['harness'], { env });
  expect(text).toMatchObject({ code: 0, stderr: '' });
  expect(text.stdout).toMatch(/gemini +not installed +npm install/);
  expect(existsSync(bench.drover_home)).toBe(false);
});

test('check: fine is 0; a flag that the help does not name, or a harness that is not there, is 1', async () => {
  const fine = benchWith({ claude: claude(CLAUDE_FLAGS) });
  const { checked } = await fine.json<{ checked: Checked[] }>(['harness', 'check', 'claude']);
  expect(checked).toMatchObject([{ id: 'claude', missing_flags: [], problems: [] }]);
  const old = benchWith({ claude: claude(CLAUDE_FLAGS.replace('--strict-mcp-config', '')) });
  const found = await old.json<{ checked: Checked[] }>(['harness', 'check', 'claude'], 1);
  expect(found.checked[0]).toMatchObject({
    missing_flags: ['--strict-mcp-config'],
    problems: ['its help does not name --strict-mcp-config, which is used'],
  });
  expect((await old.run(['harness', 'check', 'gemini'])).stdout).toContain('not installed: npm install');
  expect((await old.run(['harness', 'check', 'gemini'])).code).toBe(1);
  expect((await old.json<{ error: { code: string } }>(['harness', 'check', 'nosuch'], 2)).error.code).toBe(
    'unknown_harness',
  );
  const mute = benchWith({ claude: 'case $* in *--help*) exit 1;; *) echo 1.0;; esac' });
  expect(await mute.json(['harness', 'check', 'claude'])).toMatchObject({
    checked: [{ missing_flags: null, problems: [] }],
  });
});

test('check: unknown events and malformed lines of the last 20 turns are told with an example; known ones are not', async () => {
  const world = await testStore();
  const bench = benchWith({ claude: claude(CLAUDE_FLAGS) });
  bench.env.DROVER_HOME = world.home;
  const old = await seedSession(world, { name: 'old', harness: 'claude' });
  const first = await takeTurn(world, old.id);
  await feedTurn(world, first, [{ type: 'custom', name: 'too/old' }]);
  await endTurn(world, first);
  for (let n = 0; n < 19; n += 1) {
    world.clock.advance(1_000);
    await endTurn(world, await takeTurn(world, (await seedSession(world, { harness: 'claude' })).id));
  }
  world.clock.advance(1_000);
  const row = await seedSession(world, { name: 'new', harness: 'claude' });
  const other = await seedSession(world, { name: 'other', harness: 'codex' });
  await feedTurn(world, await takeTurn(world, other.id), [{ type: 'custom', name: 'codex/only' }]);
  await feedTurn(world, await takeTurn(world, row.id), [
    { type: 'custom', name: 'system/new_thing' },
    { type: 'custom', name: 'system/new_thing' },
    { type: 'custom', name: 'system/hook_started' },
  ]);
  const found = await bench.json<{ checked: Checked[] }>(['harness', 'check', 'claude'], 1);
  expect(found.checked[0]?.drift).toEqual({
    turns: 20,
    malformed: [],
    unknown: [{ name: 'system/new_thing', count: 2, session_id: row.id, turn: 1 }],
  });
  const line = { offset: 0, end: 1, events: null };
  const codex = {
    session_id: other.id,
    turn: 1,
    from_offset: 1,
    to_offset: 2,
    lines: [line],
    oversize: 1,
    now: world.clock.now(),
  };
  await ingest(world.store, [codex]);
  const broken = await bench.json<{ checked: Checked[] }>(['harness', 'check', 'codex'], 1);
  expect(broken.checked[0]?.problems).toContain(`2 malformed lines in ${other.id} turn 1`);
  expect((await bench.run(['harness', 'check'])).stdout).toContain(
    `unknown event system/new_thing, 2 times, e.g. ${row.id} turn 1`,
  );
});
