/**
 * Makes a checkout runnable: installs what `package-lock.json` names and proves that Bun starts.
 *
 * Says nothing when nothing is to do. Dependencies are installed beside the tree and then moved into place, so that a
 * run that is cut off leaves no half-filled `node_modules`, and two runs at once need no lock: each installs its own,
 * one wins the move, the other finds the work done.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(ROOT, 'node_modules');
const STAMP = '.drover-setup';

/** What the lock asks for on this machine: a tree made for another platform does not pass for ours. */
function fingerprint() {
  const lock = fs.readFileSync(join(ROOT, 'package-lock.json'));
  return createHash('sha256').update(`${process.platform} ${process.arch}\n`).update(lock).digest('hex');
}

function read(path) {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  }
}

function writeStamp(modules, wanted) {
  const draft = join(modules, `${STAMP}.${process.pid}`);
  fs.writeFileSync(draft, wanted);
  fs.renameSync(draft, join(modules, STAMP));
}

/** npm leaves out packages for other machines; only those may be absent. */
function belongsHere(entry) {
  const fits = (list, value) =>
    !list || (list.some((item) => item === value || item === 'any') && !list.includes(`!${value}`));
  const libc = process.platform === 'linux' && entry.libc ? libcName() : null;
  return fits(entry.os, process.platform) && fits(entry.cpu, process.arch) && (!libc || fits(entry.libc, libc));
}

function libcName() {
  return process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl';
}

/** Whether somebody has already installed exactly the locked packages (`npm ci`, `npm install`). */
function agreesWithLock() {
  const record = read(join(MODULES, '.package-lock.json'));
  if (record === null) return false;
  const installed = JSON.parse(record).packages ?? {};
  const wanted = JSON.parse(fs.readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const found = installed[path];
    if (!found) return Boolean(entry.optional) && !belongsHere(entry);
    return found.version === entry.version && found.integrity === entry.integrity && fs.existsSync(join(ROOT, path));
  });
}

function isCurrent(wanted) {
  if (read(join(MODULES, STAMP)) === wanted) return true;
  if (!agreesWithLock()) return false;
  writeStamp(MODULES, wanted);
  return true;
}

/** A failure that a person can do something about; anything else is a bug and keeps its stack. */
class SetupError extends Error {}

function fail(message, detail = '') {
  const lines = detail.trimEnd().split('\n').slice(0, 20);
  throw new SetupError([message, ...lines].join('\n').trimEnd());
}

/** `npm ci` in a directory of our own; returns the finished `node_modules` in it. */
function install(workshop) {
  process.stderr.write('setup: installing dependencies (npm ci) ...\n');
  for (const name of ['package.json', 'package-lock.json', '.npmrc']) {
    if (fs.existsSync(join(ROOT, name))) fs.copyFileSync(join(ROOT, name), join(workshop, name));
  }
  const options = ['--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = spawnSync('npm', ['ci', '--prefix', workshop, ...options], { cwd: workshop, encoding: 'utf8' });
  if (npm.error) fail(`npm could not be started: ${npm.error.message}`);
  if (npm.status !== 0) fail('npm ci failed; nothing was changed.', `${npm.stderr}${npm.stdout}`);
  return join(workshop, 'node_modules');
}

/**
 * Moves the old tree out of the way, once: the resting place is named after the directory that was judged, and a
 * directory cannot be moved onto one that is not empty, so a second mover can never take the new tree for the old.
 */
function retire(seen, scratch) {
  if (!seen) return;
  const grave = join(scratch, `retired-${seen.ino}-${Math.trunc(seen.birthtimeMs)}`);
  if (!moved(MODULES, grave)) return;
  fs.writeFileSync(join(grave, '.retired'), '');
  for (const name of fs.readdirSync(grave)) {
    if (name !== '.retired') fs.rmSync(join(grave, name), { recursive: true, force: true });
  }
}

/** A rename that may lose: false when the target is taken or the source has gone. */
function moved(from, to) {
  try {
    fs.renameSync(from, to);
    return true;
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(error.code)) return false;
    throw error;
  }
}

function makeCurrent(wanted) {
  const scratch = join(ROOT, '.tmp');
  fs.mkdirSync(scratch, { recursive: true });
  const seen = fs.statSync(MODULES, { throwIfNoEntry: false });
  const workshop = fs.mkdtempSync(join(scratch, 'setup-'));
  try {
    const fresh = install(workshop);
    writeStamp(fresh, wanted);
    if (!isCurrent(wanted)) {
      retire(seen, scratch);
      if (!moved(fresh, MODULES) && !isCurrent(wanted)) fail(`${MODULES} is in the way and could not be replaced.`);
    }
  } finally {
    fs.rmSync(workshop, { recursive: true, force: true });
  }
}

/** The launchers' own search for Bun, so that there is one. */
function proveBun() {
  const script = 'bin=$1; . "$bin/bun.sh" && exec "$bun" --version';
  const bun = spawnSync('sh', ['-c', script, 'sh', join(ROOT, 'bin')], { encoding: 'utf8' });
  if (bun.error) fail(`sh could not be started: ${bun.error.message}`);
  if (bun.status !== 0) fail('Bun does not start.', `${bun.stdout}${bun.stderr}`);
}

try {
  const wanted = fingerprint();
  if (!isCurrent(wanted)) makeCurrent(wanted);
  proveBun();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`setup: ${error.message}\n`);
  process.exitCode = 1;
}
