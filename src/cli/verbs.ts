import type { Verb } from './verb.ts';

interface VerbEntry {
  summary: string;
  /** Not shown in help and completions. */
  hidden?: boolean;
  load: () => Promise<{ verb: Verb }>;
}

/** Every verb by name. Only the one that is called is imported (ARCHITECTURE §4 Start-up). */
export const VERBS: Record<string, VerbEntry> = {
  init: { summary: 'Write a commented project config', load: () => import('./verbs/init.ts') },
  sling: { summary: 'Give a task to a new headless session', load: () => import('./verbs/sling.ts') },
  status: { summary: 'Sessions: state, health, turn, tokens, cost', load: () => import('./verbs/status.ts') },
  show: { summary: 'Everything about one session', load: () => import('./verbs/show.ts') },
  logs: { summary: 'Events of a session, rendered or raw', load: () => import('./verbs/logs.ts') },
  wait: { summary: 'Wait for sessions; the exit code is the outcome', load: () => import('./verbs/wait.ts') },
  mail: { summary: 'Send, list, read and answer mail', load: () => import('./verbs/mail.ts') },
  nudge: { summary: 'Wake a session, or interrupt it', load: () => import('./verbs/nudge.ts') },
  stop: { summary: 'End sessions for good (resumable)', load: () => import('./verbs/stop.ts') },
  pause: { summary: 'Hold sessions until resumed', load: () => import('./verbs/pause.ts') },
  resume: { summary: 'Put held, failed or stopped sessions back to work', load: () => import('./verbs/resume.ts') },
  recover: { summary: 'New session from one that died or finished', load: () => import('./verbs/recover.ts') },
  done: { summary: 'For sessions: report the work as done', load: () => import('./verbs/done.ts') },
  ask: { summary: 'For sessions: put a question to a person', load: () => import('./verbs/ask.ts') },
  reserve: { summary: 'Have a thread (branch), or files, for oneself', load: () => import('./verbs/reserve.ts') },
  heartbeat: { summary: 'Sign of life of a reservation', load: () => import('./verbs/heartbeat.ts') },
  release: { summary: 'End a reservation', load: () => import('./verbs/release.ts') },
  reservations: { summary: 'Who has reserved what', load: () => import('./verbs/reservations.ts') },
  capture: {
    summary: "Commit the work of a reservation in its agent's name",
    load: () => import('./verbs/capture.ts'),
  },
  ready: { summary: "Mark a reservation's thread as ready to be merged", load: () => import('./verbs/ready.ts') },
  chain: { summary: 'Which agents started the owner of a reservation', load: () => import('./verbs/chain.ts') },
  schema: { summary: 'JSON Schema of what the reservation verbs answer', load: () => import('./verbs/schema.ts') },
  pools: { summary: 'Credential pools: limits that sessions share', load: () => import('./verbs/pools.ts') },
  budget: { summary: 'What sessions may spend, and what they have', load: () => import('./verbs/budget.ts') },
  incident: {
    summary: 'Files that two sessions changed, and how it is settled',
    load: () => import('./verbs/incident.ts'),
  },
  plan: { summary: 'Plans: check, run, show, pause, resume, cancel', load: () => import('./verbs/plan.ts') },
  run: { summary: 'Runs: sessions started together', load: () => import('./verbs/run.ts') },
  report: { summary: 'What a run or a plan came to, from the database', load: () => import('./verbs/report.ts') },
  template: { summary: 'Crews: several sessions from one file', load: () => import('./verbs/template.ts') },
  schedule: { summary: 'Tasks and plans by the clock', load: () => import('./verbs/schedule.ts') },
  dispatch: {
    summary: 'Requests for work from outside, by priority',
    load: () => import('./verbs/dispatch.ts'),
  },
  up: { summary: 'Start the supervisor', load: () => import('./verbs/up.ts') },
  down: { summary: 'Stop the supervisor; running turns go on', load: () => import('./verbs/down.ts') },
  ps: { summary: 'The supervisor and the processes it owns', load: () => import('./verbs/ps.ts') },
  watch: { summary: 'The watchdog: run it, look once, explain its verdicts', load: () => import('./verbs/watch.ts') },
  doctor: { summary: 'Look for what is broken, and how to mend it', load: () => import('./verbs/doctor.ts') },
  harness: { summary: 'Which agent CLIs are installed and what they can', load: () => import('./verbs/harness.ts') },
  merge: { summary: 'Merge ended sessions, gated, in order', load: () => import('./verbs/merge.ts') },
  rebase: { summary: 'Put a session’s branch on top of its target', load: () => import('./verbs/rebase.ts') },
  clean: { summary: 'Remove what ended sessions left behind', load: () => import('./verbs/clean.ts') },
  worktree: {
    summary: 'Worktrees of sessions: list them, remove what is done',
    load: () => import('./verbs/worktree.ts'),
  },
  completions: { summary: 'Shell completions for bash, zsh and fish', load: () => import('./verbs/completions.ts') },
  mcp: { summary: 'MCP server that sessions talk back through (stdio)', load: () => import('./verbs/mcp.ts') },
};
