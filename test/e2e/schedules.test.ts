import { expect, test } from 'bun:test';
import { droverBench } from '../support/drover.ts';

interface Run {
  state: string;
  due_at: string;
  session_id: string | null;
}

test('a schedule with seconds and a year fires once through the supervisor, on time, and never again (E-058, I9)', async () => {
  const bench = droverBench({ config: { default_harness: 'rehearsal' } });
  const due = new Date(Date.now() + 8_000);
  const [second, minute, hour] = [due.getUTCSeconds(), due.getUTCMinutes(), due.getUTCHours()];
  const cron = `${second} ${minute} ${hour} ${due.getUTCDate()} ${due.getUTCMonth() + 1} * ${due.getUTCFullYear()}`;
  await bench.json(['schedule', 'add', '--cron', cron, '--name', 'once', 'count the sheep']);
  const runs = async () => (await bench.json<{ runs: Run[] }>(['schedule', 'runs', 'once'])).runs;
  const deadline = performance.now() + 40_000;
  while ((await runs()).length === 0 && performance.now() < deadline) await Bun.sleep(100);
  const [run] = await runs();
  due.setUTCMilliseconds(0);
  expect(run).toMatchObject({ state: 'fired', due_at: due.toISOString() });
  const session = await bench.until(run?.session_id ?? '', ({ state }) => state === 'completed');
  expect(new Date(session.created_at).getTime() - due.getTime()).toBeLessThan(20_000);
  const { schedule } = await bench.json<{ schedule: unknown }>(['schedule', 'show', 'once']);
  expect(schedule).toMatchObject({ next_run_at: null, is_enabled: 1, fail_count: 0 });
  expect(await runs()).toHaveLength(1);
}, 90_000);
