import { expect, test } from 'bun:test';
import { droverBench } from '../support/drover.ts';

const bench = droverBench();
const task = (name: string, script: unknown) => `rehearsal-script: ${bench.script(name, script)}`;
const sling = (...args: string[]) => bench.run(['sling', '--harness', 'rehearsal', ...args]);

test('who waits for a session that asked something gets 75, and 0 once it was answered and done', async () => {
  const asks = task('asks', { turns: [[{ ask: 'Which way?' }, { say: 'I asked.' }], [{ say: 'Thank you.' }]] });
  expect((await sling('--name', 'asks', asks, '--wait')).code).toBe(75);
  const { mails } = await bench.json<{ mails: { id: string }[] }>(['mail', 'list']);
  expect(mails).toHaveLength(1);
  expect((await bench.run(['mail', 'reply', mails[0]?.id ?? '', '--body', 'left'])).code).toBe(0);
  expect((await bench.run(['wait', 'asks'])).code).toBe(0);
  expect(await bench.session('asks')).toMatchObject({ state: 'completed', turn: 2, result_text: 'Thank you.' });
}, 60_000);

test('a persistent session at rest is over for a waiter; new mail makes it busy again', async () => {
  expect((await sling('--role', 'coordinator', '--name', 'rests', 'Stay', '--wait')).code).toBe(0);
  expect(await bench.session('rests')).toMatchObject({ state: 'idle', turn: 1 });
  await bench.run(['nudge', 'rests', 'again']);
  expect((await bench.run(['wait', 'rests'])).code).toBe(0);
  expect(await bench.session('rests')).toMatchObject({ state: 'idle', turn: 2 });
}, 60_000);

test('a session may not wait in its own turn', async () => {
  const child = '"$DROVER_BIN" sling --harness rehearsal --name child x --wait; echo "code $?"';
  await sling(
    '--role',
    'lead',
    '--name',
    'lead',
    task('lead', { turns: [[{ run: child }, { done: 'done' }]] }),
    '--wait',
  );
  const logs = (await bench.run(['logs', 'lead'])).stdout;
  expect(logs).toContain('wait_in_turn');
  expect((await bench.run(['show', 'child'])).code).toBe(4);
}, 60_000);
