import type { Command } from 'commander';
import { resume } from '../../session/control.ts';
import { whyNotResume } from '../../session/control-checks.ts';
import { lift, patience } from '../../session/halt.ts';
import { callerOf } from '../../session/identity.ts';
import { demandReach } from '../../session/reach.ts';
import { demand, demandPerson } from '../../session/rights.ts';
import { listSessions } from '../../store/session.ts';
import type { Context } from '../context.ts';
import { outcomeLine, targets } from '../control.ts';
import { doneOf, eachOf, failedJson, refuseFirst, tellFailed, throwOnly, worstCode } from '../each.ts';
import { printJson, safe } from '../output.ts';
import { liftedJson, liftedLines, warnHalt } from '../render-halt.ts';
import { examples, exitCode, exitCodes, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

interface Options {
  all?: boolean;
  text?: string;
  force?: boolean;
}

/**
 * With `--all` these are passed over: of a blocked pool one goes first, a conflict is settled one by one, and so is money; and
 * who has gone on or ended meanwhile wants nothing.
 */
const PASSED_OVER = ['pool_probing', 'incident_open', 'budget_spent', 'cannot_resume'];

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('[session...]', 'id, unique prefix, name, or latest')
      .option('--all', 'every parked session; lifts the halt of a stop --all')
      .option('--text <text>', 'what to tell it')
      .option('--force', 'in spite of an open incident that holds it')
      .action(async (wanted: string[], options: Options) => {
        exitCode.code = await run(context, wanted, options);
      });
    examples(command, [
      'drover resume build-1',
      'drover resume build-1 --text "use the staging database"',
      'drover resume --all',
      'drover resume build-2 --force',
    ]);
    exitCodes(command, '0 goes on, 2 usage, 3 refused (see below), 4 no such session; of several the worst.');
    command.addHelpText(
      'after',
      '\n--all by a person lifts the halt of drover stop --all: the plans that it paused go on, with the sessions of their steps.\nOther sessions that it stopped stay stopped; name those that are to go on.\nThe step of a plan that had failed goes on with its session, and so does whatever was left out because of it; a plan that had failed is open again.\nWhom an open incident holds stays held, unless --force says otherwise (exit 3): drover incident list.\nWhose budget is spent stays parked until it is raised (exit 3): drover budget list.\nOf a blocked pool the first one resumed tries alone; the others follow when it gets an answer.\nOf several sessions one that cannot be resumed refuses them all, before any goes on.',
    );
  },
};

async function run(context: Context, wanted: string[], options: Options): Promise<number> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'stop');
  if (options.force) demandPerson(caller, 'override an open incident');
  if (options.all) demandPerson(caller, 'resume every session');
  const lifted = options.all ? await lift(deps, caller, options) : null;
  const isAll = options.all === true;
  const rows = isAll
    ? await listSessions(deps.store, { states: ['parked'] })
    : await targets(context, deps, wanted, false);
  await demandReach(deps, caller, 'stop', rows);
  if (!isAll) refuseFirst(rows, whyNotResume);
  const patiently = patience(deps);
  const each = await eachOf(rows, (row) => {
    const work = () => resume(deps, caller, row, options);
    return isAll ? patiently(work) : work();
  });
  const passed = (code: string) =>
    isAll ? each.filter(({ error }) => error?.code === code).map(({ row }) => row) : [];
  const [waiting, held, spent] = [passed('pool_probing'), passed('incident_open'), passed('budget_spent')];
  const tried = each.filter(({ error }) => !isAll || error === null || !PASSED_OVER.includes(error.code));
  if (!isAll) throwOnly(tried);
  const results = doneOf(tried);
  const isChanged = results.some(({ done }) => done.changed);
  if (context.globals.json) {
    printJson({
      ...liftedJson(lifted),
      resumed: results.map(({ row, done: ended }) => ({
        id: row.id,
        name: row.name,
        changed: ended.changed,
        prev: ended.prev,
        state: ended.row.state,
        plan: ended.taken_up ?? null,
      })),
      waiting: waiting.map(({ id, name, parked_pool }) => ({ id, name, parked_pool })),
      held: held.map(({ id, name }) => ({ id, name })),
      spent: spent.map(({ id, name }) => ({ id, name })),
      failed: failedJson(tried),
    });
  } else {
    if (lifted !== null) for (const line of liftedLines(lifted)) console.log(line);
    else if (rows.length === 0) console.log('nothing is parked');
    for (const { row, done } of results) console.log(outcomeLine(row, done));
    for (const { name, parked_pool } of waiting)
      console.log(`${name}: follows when the pool ${safe(parked_pool ?? '')} is open`);
    for (const { name } of held) console.log(`${name}: held by an open incident; see drover incident list`);
    for (const { name } of spent) console.log(`${name}: its budget is spent; see drover budget list`);
    tellFailed(tried);
  }
  if (lifted === null && isChanged) await warnHalt(context, deps.store);
  if (lifted !== null || isChanged) await wake(deps);
  return worstCode(tried);
}
