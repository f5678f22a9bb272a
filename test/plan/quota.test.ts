import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseClaude } from '../../src/harness/claude-stream.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { getPlan } from '../../src/store/plan.ts';
import { planPulse } from '../../src/store/plan-pulse.ts';
import { quotaLeft } from '../../src/store/quota.ts';
import { newRepository } from '../git/plain.ts';
import { feedTurn, PACKAGE_DIR, takeTurn, testStore } from '../support/store.ts';
import { look, sessionsOf, statesOf, storePlanAt } from './run-field.ts';

const FIXTURE = join(PACKAGE_DIR, 'test/fixtures/harness/claude/usage-warning-subscriber.jsonl');

/** As the CLI said it: 92 % are used. */
function warning(): HarnessEvent[] {
  return readFileSync(FIXTURE, 'utf8')
    .split('\n')
    .filter((line) => line.includes('rate_limit_event'))
    .flatMap((line) => parseClaude(line) ?? []);
}

async function begun(stop: string) {
  const world = await testStore();
  const plan = await storePlanAt(
    world,
    newRepository(),
    `name: n\nconcurrency: 1\nstop_when: {quota_left: ${stop}}\nsteps:\n  - {id: a, task: t}\n  - {id: b, task: u}\n`,
  );
  await look(world, plan);
  const claim = await takeTurn(world, (await sessionsOf(world, plan))[0]?.id ?? '');
  return { world, plan, claim };
}

test('a plan stops when its provider says that little is left, in the words of the CLI itself (C-12)', async () => {
  const { world, plan, claim } = await begun('10%');
  const pulse = await planPulse(world.store);
  expect(await quotaLeft(world.store, plan.id, world.clock.now())).toBeNull();
  await feedTurn(world, claim, warning());
  expect(await quotaLeft(world.store, plan.id, world.clock.now())).toBeCloseTo(0.08);
  expect(await planPulse(world.store)).not.toBe(pulse);
  await look(world, plan);
  expect(await getPlan(world.store, plan.id)).toMatchObject({ stopping: 'quota_left' });
  expect(await statesOf(world, plan)).toEqual({ a: 'running', b: 'skipped' });
});

test('it goes on while more is left than it asks for', async () => {
  const { world, plan, claim } = await begun('5%');
  await feedTurn(world, claim, warning());
  await look(world, plan);
  expect(await getPlan(world.store, plan.id)).toMatchObject({ stopping: null });
});

test('a word counts until the quota is whole again, the last one of each limit, and only for the pools of the plan', async () => {
  const { world, plan, claim } = await begun('10%');
  const left = (at = world.clock.now()) => quotaLeft(world.store, plan.id, at);
  const say = (kind: string, share_left: number, resets_at: number | null) =>
    feedTurn(world, claim, [{ type: 'status', status: 'x', detail: '', quota: { kind, share_left, resets_at } }]);
  const now = world.clock.now();
  await say('five_hour', 0.3, now + 1_000);
  await say('weekly', 0.5, null);
  expect([await left(now), await left(now + 999), await left(now + 1_000)]).toEqual([0.3, 0.3, 0.5]);
  await say('five_hour', 0.9, now + 1_000);
  expect(await left(now)).toBe(0.5);
  expect(await left(now + 6 * 3_600_000)).toBeNull();
  await world.store.write((tx) => tx.run("UPDATE pool_quotas SET pool = 'other'"));
  expect(await left(now)).toBeNull();
});

test('nothing is left of a pool that a usage limit holds, whatever its harness tells', async () => {
  const { world, plan } = await begun('10%');
  const block = (reason: string) =>
    world.store.write((tx) =>
      tx.run(
        `INSERT OR REPLACE INTO pools (name, state, reason, blocked_at, updated_at) VALUES ('rehearsal', 'blocked', '${reason}', 1, 1)`,
      ),
    );
  await block('operator');
  expect(await quotaLeft(world.store, plan.id, 2)).toBeNull();
  await block('usage_limit');
  expect(await quotaLeft(world.store, plan.id, 2)).toBe(0);
});
