import { findHarness, resolveHarnessId } from '../../harness/registry.ts';
import { type Config, DEFAULT_CONFIG } from '../../model/config.ts';
import { AppError } from '../../model/error.ts';
import { type Diagnosis, fine, problem, warning } from '../../model/finding.ts';
import { userConfigPath } from '../../model/home.ts';
import { type FileIssue, loadConfig } from '../config.ts';
import type { DoctorDeps } from './deps.ts';

export interface ConfigReport {
  found: Diagnosis[];
  /** Settings of the user and the repository, or the defaults where they cannot be used. */
  config: Config;
}

/** Every problem of the user's config file and of the repository's, each with its line. */
export async function configFindings(deps: DoctorDeps): Promise<ConfigReport> {
  const warnings: string[] = [];
  try {
    const config = await loadConfig(deps.env, deps.repo_root, (text) => warnings.push(text));
    const found = [
      ...unknownHarnesses(deps, config),
      ...warnings.map((text) => warning('config', text, 'Probably a misspelling; `drover init` shows every key.')),
    ];
    return { config, found: found.length > 0 ? found : [fine('config', 'ok')] };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const lines = linesOf(deps, error);
    const hint = 'Correct it; until then nothing new starts, and what runs keeps its settings.';
    const told = lines.length > 0 ? lines : [error.message];
    return { config: DEFAULT_CONFIG, found: told.map((line) => problem('config', line, hint)) };
  }
}

/** Keys that name a harness for drover's own sessions: that nothing of that name can be started is seen only in their log. */
const OWN_HARNESSES = ['triage_harness', 'patrol_harness'] as const;

function unknownHarnesses(deps: DoctorDeps, config: Config): Diagnosis[] {
  const runners = config.harness_runners;
  return OWN_HARNESSES.flatMap((key) => {
    const wanted = config.watchdog[key];
    try {
      if (wanted !== null) findHarness(resolveHarnessId(wanted, new Set(), runners), runners);
      return [];
    } catch (error) {
      if (!(error instanceof AppError) || error.kind === 'bug') throw error;
      // Settings of the whole home are the user's: a repository cannot set them.
      const issue: FileIssue = { file: userConfigPath(deps.env), path: ['watchdog', key], message: error.message };
      const placed = new AppError('usage', 'config_invalid', error.message, { data: { issues: [issue] } });
      const hint = [error.details.hint, 'Until then nobody is asked, and the watchdog says so in its log.'];
      return linesOf(deps, placed).map((line) => problem('config', line, hint.filter(Boolean).join('\n')));
    }
  });
}

/** `FILE:LINE: KEY: what is wrong`, for every problem of a `config_invalid`. */
function linesOf(deps: DoctorDeps, error: AppError): string[] {
  return issuesOf(deps.locate(error)).map(({ file, line, path, message }) => {
    const key = path.length > 0 ? `${path.join('.')}: ` : '';
    return `${file}${line === undefined ? '' : `:${line}`}: ${key}${message}`;
  });
}

function issuesOf(error: AppError): (FileIssue & { line?: number })[] {
  const issues = error.details.data?.issues;
  return Array.isArray(issues) ? (issues as (FileIssue & { line?: number })[]) : [];
}
