import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { homePaths } from '../../model/home.ts';
import type { SessionRow } from '../../model/session.ts';
import { listActivity } from '../../store/activity.ts';
import { listDecisions } from '../../store/decision.ts';
import { listStateLog } from '../../store/event.ts';
import { listGateRuns } from '../../store/gate-list.ts';
import { listIncidents } from '../../store/incident-list.ts';
import { listMail } from '../../store/mail-list.ts';
import { heldMerges } from '../../store/merge-held.ts';
import { getPool } from '../../store/pool.ts';
import { getSession, listSessions } from '../../store/session.ts';
import type { Store } from '../../store/store.ts';
import { listTurns } from '../../store/turn-list.ts';
import { listVerdicts } from '../../store/verdict.ts';
import { systemClock } from '../../sys/clock.ts';
import { isDirectory } from '../../sys/directory.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { mailState } from '../render-mail.ts';
import { renderShow, type SessionFacts, type ShownMail } from '../render-show.ts';
import { lookUp } from '../sessions.ts';
import { examples, type Verb } from '../verb.ts';
import { waitsOf } from '../worktree-waits.ts';

const MAIL_LIMIT = 10_000;
/** Newest things done to files, and decisions. */
const LOG_LIMIT = 200;

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('<session>', 'id, unique prefix, name, or latest')
      .action((wanted: string) => run(context, wanted));
    examples(command, ['drover show latest', 'drover show build-1 --json']);
    command.addHelpText('after', '\nExit codes: 0 ok, 2 ambiguous, 4 no such session.');
  },
  plain: ([wanted, ...more], context) =>
    wanted === undefined || wanted.startsWith('-') || more.length > 0 ? null : run(context, wanted),
};

async function run(context: Context, wanted: string): Promise<void> {
  const store = await context.reader();
  const session = await lookUp(context, store, wanted, 'newest');
  if (store === null) throw new AppError('not_found', 'session_not_found', `Session not found: ${wanted}`);
  const facts = await gather(context, store, session);
  if (context.globals.json) printJson(withoutSecrets(facts));
  else console.log(renderShow(facts, systemClock.now()));
}

async function gather(context: Context, store: Store, session: SessionRow): Promise<SessionFacts> {
  const [turns, state_log, children, parent, mail, pool, verdicts, gate_runs, waits] = await Promise.all([
    listTurns(store, session.id),
    listStateLog(store, session.id),
    listSessions(store, { parent_id: session.id }),
    session.parent_id === null ? null : getSession(store, session.parent_id),
    mailOf(store, session.id),
    getPool(store, session.pool),
    listVerdicts(store, session.id),
    listGateRuns(store, session.id),
    waitsOf(context, store, [session]),
  ]);
  const key = { session_id: session.id, limit: LOG_LIMIT };
  const [incidents, decisions, activity, held] = await Promise.all([
    listIncidents(store, { ...key, repo_root: null, is_open: false }),
    listDecisions(store, key),
    listActivity(store, key),
    heldMerges(store, [session.id]),
  ]);
  const dir = homePaths.session(context.home, session.id);
  return {
    session,
    turns,
    mail,
    state_log,
    verdicts,
    gate_runs,
    merge_held: held.get(session.id) ?? null,
    incidents,
    decisions,
    activity,
    children: children.reverse(),
    parent,
    pool,
    worktree_wait: waits.get(session.id) ?? null,
    files: isDirectory(dir) ? dir : null,
  };
}

/** What came in and what went out, oldest first; mail to oneself counts as received. */
async function mailOf(store: Store, id: string): Promise<ShownMail[]> {
  const received = await listMail(store, { to_id: id, limit: MAIL_LIMIT });
  const sent = await listMail(store, { from_id: id, limit: MAIL_LIMIT });
  const all: ShownMail[] = [
    ...received.map((row) => ({ ...row, direction: 'in' as const, state: mailState(row) })),
    ...sent
      .filter((row) => row.to_id !== id)
      .map((row) => ({ ...row, direction: 'out' as const, state: mailState(row) })),
  ];
  return all.sort((a, b) => a.seq - b.seq);
}

/** A turn's marker proves what belongs to it; nobody else needs it. Columns called `at` leave as ISO-8601 like the others. */
function withoutSecrets(facts: SessionFacts): Record<string, unknown> {
  const turns = facts.turns.map(({ marker: _secret, ...turn }) => turn);
  const state_log = facts.state_log;
  return { ...facts, turns, state_log };
}
