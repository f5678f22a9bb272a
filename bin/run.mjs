/**
 * The tasks behind the npm scripts: `node bin/run.mjs <task> [arguments]`. Needs no dependency itself.
 *
 * A suite leaves its figures in `.tmp/results/<suite>.json`; `summary` adds them up.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const RESULTS = join(ROOT, '.tmp', 'results');
/** With `--splitting` a verb loads its own part of the program alone, not all of it: half of a short verb's time. */
const BUILD =
  '--compile --minify --bytecode --splitting --format=esm --no-compile-autoload-dotenv --no-compile-autoload-bunfig';

/** The environment without what would make Bun load foreign code. */
function environment() {
  const keep = ([name]) => !name.startsWith('BUN_') && name !== 'NODE_OPTIONS' && name !== 'NODE_PATH';
  return Object.fromEntries(Object.entries(process.env).filter(keep));
}

/** Runs a program in the checkout with our own output streams; the exit code, 1 for a signal. */
function run(program, args) {
  const done = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit', env: environment() });
  if (done.error) process.stderr.write(`run: ${program} could not be started: ${done.error.message}\n`);
  return done.status ?? 1;
}

function bun(...args) {
  const script = 'bin=$1; shift; . "$bin/bun.sh" && exec "$bun" "$@"';
  return run('sh', ['-c', script, 'sh', join(ROOT, 'bin'), ...args]);
}

function dependency(name, ...args) {
  return run(join(ROOT, 'node_modules', '.bin', name), args);
}

const typecheck = () => dependency('tsc', '--noEmit', '-p', '.');
const lint = () => dependency('biome', 'check', '--error-on-warnings', '.');

/** `{passed, failed, skipped}` from the head of the runner's JUnit file; null when it wrote none. */
function figures(file) {
  const head = fs.existsSync(file) ? /<testsuites\b[^>]*>/.exec(fs.readFileSync(file, 'utf8')) : null;
  if (!head) return null;
  const [tests, failed, skipped] = ['tests', 'failures', 'skipped'].map((name) =>
    Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head[0])?.[1] ?? Number.NaN),
  );
  return Number.isNaN(tests + failed + skipped) ? null : { passed: tests - failed - skipped, failed, skipped };
}

function line({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** A file that cannot even be loaded is no test case to the runner; its exit code still makes it a failure here. */
function suite(name, checks, args) {
  const report = join(RESULTS, `${name}.xml`);
  fs.mkdirSync(RESULTS, { recursive: true });
  for (const suffix of ['xml', 'json']) fs.rmSync(join(RESULTS, `${name}.${suffix}`), { force: true });
  const broken = Object.entries(checks).filter(([, check]) => check() !== 0);
  const options = ['--isolate', '--no-env-file', '--reporter=junit', `--reporter-outfile=${report}`];
  const code = bun('test', ...options, ...args);
  const counted = figures(report) ?? { passed: 0, failed: 0, skipped: 0 };
  const unseen = code !== 0 && counted.failed === 0 ? 1 : 0;
  const total = { ...counted, failed: counted.failed + unseen + broken.length };
  fs.writeFileSync(join(RESULTS, `${name}.json`), JSON.stringify(total));
  for (const [check] of broken) process.stdout.write(`${name}: ${check} failed (counted as one failure)\n`);
  if (unseen) process.stdout.write(`${name}: the test runner ended with ${code} (counted as one failure)\n`);
  if (counted.passed + counted.failed === 0) process.stdout.write(`${name}: nothing ran\n`);
  process.stdout.write(`${name}: ${line(total)}\n`);
  return total.failed === 0 && counted.passed > 0 ? 0 : 1;
}

/** The figures of the named suites together; a suite without figures counts as a failure. */
function summary(...names) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const name of names) {
    const file = join(RESULTS, `${name}.json`);
    const figure = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : null;
    if (!figure) process.stdout.write(`${name}: no result (counted as one failure)\n`);
    for (const key of Object.keys(total)) total[key] += figure ? figure[key] : Number(key === 'failed');
  }
  process.stdout.write(`${line(total)}\n`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

const TASKS = {
  test: (...args) =>
    suite('test', { typecheck, lint }, [
      '--parallel=3',
      '--timeout=45000',
      '--path-ignore-patterns=test/harness-real/**',
      ...args,
    ]),
  'test:harness': (...args) => suite('harness', {}, ['--timeout=180000', './test/harness-real', ...args]),
  summary,
  typecheck,
  lint,
  format: () => dependency('biome', 'check', '--write', '.'),
  bench: (...args) => bun('--no-env-file', 'bench/main.ts', ...args),
  'bench:durability': (...args) => bun('--no-env-file', 'bench/durability/main.ts', ...args),
  'bench:lines': (...args) => bun('--no-env-file', 'bench/lines/main.ts', ...args),
  build: () => bun('build', ...BUILD.split(' '), 'src/cli/main.ts', '--outfile', 'dist/drover'),
};

const [task, ...args] = process.argv.slice(2);
const act = task && Object.hasOwn(TASKS, task) ? TASKS[task] : null;
if (!act) {
  process.stderr.write(`run: ${task ? `no task "${task}"` : 'which task?'} (${Object.keys(TASKS).join(', ')})\n`);
  process.exit(2);
}
process.exit(act(...args));
