import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MailRow } from '../../src/model/mail.ts';
import { droverBench } from '../support/drover.ts';

test('a coordinator learns that the workers of its run have completed, while it lives on itself (O-72, CX-52)', async () => {
  const bench = droverBench();
  const go = join(bench.home, 'go');
  const task = `rehearsal-script: ${bench.script('held', { turns: [[{ wait_for_file: go }, { say: 'done' }]] })}`;
  const sling = async (name: string, role: string, text: string) => {
    const named = ['--harness', 'rehearsal', '--run', 'nightly', '--name', name, '--role', role];
    expect((await bench.run(['sling', ...named, text])).code).toBe(0);
  };
  await sling('chief', 'coordinator', 'Count the sheep');
  for (const name of ['one', 'two']) await sling(name, 'solo', task);
  writeFileSync(go, '');
  for (const name of ['one', 'two']) await bench.until(name, ({ state }) => state === 'completed');
  const { mails } = await bench.json<{ mails: MailRow[] }>(['mail', 'list', '--of', 'chief']);
  const told = mails.filter(({ from_name }) => from_name === 'drover').map(({ subject }) => subject);
  expect(told).toEqual(['Run nightly: all sessions have completed']);
  expect((await bench.session('chief')).ended_at).toBeNull();
}, 60_000);
