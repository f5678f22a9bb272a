import type { MailType } from './mail.ts';

/** A role: one page in `agents/` (front matter + prompt). */
export interface Role {
  name: string;
  description: string;
  /** Lives on between turns until stopped; exempt from age rules (O-49). */
  is_persistent: boolean;
  /** Must send one of these before it counts as done; empty: no contract of its own. */
  terminal_mail: MailType[];
  /** What its sessions may do through the CLI and MCP beside mail. */
  can: Capability[];
  tools: string[];
  model: string | null;
  prompt: string;
  /** `name@<short hash>` of the page, kept with the session (O-34). */
  version: string;
}

/** Verbs that drover checks against the session's token; an agent's text is never the authority. */
export const CAPABILITIES = ['sling', 'nudge', 'stop', 'merge'] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** The only word in a page's `tools` whose model gets no tool at all, not even drover's own. */
export const NO_TOOLS = 'none';

/** Any of these ends a contract whose role names none (a plain session with a parent). */
const DEFAULT_TERMINAL_MAIL: MailType[] = ['worker_done', 'result'];

/** A contract exists when the session has a parent or a role with terminal mail (MODEL §2.6 note 2). */
export function terminalMailOf(role: Pick<Role, 'terminal_mail' | 'is_persistent'>, hasParent: boolean): MailType[] {
  if (role.is_persistent) return [];
  if (role.terminal_mail.length > 0) return role.terminal_mail;
  return hasParent ? DEFAULT_TERMINAL_MAIL : [];
}
