import { errorJson } from '../model/error.ts';
import type { HaltRow } from '../model/halt.ts';
import type { lift } from '../session/halt.ts';
import type { Halting } from '../store/halt.ts';
import { standingHalt } from '../store/halted.ts';
import type { Store } from '../store/store.ts';
import type { Context } from './context.ts';
import { age, instantText, paint, safe } from './output.ts';

/** The first line of whoever shows how things are; empty when no halt stands. */
export function haltLine(halt: HaltRow | null, now: number): string {
  if (halt === null) return '';
  const since = `HALTED ${age(now - halt.at)} ago by ${safe(halt.halted_by)} (${safe(halt.reason)})`;
  return paint('yellow', `${since}: nothing starts by itself until \`drover resume --all\``);
}

/** A person's own word starts a session all the same; that nothing else does is said beside it. */
export async function warnHalt({ globals }: Pick<Context, 'globals'>, store: Store): Promise<void> {
  if (globals.quiet) return;
  const halt = await standingHalt(store);
  if (halt === null) return;
  const what = 'this starts all the same; nothing else does until `drover resume --all`';
  console.error(paint('yellow', `everything is halted (${safe(halt.reason)}): ${what}`));
}

/** What an emergency stop holds, beside the sessions that it stopped. */
export function haltLines(halting: Halting, now: number): string[] {
  const { halt, is_new, plans, schedules, next_schedule_at, requests } = halting;
  const stands = is_new ? '' : `, since ${age(now - halt.at)} ago`;
  const next = next_schedule_at === null ? '' : ` (the next was due ${instantText(next_schedule_at)})`;
  return [
    ...plans.map(({ name }) => `plan ${safe(name)}: paused`),
    ...(schedules === 0 ? [] : [`${schedules} ${schedules === 1 ? 'schedule' : 'schedules'} held${next}`]),
    ...(requests === 0 ? [] : [`${requests} ${requests === 1 ? 'request' : 'requests'} held`]),
    paint('yellow', `halted${stands}: nothing starts by itself until \`drover resume --all\``),
  ];
}

export function haltJson(halting: Halting | null): Record<string, unknown> {
  if (halting === null) return {};
  const { halt, is_new, plans, schedules, next_schedule_at, requests } = halting;
  const paused_plans = plans.map(({ id, name }) => ({ id, name }));
  return { halt, is_new, paused_plans, held_schedules: schedules, next_schedule_at, held_requests: requests };
}

type LiftedWithSteps = NonNullable<Awaited<ReturnType<typeof lift>>>;

export function liftedLines({ plans, steps, stopped }: LiftedWithSteps): string[] {
  return [
    paint('green', 'the halt is lifted'),
    ...plans.map(({ name }) => `plan ${safe(name)}: goes on`),
    ...steps.map(({ row, error }) => `  ${safe(row.name)}: ${error === null ? 'goes on' : safe(error.message)}`),
    ...(stopped.length === 0 ? [] : [`still stopped: ${stoppedText(stopped)}`]),
  ];
}

const SHOWN = 10;

function stoppedText(stopped: LiftedWithSteps['stopped']): string {
  const names = stopped.slice(0, SHOWN).map(({ name }) => safe(name));
  const more = stopped.length > SHOWN ? `, and ${stopped.length - SHOWN} more` : '';
  return `${names.join(', ')}${more}; \`drover resume NAME\` brings one back`;
}

export function liftedJson(lifted: LiftedWithSteps | null): Record<string, unknown> {
  if (lifted === null) return {};
  const { halt, plans, steps, stopped } = lifted;
  return {
    lifted: halt,
    resumed_plans: plans.map(({ id, name }) => ({ id, name })),
    resumed_steps: steps.map(({ row, error }) => ({
      id: row.id,
      name: row.name,
      error: error === null ? null : errorJson(error),
    })),
    still_stopped: stopped,
  };
}
