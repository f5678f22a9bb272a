import { expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { of, type Report } from '../support/doctor.ts';
import { type Bench, droverBench, writeConfig } from '../support/drover.ts';

/** A bench whose PATH holds only what drover needs and the given fake CLIs. */
function benchWith(programs: Record<string, string>): Bench {
  const bench = droverBench();
  const bin = join(bench.home, 'bin');
  mkdirSync(bin);
  for (const name of ['sh', 'git', 'readlink', 'sleep', 'cat', 'env'])
    symlinkSync(Bun.which(name) ?? `/nonexistent/${name}`, join(bin, name));
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  bench.env.PATH = bin;
  return bench;
}

const FLAGS =
  '--print --name --model --allowed-tools --disallowed-tools --permission-mode --add-dir --max-budget-usd --append-system-prompt --resume --mcp-config --setting-sources --strict-mcp-config --output-format --input-format --verbose';
const INIT = '{"type":"system","subtype":"init","session_id":"s","model":"m","tools":[]}';
const RESULT = '{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"ok","session_id":"s"}';

/** A fake `claude` that talks to its model and then prints `lines`; it notes its environment and where it ran. */
const fakeClaude = (flags: string, note: string, lines: string[], after = '') => `case $* in
  *--help*) echo "usage: ${flags}"; exit;;
  *--version*) echo "9.9.9 (Fake)"; exit;;
esac
env > ${note}
cat > ${note}.prompt
${process.execPath} -e 'const r = await fetch(process.env.ANTHROPIC_BASE_URL + "/v1/messages", { method: "POST", body: JSON.stringify({ stream: true }) }); await Bun.write("${note}.answer", await r.text())'
${lines.map((line) => `echo '${line}'`).join('\n')}
${after}`;

test('the contract probe: the real flags, a home of its own, no credential; events are counted, unknown ones are listed', async () => {
  const note = join(droverBench().home, 'note');
  const bench = benchWith({
    claude: fakeClaude(FLAGS, note, [INIT, '{"type":"brand_new","x":1}', RESULT], 'sleep 300 &'),
  });
  const env = {
    ANTHROPIC_API_KEY: 'sk-real',
    ANTHROPIC_AUTH_TOKEN: 'sk-real',
    XDG_CONFIG_HOME: '/real/config',
    HTTPS_PROXY: 'http://proxy',
    DROVER_TOKEN: '',
  };
  const ran = await bench.run(['doctor', '--json'], { env });
  expect(ran.code).toBe(0);
  const report = JSON.parse(ran.stdout) as Report;
  expect(of(report, 'harness claude')).toMatchObject([
    { level: 'warning', what: expect.stringMatching(/does not know: .*brand_new/) },
  ]);
  expect(of(report, 'harness rehearsal')).toMatchObject([{ level: 'ok', what: expect.stringContaining('result') }]);
  const told = readFileSync(note, 'utf8');
  expect(told).toContain('ANTHROPIC_API_KEY=sk-dummy');
  expect(told).toContain('ANTHROPIC_BASE_URL=http://127.0.0.1:');
  expect(told).not.toMatch(/sk-real|\/real\/config|proxy|DROVER_(?:TOKEN|HOME)/);
  expect(told).not.toContain(`HOME=${bench.home}`);
  const scratch = /^HOME=(.*)\/home$/m.exec(told)?.[1] ?? '';
  expect(scratch).toContain('drover-probe');
  // Its home and everything it started are gone.
  expect(existsSync(scratch)).toBe(false);
  expect(readFileSync(`${note}.prompt`, 'utf8')).toContain('Say ok.');
  expect(readFileSync(`${note}.answer`, 'utf8')).toContain('event: message_stop');
}, 60_000);

test('a CLI whose flags are gone, or whose stream has no result any more, is a problem', async () => {
  const note = join(droverBench().home, 'note');
  const old = benchWith({ claude: fakeClaude(FLAGS.replace('--strict-mcp-config', ''), note, [INIT, RESULT]) });
  const report = await old.json<Record<string, unknown>>(['doctor'], 1);
  expect(of(report as unknown as Report, 'harness claude')).toMatchObject([
    { level: 'problem', what: 'its help does not name --strict-mcp-config, which drover uses' },
  ]);
  const changed = benchWith({ claude: fakeClaude(FLAGS, note, [INIT]) });
  const other = await changed.json<Record<string, unknown>>(['doctor'], 1);
  expect(of(other as unknown as Report, 'harness claude')).toMatchObject([
    { level: 'problem', what: expect.stringContaining('ended with 0 with no result') },
  ]);
}, 60_000);

test('a runner of the own config is not run, and without any agent CLI that is told', async () => {
  const bench = benchWith({ mycli: 'case $* in *--version*) echo 1.0;; *) touch "$HOME/was-run";; esac' });
  const none = (await bench.json<Record<string, unknown>>(['doctor'])) as unknown as Report;
  expect(of(none, 'harness')).toMatchObject([{ level: 'warning', what: 'no agent CLI is installed' }]);
  writeConfig(bench.home, { harness_runners: { mine: { program: 'mycli', env: { ANTHROPIC_API_KEY: 'sk-real' } } } });
  const report = (await bench.json<Record<string, unknown>>(['doctor'])) as unknown as Report;
  expect(of(report, 'harness mine')).toMatchObject([{ level: 'ok', what: expect.stringContaining('not probed') }]);
  expect(of(report, 'harness')).toEqual([]);
});
