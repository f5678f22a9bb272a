import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scrubber, writeGolden } from './golden.ts';
import { argvFor, mcpSettings, SMOKE_CASES, type SmokeCase } from './harness-cases.ts';
import { type HarnessHome, makeHarnessHome } from './harness-home.ts';
import { HARNESS_IDS, type HarnessId, installHarnesses } from './harness-install.ts';
import { type ModelServer, startModelServer } from './model-server.ts';

// Drives the real CLIs against the scripted model.
//   bun test/support/harness-smoke.ts [--record] [harness…] [case…]
// Prints one line per run. With --record the streams become test/fixtures/harness/<harness>/<case>.{jsonl,json}.

const LIMIT_MS = 58_000;
const UNKNOWN_ID = '11111111-1111-4111-8111-111111111111';
const GOLDENS = join(import.meta.dir, '../fixtures/harness');
const PROMPT = 'Please write hello.txt and then tell me that you are done.\n';

interface Run {
  argv: string[];
  exit_code: number | null;
  signal: string | number | null;
  stdout: string;
  stderr: string;
  seconds: number;
  timed_out: boolean;
}

interface Place {
  home: HarnessHome;
  repo: string;
  server: ModelServer;
  bin_dir: string;
}

async function smoke(harness: HarnessId, which: SmokeCase, bin_dir: string, record: boolean): Promise<boolean> {
  const server = await startModelServer({ steps: [...(which.before ?? []), ...which.steps] });
  const home = makeHarnessHome(server.url, bin_dir, [harness]);
  const place = { home, server, bin_dir, repo: makeRepo(home) };
  try {
    if (which.mcp) addMcp(harness, home);
    let resume = which.resume_unknown ? unknownId(harness) : null;
    if (which.before) resume = sessionId(await runOnce(harness, { ...which, before: [] }, place, null));
    const asked = server.turns().length;
    const run = await runOnce(harness, which, place, resume);
    const scrub = scrubber({ home: home.home, repo: place.repo, bin_dir, model_url: server.url });
    const stdout = scrub(run.stdout);
    if (record) {
      writeGolden(join(GOLDENS, harness), which.name, stdout, {
        exit_code: run.exit_code,
        signal: run.signal,
        stderr_tail: scrub(run.stderr).slice(-4000),
        argv: run.argv.map(scrub),
        extra_env: which.env?.[harness] ?? {},
        script: which.steps,
      });
    }
    const wrong = faults(which, run, place);
    report(harness, which, run, server, asked);
    for (const fault of wrong) console.log(`  WRONG: ${fault}`);
    return wrong.length === 0;
  } finally {
    await server.stop();
    home.remove();
  }
}

/** What a run should have done and did not. */
function faults(which: SmokeCase, run: Run, { repo, server }: Place): string[] {
  const heard = server.turns().flatMap((turn) => turn.model.tool_results.map((result) => result.output));
  const told = server.turns().every((turn) => turn.model.texts.some((part) => part.text.includes(PROMPT.trim())));
  const out: string[] = [];
  if (run.timed_out) out.push(`not over within ${LIMIT_MS} ms`);
  if (!told) out.push('the model was asked without the prompt');
  if (which.makes && !existsSync(join(repo, which.makes))) out.push(`${which.makes} was not written`);
  const hears = which.hears;
  if (hears && !heard.some((text) => text.includes(hears)))
    out.push(`no tool result says ${hears}: ${heard.join(' | ')}`);
  return out;
}

function report(harness: HarnessId, which: SmokeCase, run: Run, server: ModelServer, asked: number): void {
  const end = run.signal ?? `exit ${run.exit_code}`;
  const lines = run.stdout.split('\n').filter(Boolean).length;
  const calls = server.turns().length - asked;
  const sides = server.requests.length - server.turns().length;
  const head = `${harness} ${which.name}: ${end}, ${lines} lines, ${calls} model calls, ${sides} side`;
  console.log(`${head}, ${run.seconds.toFixed(1)} s`);
  if (process.env.SMOKE_VERBOSE) console.log(`${run.argv.join(' ')}\n${run.stdout}\nstderr: ${run.stderr}\n`);
}

