import type { ProjectionSupport } from '../model/harness.ts';
import type { Profile } from '../model/profile.ts';

/**
 * Task text with what the harness has no flag for written before it (E-038…E-041). Sections are joined by a blank
 * line; without any section the task comes back verbatim. The token budget is always told: no harness has a flag.
 */
export function projectTask(task: string, profile: Profile | null, support: ProjectionSupport): string {
  if (profile === null) return task;
  const sections: string[] = [];
  const prompt = profile.append_system_prompt;
  if (prompt !== null && prompt.trim() !== '' && !support.append_system_prompt) {
    sections.push(`System instructions:\n${prompt}`);
  }
  const directives = directivesOf(profile, support);
  if (directives.length > 0) sections.push(`Execution profile:\n${directives.map((line) => `- ${line}`).join('\n')}`);
  return sections.length === 0 ? task : [...sections, `Task:\n${task}`].join('\n\n');
}

function directivesOf(profile: Profile, support: ProjectionSupport): string[] {
  const rows: [label: string, supported: boolean, value: string | number | null][] = [
    ['Preferred model', support.model, profile.model],
    ['Additional context dirs', support.add_dirs, profile.add_dirs.join(', ')],
    ['Allowed tools', support.allowed_tools, profile.allowed_tools.join(', ')],
    ['Disallowed tools', support.disallowed_tools, profile.disallowed_tools.join(', ')],
    ['Permission mode', support.permission_mode, profile.permission_mode],
    ['Max budget USD', support.max_budget_usd, profile.max_budget_usd],
    ['Token budget', false, profile.token_budget],
  ];
  return rows.flatMap(([label, supported, value]) =>
    supported || value === null || value === '' ? [] : [`${label}: ${value}`],
  );
}
