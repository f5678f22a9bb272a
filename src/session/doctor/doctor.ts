import { AppError } from '../../model/error.ts';
import { type Diagnosis, type Finding, fine, problem, warning } from '../../model/finding.ts';
import type { HaltRow } from '../../model/halt.ts';
import { standingHalt } from '../../store/halted.ts';
import { probeCgroup } from '../../sys/cgroup.ts';
import { isDirectory, listFiles } from '../../sys/directory.ts';
import { configFindings } from './config.ts';
import { databaseFindings, invariantFindings } from './database.ts';
import type { DoctorDeps } from './deps.ts';
import { groupFindings } from './groups.ts';
import { harnessFindings } from './harnesses.ts';
import { homeFindings } from './home.ts';
import { lockFindings } from './locks.ts';
import { machineFindings } from './machine.ts';
import { mergeFindings } from './merges.ts';
import { processFindings } from './processes.ts';
import { traceFindings } from './worktrees.ts';

export interface DoctorOptions {
  /** Do what is safe about what was found. */
  fix: boolean;
  /** Leave the agent CLIs alone. */
  quick: boolean;
}

/**
 * Looks at everything drover stands on and says what is wrong, in the order in which a person would mend it. A part that
 * cannot be looked at becomes a finding of its own, so the report is always whole. Without `fix` nothing is changed.
 */
export async function diagnose(deps: DoctorDeps, options: DoctorOptions): Promise<Finding[]> {
  const found = await guarded('machine', () => machineFindings(deps));
  const { config, found: settings } = await configFindings(deps);
  found.push(...settings, containment(), ...(await guarded('control groups', async () => groupFindings(deps))));
  if (!isDirectory(deps.home)) {
    found.push(fine('home', `nothing is stored yet in ${deps.home}`));
    if (!options.quick) found.push(...(await guarded('harness', () => harnessFindings(deps, null, config))));
    return treat(found, options.fix);
  }
  const names = listFiles(deps.home);
  if (names.length > 0 && !names.includes('run')) {
    // Somebody else's directory is not ours to close to others.
    const hint = 'Set DROVER_HOME to a directory of its own, e.g. a new one inside it.';
    return treat([...found, problem('home', `${deps.home} is no home of drover and not empty`, hint)], options.fix);
  }
  found.push(...(await guarded('home', async () => homeFindings(deps, config))));
  const report = await databaseFindings(deps);
  const { store } = report;
  try {
    found.push(...report.found);
    found.push(...(await guarded('locks', () => lockFindings(deps, store, config))));
    if (store !== null) {
      // The first line: whoever asks why nothing goes on has the answer there.
      found.unshift(...haltFinding(await standingHalt(store), deps.clock.now()));
      found.push(...(await guarded('invariants', () => invariantFindings(deps, store))));
      found.push(...(await guarded('worktrees', () => traceFindings(deps, store, config))));
      found.push(...(await guarded('merges', () => mergeFindings(deps, store))));
    }
    found.push(...(await guarded('processes', () => processFindings(deps, store))));
    if (!options.quick) found.push(...(await guarded('harness', () => harnessFindings(deps, store, config))));
    return await treat(found, options.fix);
  } finally {
    store?.close();
  }
}

function haltFinding(halt: HaltRow | null, now: number): Diagnosis[] {
  if (halt === null) return [];
  const minutes = Math.max(0, Math.round((now - halt.at) / 60_000));
  const what = `everything was halted ${minutes} min ago by ${halt.halted_by}: ${halt.reason}; nothing starts by itself`;
  return [warning('halt', what, 'It stands until a person lifts it:\ndrover resume --all')];
}

function containment(): Diagnosis {
  const { base, reason } = probeCgroup();
  const how = base === null ? 'by marker, session and parents' : 'by control group and by marker';
  return fine('containment', `processes of a turn are found ${how} (${reason})`);
}

/** A check that fails is a finding and not the end of the report. A bug stays a bug. */
async function guarded(check: string, look: () => Promise<Diagnosis[]>): Promise<Diagnosis[]> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return [warning(check, `could not be looked at: ${error.message}`, error.details.hint ?? null)];
  }
}

async function treat(found: readonly Diagnosis[], fix: boolean): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { finding, mend } of found) {
    if (!fix || mend === null) findings.push(finding);
    else findings.push(await mended(finding, mend));
  }
  return findings;
}

async function mended(finding: Finding, mend: () => Promise<string>): Promise<Finding> {
  try {
    return { ...finding, fix: await mend(), fixed: true };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { ...finding, fix: error.message, fixed: false };
  }
}
