import { expect, test } from 'bun:test';
import type { MailRow } from '../../src/model/mail.ts';
import { droverBench } from '../support/drover.ts';

const bench = droverBench();
const FORGED = 'env -u DROVER_TOKEN -u DROVER_SESSION_ID -u DROVER_TURN_MARKER "$DROVER_BIN"';

test('an agent that drops its token is not taken for the operator, however it drops it (ARCHITECTURE §6)', async () => {
  const commands = [
    `${FORGED} mail send --to operator --subject forged --body x`,
    `${FORGED} sling --harness rehearsal forged`,
    `setsid -w env -i PATH="$PATH" HOME="$HOME" DROVER_HOME="$DROVER_HOME" "$DROVER_BIN" stop --all`,
    `${FORGED} down`,
    'DROVER_TOKEN=guess "$DROVER_BIN" mail send --to operator --subject forged --body x',
  ];
  const steps = commands.map((command) => ({ run: `${command}; echo "code $?"` }));
  const script = bench.script('forger', { turns: [steps] });
  const ran = await bench.run([
    'sling',
    '--harness',
    'rehearsal',
    '--name',
    'forger',
    `rehearsal-script: ${script}`,
    '--wait',
  ]);
  expect(ran.stderr).toContain('forger: completed');
  const logged = (await bench.run(['logs', 'forger', '--json'])).stdout.trimEnd().split('\n');
  const outputs = logged.map((line) => JSON.parse(line)).filter((event) => event.type === 'tool_result');
  expect(outputs).toHaveLength(commands.length);
  for (const event of outputs) {
    expect(event.data_json).toContain('token_invalid');
    expect(event.data_json).toContain('code 3');
  }
  const { mails } = await bench.json<{ mails: MailRow[] }>(['mail', 'list']);
  expect(mails).toEqual([]);
  const { sessions } = await bench.json<{ sessions: unknown[] }>(['status', '--all']);
  expect(sessions).toHaveLength(1);
}, 60_000);

test('with its token it is itself, and may do what its role allows', async () => {
  const steps = [
    { run: '"$DROVER_BIN" mail send --to operator --subject mine --body x; echo "code $?"' },
    { run: '"$DROVER_BIN" stop --all; echo "code $?"' },
  ];
  const script = bench.script('honest', { turns: [steps] });
  await bench.run(['sling', '--harness', 'rehearsal', '--name', 'honest', `rehearsal-script: ${script}`, '--wait']);
  const { mails } = await bench.json<{ mails: MailRow[] }>(['mail', 'list']);
  expect(mails.map(({ from_name, subject }) => [from_name, subject])).toEqual([['honest', 'mine']]);
  expect((await bench.run(['logs', 'honest'])).stdout).toContain('not_allowed');
}, 60_000);
