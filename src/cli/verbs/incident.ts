import { resolve as resolvePath } from 'node:path';
import type { Command } from 'commander';
import { importEvents, type Resolved, resolve } from '../../guard/incidents.ts';
import { AppError } from '../../model/error.ts';
import type { IncidentRow } from '../../model/incident.ts';
import { callerOf } from '../../session/identity.ts';
import { predictIncident } from '../../session/prediction.ts';
import { writesOf } from '../../store/activity.ts';
import { listDecisions } from '../../store/decision.ts';
import { findIncident, listIncidents } from '../../store/incident-list.ts';
import { findSession, getSession } from '../../store/session.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../sys/clock.ts';
import { readTextIfExists } from '../../sys/read-text.ts';
import type { Context } from '../context.ts';
import { printJson, safe } from '../output.ts';
import { incidentTable, renderIncident } from '../render-incident.ts';
import { examples, exitCode, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

interface Listed {
  all?: boolean;
  closed?: boolean;
  of?: string;
}

interface Settled {
  keep?: string;
  resume?: boolean;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .command('list', { isDefault: true })
      .description('open incidents of this repository, oldest first')
      .option('--all', 'of all repositories, resolved ones too')
      .option('--closed', 'resolved ones too')
      .option('--of <session>', 'only those of this session')
      .action((options: Listed) => list(context, options));
    command
      .command('show')
      .description('one incident: both sides, and what a merge would give now')
      .argument('<incident>', 'id, beginning of one, or its key')
      .action((wanted: string) => show(context, wanted));
    command
      .command('resolve')
      .description('settle it; whom it holds stays held without --resume')
      .argument('<incident>', 'id, beginning of one, or its key')
      .argument('[how]', 'in words')
      .option('--keep <session>', 'the one of the two whose change stands')
      .option('--resume', 'put back whom it holds')
      .action((wanted: string, how: string | undefined, options: Settled) => settle(context, wanted, how, options));
    command
      .command('import')
      .description('tool events of another log, one JSON object per line')
      .argument('<file>', 'its path; - reads standard input')
      .action((file: string) => importFile(context, file));
    examples(command, [
      'drover incident',
      'drover incident show incident-x7k2',
      'drover incident resolve incident-x7k2 "they touch different functions" --resume',
      'drover incident resolve incident-x7k2 --keep build-1',
      'drover incident import tool-usage.jsonl',
    ]);
    command.addHelpText(
      'after',
      '\nExit codes: 0 ok, 2 usage, 3 refused (not yours to settle, or more holds it), 4 no such incident.',
    );
  },
};

async function list(context: Context, options: Listed): Promise<void> {
  const store = await context.reader();
  const repo_root = options.all || options.of ? null : await context.repoRoot();
  const of = store === null || options.of === undefined ? null : await findSession(store, options.of, null);
  const query = { repo_root, is_open: !(options.all || options.closed), ...(of === null ? {} : { session_id: of.id }) };
  const incidents = store === null ? [] : await listIncidents(store, query);
  if (context.globals.json) return printJson({ incidents: incidents.map(shown) });
  if (store === null || incidents.length === 0) return console.log('no incidents');
  console.log(incidentTable(incidents, await namesOf(store, incidents), systemClock.now()));
}

/** Rows leave as they are, but for the JSON in them. */
function shown({ prediction_json, ...row }: IncidentRow): Record<string, unknown> {
  return { ...row, prediction: prediction_json === null ? null : JSON.parse(prediction_json) };
}

async function namesOf(store: Store, incidents: readonly IncidentRow[]): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  for (const { first_session_id, second_session_id } of incidents) {
    for (const id of [first_session_id, second_session_id]) {
      if (names.has(id)) continue;
      names.set(id, (await getSession(store, id))?.name ?? id);
    }
  }
  return names;
}

async function found(store: Store | null, wanted: string): Promise<{ store: Store; incident: IncidentRow }> {
  if (store !== null) return { store, incident: await findIncident(store, wanted) };
  throw new AppError('not_found', 'incident_not_found', `No incident is called ${wanted}.`, {
    hint: 'Nothing was ever stored here.',
  });
}

