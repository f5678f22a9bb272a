import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import type { SessionRow } from '../../model/session.ts';
import { resume } from '../../session/control.ts';
import { lift } from '../../session/halt.ts';
import { callerOf } from '../../session/identity.ts';
import { demandReach } from '../../session/reach.ts';
import { demand, demandPerson } from '../../session/rights.ts';
import type { Ended } from '../../store/control.ts';
import { listSessions } from '../../store/session.ts';
import type { Context } from '../context.ts';
import { outcomeLine, targets } from '../control.ts';
import { printJson, safe } from '../output.ts';
import { liftedJson, liftedLines, warnHalt } from '../render-halt.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

interface Options {
  all?: boolean;
  text?: string;
  force?: boolean;
}

/** With `--all` these are passed over: of a blocked pool one goes first, a conflict is settled one by one, and so is money. */
const PASSED_OVER = ['pool_probing', 'incident_open', 'budget_spent'];

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('[session...]', 'id, unique prefix, name, or latest')
      .option('--all', 'every parked session; lifts the halt of a stop --all')
      .option('--text <text>', 'what to tell it')
      .option('--force', 'in spite of an open incident that holds it')
      .action((wanted: string[], options: Options) => run(context, wanted, options));
    examples(command, [
      'drover resume build-1',
      'drover resume build-1 --text "use the staging database"',
      'drover resume --all',
      'drover resume build-2 --force',
    ]);
    exitCodes(command, '0 goes on, 2 usage, 3 refused (see below), 4 no such session.');
    command.addHelpText(
      'after',
      '\n--all by a person lifts the halt of drover stop --all: the plans that it paused go on, with the sessions of their steps.\nOther sessions that it stopped stay stopped; name those that are to go on.\nThe step of a plan that had failed goes on with its session, and so does whatever was left out because of it; a plan that had failed is open again.\nWhom an open incident holds stays held, unless --force says otherwise (exit 3): drover incident list.\nWhose budget is spent stays parked until it is raised (exit 3): drover budget list.\nOf a blocked pool the first one resumed tries alone; the others follow when it gets an answer.',
    );
  },
};

async function run(context: Context, wanted: string[], options: Options): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'stop');
  if (options.force) demandPerson(caller, 'override an open incident');
  if (options.all) demandPerson(caller, 'resume every session');
  const lifted = options.all ? await lift(deps, caller, options) : null;
  const rows = options.all
    ? await listSessions(deps.store, { states: ['parked'] })
    : await targets(context, deps, wanted, false);
  await demandReach(deps, caller, 'stop', rows);
  const results: { row: SessionRow; ended: Ended }[] = [];
  const waiting: SessionRow[] = [];
  const held: SessionRow[] = [];
  const spent: SessionRow[] = [];
  for (const row of rows) {
    try {
      results.push({ row, ended: await resume(deps, caller, row, options) });
    } catch (error) {
      const code = options.all && error instanceof AppError ? error.code : '';
      if (!PASSED_OVER.includes(code)) throw error;
      (code === 'incident_open' ? held : code === 'budget_spent' ? spent : waiting).push(row);
    }
  }
  if (lifted === null && results.some(({ ended }) => ended.changed)) await warnHalt(context, deps.store);
  if (lifted !== null || results.some(({ ended }) => ended.changed)) await wake(deps);
  if (context.globals.json) {
    printJson({
      ...liftedJson(lifted),
      resumed: results.map(({ row, ended }) => ({
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
    });
  } else {
    if (lifted !== null) for (const line of liftedLines(lifted)) console.log(line);
    else if (rows.length === 0) console.log('nothing is parked');
    for (const { row, ended } of results) console.log(outcomeLine(row, ended));
    for (const { name, parked_pool } of waiting)
      console.log(`${name}: follows when the pool ${safe(parked_pool ?? '')} is open`);
    for (const { name } of held) console.log(`${name}: held by an open incident; see drover incident list`);
    for (const { name } of spent) console.log(`${name}: its budget is spent; see drover budget list`);
  }
}
