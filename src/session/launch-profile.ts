import type { Profile } from '../model/profile.ts';
import type { Role } from '../model/role.ts';
import { profileOf, type SessionRow } from '../model/session.ts';

/**
 * The settings one turn is started with: the session's own profile, and what its role says where the profile is silent
 * (tools, model). A role that only reads is thereby held to it by the harness that can, and told so by every other.
 */
export function launchProfile(session: SessionRow, role: Pick<Role, 'name' | 'tools' | 'model'>): Profile | null {
  const own = profileOf(session);
  if (role.tools.length === 0 && role.model === null) return own;
  const base = own ?? silent(`role-${role.name}`);
  return {
    ...base,
    model: base.model ?? role.model,
    allowed_tools: base.allowed_tools.length > 0 ? base.allowed_tools : role.tools,
  };
}

function silent(profile_name: string): Profile {
  return {
    profile_name,
    agent: null,
    model: null,
    allowed_tools: [],
    disallowed_tools: [],
    permission_mode: null,
    add_dirs: [],
    max_budget_usd: null,
    token_budget: null,
    append_system_prompt: null,
    pool: null,
  };
}