const DECISIONS = 50;
const WRITES = 20;

async function show(context: Context, wanted: string): Promise<void> {
  const { store, incident } = await found(await context.reader(), wanted);
  const of = [incident.first_session_id, incident.second_session_id];
  const [prediction, names, writes, ...decisions] = await Promise.all([
    predictIncident({ store, clock: systemClock }, incident),
    namesOf(store, [incident]),
    writesOf(store, { ...incident, limit: WRITES }),
    ...of.map((session_id) => listDecisions(store, { session_id, limit: DECISIONS })),
  ]);
  const about = decisions.flat().filter(({ decision }) => decision.includes(incident.path));
  if (context.globals.json) return printJson({ incident: shown(incident), prediction, writes, decisions: about });
  console.log(renderIncident({ incident, names, prediction, decisions: about, writes }, systemClock.now()));
}

/** What `--resume` alone says (E-135). */
const BOTH_GO_ON = 'continue concurrently';

async function settle(context: Context, wanted: string, how: string | undefined, options: Settled): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const incident = await findIncident(deps.store, wanted);
  const keep = options.keep === undefined ? null : await findSession(deps.store, options.keep, null);
  if (keep !== null && ![incident.first_session_id, incident.second_session_id].includes(keep.id))
    throw new AppError('usage', 'not_a_party', `${keep.name} is none of the two of this incident.`, {
      hint: `They are ${incident.first_session_id} and ${incident.second_session_id}.`,
      preserved: 'nothing was changed',
    });
  if (how === undefined && keep === null && options.resume !== true)
    throw new AppError(
      'usage',
      'usage',
      'Say how it is settled: in words, with --keep, or that both go on with --resume.',
      {
        preserved: 'nothing was changed',
      },
    );
  const words = [keep === null ? '' : `kept ${keep.name}`, how ?? ''].filter((part) => part !== '').join(': ');
  const resolution = words === '' ? BOTH_GO_ON : words;
  const request = { incident, resolution, keep: keep?.id ?? null, resume: options.resume === true };
  const done = await resolve(deps, caller, request);
  if (done.changed) await wake(deps);
  if (done.not_resumed !== null) exitCode.code = 3;
  tell(context, done);
}

function tell(context: Context, { incident, changed, resumed, not_resumed }: Resolved): void {
  if (context.globals.json) {
    printJson({ incident: shown(incident), changed, resumed, not_resumed: not_resumed?.message ?? null });
    return;
  }
  const state = changed ? 'resolved' : incident.resolved_at === null ? 'was resolved just now' : 'already resolved';
  console.log(`${incident.id}: ${state}${incident.resolution === null ? '' : ` (${safe(incident.resolution)})`}`);
  if (resumed !== null) console.log(`${safe(resumed)}: parked → queued`);
  if (not_resumed !== null) console.error(`it could not be put back now: ${not_resumed.message}`);
}

/** More than any log of tool events has. */
const MAX_IMPORT_BYTES = 256 * 1024 * 1024;

async function importFile(context: Context, file: string): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const counts = await importEvents(deps, caller, await textOf(context, file));
  if (counts.files > 0) await wake(deps);
  if (context.globals.json) return printJson({ ...counts });
  const skipped = `${counts.duplicates} known, ${counts.malformed} malformed, ${counts.blank} blank`;
  const rest = `${counts.unknown_sessions} of unknown sessions, ${counts.without_files} without a file of the checkout`;
  console.log(`imported ${counts.imported} events (${counts.files} files); skipped ${skipped}, ${rest}`);
}

async function textOf(context: Context, file: string): Promise<string> {
  if (file === '-') return (await import('../read-text.ts')).readText('-');
  const text = readTextIfExists(resolvePath(context.cwd, file), MAX_IMPORT_BYTES);
  if (text !== null) return text;
  throw new AppError('usage', 'input_unreadable', `There is no file ${file}.`, { preserved: 'nothing was stored' });
}
