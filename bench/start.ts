import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hashToken } from '../src/session/identity.ts';
import { type Figure, information, timesFloor } from './support/figure.ts';
import { interleave, median } from './support/measure.ts';
import type { Scale } from './support/scale.ts';
import { seedSessions } from './support/seed.ts';
import { BUN, DROVER, openWorld, ROOT, type World } from './support/world.ts';

const SESSIONS = 10_000;
const BINARY = join(ROOT, 'dist/drover');
const READS: Record<string, string[]> = {
  status: ['status'],
  'status --all': ['status', '--all'],
  'mail list': ['mail', 'list'],
  'mail list --unread': ['mail', 'list', '--unread'],
  show: ['show', 'session-42'],
};

/** Start-up: what a person, and every hook of a session, waits for before anything happens. */
export async function benchStart({ small }: Scale): Promise<Figure[]> {
  const world = await openWorld();
  await seedSessions(world, { count: SESSIONS, live: 200 });
  build();
  const token = await agentToken(world);
  const commands: Record<string, string[]> = {
    [FLOOR]: [BUN, '-e', '0'],
    '--version': [DROVER, '--version'],
    '--version, binary': [BINARY, '--version'],
    '--help': [DROVER, '--help'],
    'mail check, in a turn': [DROVER, 'mail', 'check'],
  };
  for (const [name, args] of Object.entries(READS)) {
    commands[name] = [DROVER, ...args];
    commands[`${name}, binary`] = [BINARY, ...args];
  }
  const cpu: Record<string, number[]> = {};
  const ways = Object.entries(commands).map(([name, command]) => {
    const env = name.endsWith('in a turn') ? { ...world.env, DROVER_TOKEN: token } : world.env;
    cpu[name] = [];
    return [name, () => run(command, { cwd: world.repo, env }, (ms) => cpu[name]?.push(ms))] as const;
  });
  const samples = await interleave(small ? 6 : 30, Object.fromEntries(ways));
  await world.close();
  const [wall, busy] = [samples, cpu].map((each) => (name: string) => median(each[name] ?? [])) as [Middle, Middle];
  return Object.keys(commands)
    .filter((name) => name !== FLOOR)
    .map((name) => judge(name, wall(name), wall(FLOOR), `CPU alone: ${(busy(name) / busy(FLOOR)).toFixed(1)} x`));
}

type Middle = (name: string) => number;
const FLOOR = 'bun -e 0';

function judge(name: string, product: number, floor: number, note: string): Figure {
  const measured = { name, unit: 'ms', floor, product, note };
  if (name.startsWith('--')) return timesFloor(2, measured);
  const isRead = ['status', 'mail list', 'show'].includes(name.split(',')[0] ?? '');
  if (!isRead) return information(measured);
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

/** Milliseconds from start to exit; those of CPU go to `onCpu`, the processes that the command waited for included. */
async function run(
  command: string[],
  place: { cwd: string; env: Record<string, string> },
  onCpu: (ms: number) => void,
): Promise<number> {
  const start = performance.now();
  const child = Bun.spawn(command, { ...place, stdio: ['ignore', 'ignore', 'pipe'] });
  const code = await child.exited;
  const ms = performance.now() - start;
  if (code !== 0) throw new Error(`${command.join(' ')}: exit ${code}\n${await child.stderr.text()}`);
  onCpu(Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1000);
  return ms;
}