async function runOnce(harness: HarnessId, which: SmokeCase, place: Place, resume: string | null): Promise<Run> {
  const { home, repo } = place;
  const mark = randomUUID();
  const argv = argvFor(harness, {
    access: which.access ?? 'none',
    resume,
    mcp_dir: which.mcp ? import.meta.dir : null,
    extra: which.args?.[harness] ?? [],
  });
  const file = (name: string) => join(home.home, name);
  writeFileSync(file('prompt'), which.stdin ? which.stdin(PROMPT) : PROMPT);
  // A file that is given as output is not truncated: a shorter second turn would keep the end of the first.
  for (const name of ['stdout', 'stderr']) writeFileSync(file(name), '');
  const [program = '', ...args] = argv;
  const started = performance.now();
  const child = Bun.spawn([join(place.bin_dir, program), ...args], {
    cwd: repo,
    env: { ...home.env, ...which.env?.[harness], DROVER_SMOKE_MARK: mark },
    // A pipe is asked for by name: bytes would arrive as a file without a name.
    stdin: which.stdin_pipe ? 'pipe' : Bun.file(file('prompt')),
    stdout: Bun.file(file('stdout')),
    stderr: Bun.file(file('stderr')),
  });
  if (typeof child.stdin === 'object') {
    child.stdin.write(readFileSync(file('prompt')));
    await child.stdin.end();
  }
  let timed_out = false;
  const limit = setTimeout(() => {
    timed_out = true;
    child.kill('SIGKILL');
  }, LIMIT_MS);
  const watching = new AbortController();
  const interrupting = interruptWhen(which, place, child, watching.signal);
  await child.exited;
  clearTimeout(limit);
  watching.abort();
  await interrupting;
  killMarked(mark);
  return {
    argv,
    exit_code: child.exitCode,
    signal: child.signalCode,
    stdout: readFileSync(file('stdout'), 'utf8'),
    stderr: readFileSync(file('stderr'), 'utf8'),
    seconds: (performance.now() - started) / 1000,
    timed_out,
  };
}

async function interruptWhen(which: SmokeCase, place: Place, child: Bun.Subprocess, ended: AbortSignal): Promise<void> {
  const rule = which.interrupt;
  if (!rule) return;
  const began = performance.now();
  const due = () => {
    if (rule.when === 'tool_started') return existsSync(join(place.repo, 'started'));
    if (rule.when === 'model_asked') return place.server.turns().length > 0;
    return performance.now() - began > (rule.seconds ?? 10) * 1000;
  };
  while (!due()) {
    if (ended.aborted) return;
    await Bun.sleep(50);
  }
  // The CLI reports the start of a tool at about the same time as the tool starts: let that line be written.
  await Bun.sleep(700);
  if (!ended.aborted) child.kill(rule.signal);
}

/** Shell tools leave the process group of the CLI, so what is left over is found by the variable it inherited. */
function killMarked(mark: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark)) process.kill(Number(pid), 'SIGKILL');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(code ?? '')) throw error;
    }
  }
}

function makeRepo(home: HarnessHome): string {
  const repo = join(home.home, 'repo');
  mkdirSync(repo);
  writeFileSync(join(repo, 'README.md'), '# scratch\n');
  const identity = ['-c', 'user.name=Scratch', '-c', 'user.email=scratch@localhost'];
  for (const args of [
    ['init', '-q', '-b', 'main'],
    ['add', '.'],
    [...identity, 'commit', '-qm', 'first'],
  ]) {
    const git = Bun.spawnSync(['git', ...args], { cwd: repo, env: home.env });
    if (git.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${git.stderr}`);
  }
  return repo;
}

/** For the CLIs whose settings are the only way in. */
function addMcp(harness: HarnessId, home: HarnessHome): void {
  const change = mcpSettings(harness, import.meta.dir);
  if (!change) return;
  const path = join(home.home, change.file);
  const settings = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...settings, ...change.merge }, null, 2));
}

function unknownId(harness: HarnessId): string {
  return harness === 'opencode' ? 'ses_ffffffffffffFFFFFFFFFFFFFF' : UNKNOWN_ID;
}

function sessionId(run: Run): string {
  const found = /"(?:session_id|thread_id|sessionID)":"([^"]+)"/.exec(run.stdout)?.[1];
  if (!found) throw new Error(`no session id in ${run.stdout.slice(0, 500)} ${run.stderr.slice(-500)}`);
  return found;
}

if (import.meta.main) {
  const words = process.argv.slice(2);
  const record = words.includes('--record');
  const harnesses = HARNESS_IDS.filter((id) => words.includes(id));
  const cases = SMOKE_CASES.filter((which) => words.includes(which.name));
  const { bin_dir } = await installHarnesses();
  let ok = true;
  for (const which of cases.length > 0 ? cases : SMOKE_CASES) {
    for (const id of harnesses.length > 0 ? harnesses : HARNESS_IDS) {
      if (which.only && !which.only.includes(id)) continue;
      if (record) rmSync(join(GOLDENS, id, `${which.name}.jsonl`), { force: true });
      ok = (await smoke(id, which, bin_dir, record)) && ok;
    }
  }
  process.exitCode = ok ? 0 : 1;
}
