import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hashToken } from '../src/session/identity.ts';
import type { Scale } from './main.ts';
import { type Figure, information, timesFloor } from './support/figure.ts';
import { interleave, median } from './support/measure.ts';
import { seedSessions } from './support/seed.ts';
import { BUN, DROVER, openWorld, ROOT, type World } from './support/world.ts';

const SESSIONS = 10_000;
const BINARY = join(ROOT, 'dist/drover');
const READS: Record<string, string[]> = {
  status: ['status'],
  'status --all': ['status', '--all'],
  'mail list': ['mail', 'list'],
  show: ['show', 'session-42'],
};

/** Start-up: what a person, and every hook of a session, waits for before anything happens. */
export async function benchStart({ small }: Scale): Promise<Figure[]> {
  const world = await openWorld();
  await seedSessions(world, { count: SESSIONS, live: 200 });
  build();
  const token = await agentToken(world);
  const ways: Record<string, () => Promise<number>> = {
    'bun -e 0': () => run(world, [BUN, '-e', '0']),
    '--version': () => run(world, [DROVER, '--version']),
    '--version, binary': () => run(world, [BINARY, '--version']),
    '--help': () => run(world, [DROVER, '--help']),
    'mail check': () => run(world, [DROVER, 'mail', 'check'], { DROVER_TOKEN: token }),
  };
  for (const [name, args] of Object.entries(READS)) {
    ways[name] = () => run(world, [DROVER, ...args]);
    ways[`${name}, binary`] = () => run(world, [BINARY, ...args]);
  }
  const samples = await interleave(small ? 10 : 30, ways);
  const [floor, ...rest] = Object.entries(samples).map(([name, each]): [string, number] => [name, median(each)]);
  if (floor === undefined) throw new Error('nothing was measured');
  await world.close();
  return rest.map(([name, product]) => judge(name, product, floor[1]));
}

function judge(name: string, product: number, floor: number): Figure {
  const measured = { name, unit: 'ms', floor, product };
  if (name.startsWith('--')) return timesFloor(2, measured);
  const isRead = ['status', 'mail list', 'show'].includes(name.split(',')[0] ?? '');
  if (!isRead) return information({ ...measured, note: name === 'status --all' ? `${SESSIONS} rows printed` : '' });
  return timesFloor(name.endsWith('binary') ? 3 : 5, measured);
}

function build(): void {
  const built = Bun.spawnSync(['node', 'bin/run.mjs', 'build'], { cwd: ROOT, stdout: 'pipe', stderr: 'pipe' });
  if (built.exitCode !== 0 || !existsSync(BINARY)) throw new Error(`the binary could not be built: ${built.stderr}`);
}

/** The token of a session in the middle of a turn, as its harness has it. */
async function agentToken({ store }: World): Promise<string> {
  const token = 'bench-token';
  const params = { name: `session-${SESSIONS - 1}`, token_hash: hashToken(token), now: Date.now() };
  await store.write((tx) => {
    tx.run("UPDATE sessions SET token_hash = :token_hash, state = 'working', turn = 2 WHERE name = :name", params);
    tx.run(
      `INSERT INTO turns (session_id, turn, marker, dir, started_at)
       SELECT id, 2, 'm', '/nowhere', :now FROM sessions WHERE name = :name`,
      params,
    );
  });
  return token;
}

async function run(world: World, command: string[], env: Record<string, string> = {}): Promise<number> {
  const start = performance.now();
  const child = Bun.spawn(command, {
    cwd: world.repo,
    env: { ...world.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const code = await child.exited;
  const ms = performance.now() - start;
  if (code !== 0) throw new Error(`${command.join(' ')}: exit ${code}\n${await child.stderr.text()}`);
  return ms;
}
