import { mayStart } from '../model/pool.ts';
import type { VerdictRow } from '../model/verdict.ts';
import { isHalted } from './halted.ts';
import { insertMail } from './mail.ts';
import { insertSessionIn, type Sling } from './new-session.ts';
import { tellOperatorIn } from './operator-mail.ts';
import { readPool } from './pool.ts';
import type { Store, Tx } from './store.ts';

/** What the patrol was told last, by the mail that told it. */
interface LastDigest {
  /** The newest verdict it spoke of; 0 when there was none. */
  until: number;
  sent_at: number | null;
  /** No turn has read it yet. */
  is_waiting: boolean;
  /** Patrols in a row that ended without having read theirs. */
  failed: number;
}

/** What the patrol has not been told yet. */
export interface News extends LastDigest {
  /** Verdicts that are worth a look, and those of them that are worth one at once. */
  count: number;
  grave: number;
  /** The newest of them. */
  newest: number;
}

/** Older ones are history: a patrol that is switched on, or whose mail was cleaned up, does not start with all of it. */
const MAX_AGE_MS = 86_400_000;
/** Rungs of the ladder from which it is an escalation. */
const GRAVE_LEVEL = 2;

const DIGESTS = `FROM mail AS m JOIN sessions AS s ON s.id = m.to_id
  WHERE s.repo_root = :desk AND m.type = 'health_check' AND m.from_id IS NULL AND m.payload_json IS NOT NULL`;

function lastDigest(tx: Tx, desk: string): LastDigest {
  const last = tx.get<{ sent_at: number; is_waiting: number }>(
    `SELECT m.created_at AS sent_at, m.read_at IS NULL AND s.ended_at IS NULL AS is_waiting ${DIGESTS}
     ORDER BY m.seq DESC LIMIT 1`,
    { desk },
  );
  // What a patrol that ended had not read is told again to the next one.
  const told = tx.get<{ until: number | null }>(
    `SELECT max(json_extract(m.payload_json, '$.until')) AS until ${DIGESTS}
       AND (m.read_at IS NOT NULL OR s.ended_at IS NULL)`,
    { desk },
  );
  const failed = tx.get<{ n: number }>(
    `SELECT count(DISTINCT s.id) AS n ${DIGESTS} AND m.read_at IS NULL AND s.ended_at IS NOT NULL
       AND m.seq > (SELECT coalesce(max(m.seq), 0) ${DIGESTS} AND m.read_at IS NOT NULL)`,
    { desk },
  );
  return {
    until: told?.until ?? 0,
    sent_at: last?.sent_at ?? null,
    is_waiting: last?.is_waiting === 1,
    failed: failed?.n ?? 0,
  };
}

/** Sessions of drover's own are not looked after: a patrol that is woken by itself would never rest. */
const FRESH = `v.seq > :until AND v.at > :since AND (v.health <> 'ok' OR v.act <> 'none') AND s.repo_root NOT IN (:desk, :other)`;

/** The desks of drover's own sessions; `desk` is the patrol's. */
export interface Desks {
  desk: string;
  other: string;
}

/** Looks at verdicts by their number alone, newer than the last one that was told. */
export async function newsFor(store: Store, desks: Desks, now: number): Promise<News> {
  return store.read((tx) => {
    const last = lastDigest(tx, desks.desk);
    const found = tx.get<Pick<News, 'count' | 'grave' | 'newest'>>(
      `SELECT count(*) AS count, coalesce(sum(v.level >= :grave_level), 0) AS grave, coalesce(max(v.seq), 0) AS newest
       FROM verdicts AS v JOIN sessions AS s ON s.id = v.session_id WHERE ${FRESH}`,
      { ...desks, until: last.until, since: now - MAX_AGE_MS, grave_level: GRAVE_LEVEL },
    );
    return { ...last, ...(found ?? { count: 0, grave: 0, newest: 0 }) };
  });
}

/** One session's part of a digest: its newest verdict, and what was done. */
export interface DigestLine extends Pick<VerdictRow, 'health' | 'cause' | 'evidence' | 'at' | 'turn'> {
  name: string;
  state: string;
  repo_root: string;
  created_at: number;
  output_tokens: number;
  input_tokens: number;
  /** `null`: nothing was done. */
  acts: string | null;
}

/** Sessions that a digest names; of more it tells how many. */
const MAX_LINES = 40;

/** By session, newest first. `seq` is that of the newest verdict to be told. */
export async function digestOf(
  store: Store,
  desks: Desks,
  of: Pick<News, 'until' | 'newest'>,
  now: number,
): Promise<DigestLine[]> {
  return store.read((tx) =>
    tx.all<DigestLine>(
      // With one max() the other columns are those of its row.
      `SELECT s.name, s.state, s.repo_root, s.created_at, s.output_tokens, s.input_tokens,
              v.health, v.cause, v.evidence, v.at, v.turn, max(v.seq) AS seq,
              group_concat(CASE WHEN v.act = 'none' THEN NULL ELSE v.act END, ', ' ORDER BY v.seq) AS acts
       FROM verdicts AS v JOIN sessions AS s ON s.id = v.session_id
       WHERE ${FRESH} AND v.seq <= :newest GROUP BY v.session_id ORDER BY seq DESC LIMIT ${MAX_LINES}`,
      { ...desks, until: of.until, newest: of.newest, since: now - MAX_AGE_MS },
    ),
  );
}

const FAILING = {
  subject: 'The patrol does not work',
  body: 'Several patrols in a row ended without having read what they were told. It is tried again, ever more rarely. `drover status --all` shows them, `drover logs <id>` what went wrong; its harness is watchdog.patrol_harness of your config.',
};

/** After so many patrols in a row that read nothing, a person is told. */
const FAILED_TOLD = 3;

/**
 * Tells the patrol, and starts one when none lives, in one transaction; once in a row of patrols that read nothing the
 * operator as well. False: somebody has told it meanwhile, its pool is shut, or
 * everything is halted.
 */
export async function sendDigest(
  store: Store,
  input: { desk: string; sling: Sling; news: News; subject: string; body: string; now: number },
): Promise<boolean> {
  return store.write((tx) => {
    const { desk, sling, news, now } = input;
    if (isHalted(tx)) return false;
    const last = lastDigest(tx, desk);
    if (last.until !== news.until || last.sent_at !== news.sent_at || last.is_waiting) return false;
    const living = tx.get<{ id: string; name: string; pool: string }>(
      'SELECT id, name, pool FROM sessions WHERE ended_at IS NULL AND +repo_root = :desk ORDER BY created_at, id LIMIT 1',
      { desk },
    );
    if (mayStart(readPool(tx, living?.pool ?? sling.draft.pool), living?.id ?? '', now) !== 'go') return false;
    const { id, name } = living ?? insertSessionIn(tx, sling, 'watchdog');
    const { from_name, from_id } = sling.brief;
    insertMail(
      tx,
      {
        ...{ from_name, from_id, to_name: name, to_id: id, type: 'health_check', priority: 'normal' },
        ...{ subject: input.subject, body: input.body, payload_json: JSON.stringify({ until: news.newest }) },
      },
      now,
    );
    // Until this one has ended there are no more of them, and afterwards it is one of them: this is said once.
    if (last.failed === FAILED_TOLD) tellOperatorIn(tx, FAILING, now);
    return true;
  });
}
