import { AppError } from '../../model/error.ts';
import { type Diagnosis, fine, problem, warning } from '../../model/finding.ts';
import { kernelNumber } from '../../sys/file-system.ts';
import { bootId } from '../../sys/identity.ts';
import { runProgram } from '../../sys/run.ts';
import type { DoctorDeps } from './deps.ts';

const BUN_WANTED = '>=1.4.0';
/** `git merge-tree --write-tree`, which foretells conflicts. */
const GIT_WANTED = '>=2.38.0';
const ANSWER_MS = 10_000;
/** With fewer instances a few agents with their own watchers use up the machine's. */
const FEW_INSTANCES = 128;
const FEW_WATCHES = 8_192;

export async function machineFindings(deps: DoctorDeps): Promise<Diagnosis[]> {
  return [judgeBun(Bun.version), judgeGit(await gitVersion(deps)), boot(), inotify()];
}

export function judgeBun(version: string): Diagnosis {
  if (Bun.semver.satisfies(version, BUN_WANTED)) return fine('bun', version);
  return problem(
    'bun',
    `${version} is too old, drover needs ${BUN_WANTED}`,
    'Run it with the Bun it was installed with: npm install',
  );
}

/** `said`: what `git --version` prints, or null when there is no git that answers. */
export function judgeGit(said: string | null): Diagnosis {
  if (said === null) return problem('git', 'there is no git that answers', 'Install git 2.38 or newer.');
  const version = /(\d+\.\d+(?:\.\d+)?)/.exec(said)?.[1];
  if (version === undefined) return warning('git', `its version cannot be read: ${said}`);
  const whole = version.split('.').length === 2 ? `${version}.0` : version;
  if (Bun.semver.satisfies(whole, GIT_WANTED)) return fine('git', version);
  return problem(
    'git',
    `${version} is too old`,
    'Install git 2.38 or newer: merges are foretold with `git merge-tree --write-tree`.',
  );
}

async function gitVersion({ env }: DoctorDeps): Promise<string | null> {
  try {
    const options = { cwd: '/', env: { PATH: env.PATH ?? '' }, timeout_ms: ANSWER_MS, max_output_bytes: 4_096 };
    const ran = await runProgram('git', ['--version'], options);
    return ran.code === 0 ? ran.stdout.trim() : null;
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return null;
  }
}

function boot(): Diagnosis {
  try {
    return fine('boot', bootId());
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return problem('boot', error.message, error.details.hint ?? null);
  }
}

function inotify(): Diagnosis {
  return judgeInotify(kernelNumber('fs/inotify/max_user_instances'), kernelNumber('fs/inotify/max_user_watches'));
}

export function judgeInotify(instances: number | null, watches: number | null): Diagnosis {
  if (instances === null || watches === null) return fine('inotify', 'no limits to be read');
  const said = `${instances} instances, ${watches} watches`;
  if (instances >= FEW_INSTANCES && watches >= FEW_WATCHES) return fine('inotify', said);
  const hint = `Raise them, e.g.: sysctl fs.inotify.max_user_instances=${4 * FEW_INSTANCES} fs.inotify.max_user_watches=65536`;
  return warning('inotify', `${said}: output is noticed later when they are used up`, hint);
}
