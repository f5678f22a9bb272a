import { type Config, DEFAULT_CONFIG } from '../../model/config.ts';
import { AppError } from '../../model/error.ts';
import { type Diagnosis, fine, problem, warning } from '../../model/finding.ts';
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
    const found = warnings.map((text) =>
      warning('config', text, 'Probably a misspelling; `drover init` shows every key.'),
    );
    return { config, found: found.length > 0 ? found : [fine('config', 'ok')] };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const issues = issuesOf(deps.locate(error));
    const lines = issues.map(({ file, line, path, message }) => {
      const key = path.length > 0 ? `${path.join('.')}: ` : '';
      return `${file}${line === undefined ? '' : `:${line}`}: ${key}${message}`;
    });
    const hint = 'Correct it; until then nothing new starts, and what runs keeps its settings.';
    const told = lines.length > 0 ? lines : [error.message];
    return { config: DEFAULT_CONFIG, found: told.map((line) => problem('config', line, hint)) };
  }
}

function issuesOf(error: AppError): (FileIssue & { line?: number })[] {
  const issues = error.details.data?.issues;
  return Array.isArray(issues) ? (issues as (FileIssue & { line?: number })[]) : [];
}
