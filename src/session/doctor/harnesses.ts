import type { Config } from '../../model/config.ts';
import { AppError } from '../../model/error.ts';
import { type Diagnosis, fine, problem, warning } from '../../model/finding.ts';
import type { Harness } from '../../model/harness.ts';
import { driftOf } from '../../store/drift.ts';
import type { Store } from '../../store/store.ts';
import { type HarnessMachine, harnessFacts, missingFlags, wantedHarnesses } from '../harness-check.ts';
import { type DoctorDeps, someOf } from './deps.ts';
import { type Probed, probeHarness } from './probe.ts';

/** Generous: the first start in an empty home takes a slow machine many times as long as any other. */
const PROBE_MS = 60_000;
const RECENT_TURNS = 20;

interface Asked {
  deps: DoctorDeps;
  machine: HarnessMachine;
  store: Store | null;
  config: Config;
}

/** The contract with every installed CLI: version, flags, what recent turns said, and what it says to a scripted model. */
export async function harnessFindings(deps: DoctorDeps, store: Store | null, config: Config): Promise<Diagnosis[]> {
  const machine: HarnessMachine = { env: deps.env, package_dir: deps.package_dir, cwd: '/' };
  const found: Diagnosis[] = [];
  // One after the other: each is as heavy as an editor, and the limit of the probe is on the clock on the wall.
  for (const harness of wantedHarnesses([], config.harness_runners)) {
    found.push(...(await one(harness, { deps, machine, store, config })));
  }
  const hasModel = found.some(({ finding }) => finding.check !== 'harness rehearsal');
  return hasModel
    ? found
    : [...found, warning('harness', 'no agent CLI is installed', '`drover harness list` shows how to install them.')];
}

async function one(harness: Harness, { deps, machine, store, config }: Asked): Promise<Diagnosis[]> {
  const facts = await harnessFacts(harness, machine);
  if (facts.path === null) return [];
  const check = `harness ${harness.id}`;
  const found: Diagnosis[] = [];
  if (facts.problem !== null) found.push(problem(check, facts.problem, `Install it anew: ${harness.install_hint}`));
  const missing = await missingFlags(harness, facts.path, machine);
  if (missing !== null && missing.length > 0) {
    const hint = `This version may be too old or too new: ${harness.install_hint}`;
    found.push(problem(check, `its help does not name ${someOf(missing)}, which drover uses`, hint));
  }
  if (store !== null) found.push(...(await drifted(check, harness, store)));
  const said = [facts.version ?? 'no version', missing === null ? 'its help says nothing of flags' : 'flags ok'];
  // The settings of a person's own runner may name a real provider and its key.
  const isOwn = Object.hasOwn(config.harness_runners, harness.id);
  if (isOwn) said.push('not probed: it is of your own config');
  else {
    const input = {
      clock: deps.clock,
      harness,
      path: facts.path,
      env: deps.env,
      search_path: pathOf(deps),
      limit_ms: PROBE_MS,
    };
    const probed = await attempt(() => probeHarness(input));
    if (probed instanceof AppError) found.push(warning(check, `it could not be probed: ${probed.message}`));
    else if (probed === null) said.push('not probed: drover does not know its provider settings');
    else {
      const judged = judgeProbe(check, probed);
      found.push(...judged);
      said.push(`a conversation gave ${tally(probed.seen)}`);
    }
  }
  return found.length > 0 ? found : [fine(check, said.join(', '))];
}

function pathOf(deps: DoctorDeps): string {
  return `${deps.env.PATH ?? '/usr/local/bin:/usr/bin:/bin'}:${deps.package_dir}/bin`;
}

async function attempt<T>(work: () => Promise<T>): Promise<T | AppError> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AppError && error.kind !== 'bug') return error;
    throw error;
  }
}

async function drifted(check: string, harness: Harness, store: Store): Promise<Diagnosis[]> {
  const drift = await driftOf(store, { harness: harness.id, known: harness.known_events, limit: RECENT_TURNS });
  const unknown = drift.unknown.map(
    ({ name, count, session_id, turn }) =>
      `${name || '(without a name)'} (${count} times, e.g. ${session_id} turn ${turn})`,
  );
  const malformed = drift.malformed.map(({ count, session_id, turn }) => `${count} in ${session_id} turn ${turn}`);
  return [
    ...(unknown.length === 0
      ? []
      : [
          warning(
            check,
            `recent turns said what its parser does not know: ${someOf(unknown)}`,
            'Nothing is lost: the raw lines are in drover logs --raw.',
          ),
        ]),
    ...(malformed.length === 0
      ? []
      : [warning(check, `recent turns wrote lines that are no JSON: ${someOf(malformed)}`)]),
  ];
}

/** What a conversation with the scripted model proves or disproves. A CLI that did not take part in it proves nothing. */
export function judgeProbe(check: string, probed: Probed): Diagnosis[] {
  const { unknown, malformed, result, exit, timed_out, asked, needs_model, stderr_tail } = probed;
  const found: Diagnosis[] = [];
  if (unknown.length > 0) {
    const hint = 'Nothing is lost: they are kept raw. A newer drover may know them.';
    found.push(warning(check, `event types its parser does not know: ${someOf(unknown, 20)}`, hint));
  }
  if (malformed > 0) found.push(warning(check, `${malformed} lines of its stream are no JSON`));
  if (result?.ok === true) return found;
  const end = timed_out
    ? `was ended after ${PROBE_MS / 1000} s`
    : `ended with ${exit?.signal ?? exit?.code ?? 'no status'}`;
  const heard =
    needs_model && asked === 0
      ? 'without asking the scripted model'
      : `with ${result === null ? 'no result' : `the result ${result.reason}`}`;
  const last = stderr_tail.split('\n').at(-1)?.slice(0, 200) ?? '';
  const what = `the probe ${end} ${heard}${last === '' ? '' : `: ${last}`}`;
  const hasAnswered = !timed_out && exit?.code === 0 && (asked > 0 || !needs_model);
  const hint = 'Its output may have changed: turns of it would count as crashed. Try another version of it.';
  return [...found, hasAnswered ? problem(check, what, hint) : warning(check, what)];
}

function tally(seen: Record<string, number>): string {
  const words = Object.entries(seen).map(([type, count]) => (count === 1 ? type : `${count} ${type}`));
  return words.length === 0 ? 'no event' : words.join(', ');
}
