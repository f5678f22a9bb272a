import { type Config, DEFAULT_CONFIG } from '../model/config.ts';
import type { ConfigIssue, ConfigScope } from '../model/config-schema.ts';
import { AppError } from '../model/error.ts';
import { projectConfigPath, userConfigPath } from '../model/home.ts';
import { readTextIfExists } from '../sys/read-text.ts';

/** A problem with its file; `cli` turns the path into a line. */
export interface FileIssue extends ConfigIssue {
  file: string;
}

/**
 * Settings for work in `repo_root`: defaults, user file, project file. Without files, nothing is imported or parsed.
 * `warn` gets what is harmless but surely not meant (unknown keys, E-174).
 * Throws `config_invalid` (2) with every problem of both files in `details.data.issues`.
 */
export async function loadConfig(
  env: Record<string, string | undefined>,
  repo_root: string | null,
  warn: (text: string) => void = () => undefined,
): Promise<Config> {
  const files: { file: string; scope: ConfigScope }[] = [{ file: userConfigPath(env), scope: 'user' }];
  if (repo_root !== null) files.push({ file: projectConfigPath(repo_root), scope: 'project' });
  const found = files.flatMap((entry) => {
    const text = readTextIfExists(entry.file);
    return text === null ? [] : [{ ...entry, text }];
  });
  if (found.length === 0) return DEFAULT_CONFIG;
  const { checkConfig, mergeConfig } = await import('../model/config-schema.ts');
  const issues: FileIssue[] = [];
  const parsed = found.map(({ file, scope, text }) => {
    const raw = parseYaml(text);
    if (!raw.ok) {
      issues.push({ file, path: [], message: raw.message });
      return { scope, file: null };
    }
    const checked = checkConfig(raw.value, scope);
    issues.push(...checked.issues.map((issue) => ({ file, ...issue })));
    for (const { path, message } of checked.warnings) warn(`${file}: ${path.join('.')}: ${message}`);
    return { scope, file: checked.file };
  });
  if (issues.length > 0) throw invalid(issues);
  const of = (scope: ConfigScope) => parsed.find((entry) => entry.scope === scope)?.file ?? null;
  try {
    const config = mergeConfig(of('user'), of('project'), repo_root);
    for (const key of config.repository_choice?.overruled ?? [])
      warn(
        `${projectConfigPath(repo_root ?? '')}: ${key}: your own config sets one; this one counts when ${repo_root} is in its trusted_repositories`,
      );
    return config;
  } catch (error) {
    throw invalid([
      {
        file: found[0]?.file ?? '',
        path: ['profiles'],
        message: error instanceof Error ? error.message : String(error),
      },
    ]);
  }
}

function parseYaml(text: string): { ok: true; value: unknown } | { ok: false; message: string } {
  try {
    return { ok: true, value: Bun.YAML.parse(text) };
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) };
  }
}

function invalid(issues: FileIssue[]): AppError {
  const lines = issues.map((issue) => `${issue.file}: ${issue.path.join('.') || 'syntax'}: ${issue.message}`);
  return new AppError('usage', 'config_invalid', `The configuration is not usable:\n${lines.join('\n')}`, {
    hint: 'Correct these places; nothing was started.',
    preserved: 'nothing was stored',
    data: { issues },
  });
}
