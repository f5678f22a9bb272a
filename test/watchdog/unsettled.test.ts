import { expect, test } from 'bun:test';
import { listMail } from '../../src/store/mail-list.ts';
import { Unsettled } from '../../src/watchdog/unsettled.ts';
import type { Finding } from '../../src/watchdog/watcher.ts';
import { testStore } from '../support/store.ts';

const NOTHING = { findings: [] as Finding[], left: 0, failures: [] as string[] };

function dead(name: string, more: Partial<Finding> = {}): Finding {
  const { health, cause } = { health: 'dead', cause: 'gone' } as const;
  return {
    ...{ session_id: `id-${name}`, name, turn: 1, health, cause, evidence: 'gone', act: 'none', level: 0 },
    ...{ landed: true, ...more },
  };
}

async function bench() {
  const world = await testStore();
  let now = 0;
  world.clock.monotonic = () => now;
  const one = new Unsettled(world.deps);
  /** So many looks, half a minute apart. */
  const looks = async (count: number, report: Partial<typeof NOTHING>, apart_ms = 30_000) => {
    let told = 0;
    for (let i = 0; i < count; i += 1) {
      now += apart_ms;
      if (await one.tend({ ...NOTHING, ...report })) told += 1;
    }
    return told;
  };
  const mails = async () => await listMail(world.store, { to_id: null });
  return { looks, mails };
}

test('a turn whose process is gone and that nobody settles is told to the operator once (O-71)', async () => {
  const { looks, mails } = await bench();
  expect(await looks(5, { findings: [dead('farm')] })).toBe(0);
  expect(await looks(1, { findings: [dead('farm')] })).toBe(1);
  expect(await looks(500, { findings: [dead('farm')] })).toBe(0);
  const [mail, ...more] = await mails();
  expect([mail?.subject, mail?.priority, more.length]).toEqual(['A turn is not settled', 'critical', 0]);
  expect(mail?.body).toContain('- farm, turn 1: gone');
});

test('one whose output nobody reads is told as well', async () => {
  const { looks, mails } = await bench();
  const behind = dead('farm', { health: 'ok', cause: null, evidence: 'nobody has read its output' });
  expect(await looks(20, { findings: [behind] })).toBe(1);
  expect((await mails()).map(({ body }) => body.includes('- farm, turn 1: nobody has read its output'))).toEqual([
    true,
  ]);
});

test('not one that is settled in time, is another turn, is only late, or was looked at often within a moment', async () => {
  const { looks, mails } = await bench();
  for (let turn = 1; turn < 9; turn += 1) await looks(5, { findings: [dead('farm', { turn })] });
  await looks(5, { findings: [dead('mill')] });
  await looks(1, {});
  await looks(5, { findings: [dead('mill')] });
  await looks(20, { findings: [dead('well', { health: 'late' })] });
  await looks(20, { findings: [dead('good', { health: 'ok', cause: null, act: 'extend' })] });
  await looks(500, { findings: [dead('barn')] }, 100);
  expect(await mails()).toEqual([]);
});

test('a look that left some out does not count it as settled, and a hundred are one mail', async () => {
  const { looks, mails } = await bench();
  const all = Array.from({ length: 100 }, (_, i) => dead(`farm-${i}`));
  for (let i = 0; i < 6; i += 1) {
    await looks(1, { findings: all });
    await looks(1, { left: 100 });
    await looks(1, { failures: ['look: busy'] });
  }
  const [mail, ...more] = await mails();
  expect([mail?.subject, more.length]).toEqual(['100 turns are not settled', 0]);
  expect(mail?.body).toContain('- and 90 more');
  // Others wait for the next mail, an hour later.
  expect(await looks(20, { findings: [...all, dead('mill')] })).toBe(0);
  expect(await looks(110, { findings: [...all, dead('mill')] })).toBe(1);
  expect((await mails()).map(({ subject }) => subject).sort()).toEqual([
    '100 turns are not settled',
    'A turn is not settled',
  ]);
});
