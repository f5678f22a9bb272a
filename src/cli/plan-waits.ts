import type { Waiting } from '../model/report.ts';
import { reportOf } from '../plan/report.ts';
import type { Store } from '../store/store.ts';
import { clip, paint, safe } from './output.ts';

/** What of a run goes on only when a person acts, the whole plan first, each with the commands that do it. Reads only. */
export async function personWaits(store: Store, run_id: string, now: number): Promise<Waiting[]> {
  const report = await reportOf(store, run_id, now);
  return (report?.waiting ?? []).filter(({ by_itself }) => !by_itself);
}

/** Each with its commands, which stand alone on their lines so that they can be copied. */
export function waitsText(waits: readonly Waiting[]): string[] {
  return waits.flatMap(({ step_id, name, reason, evidence, commands, goes_on_with }) => {
    const who = [step_id, name].filter((word, i, all) => word !== null && all.indexOf(word) === i).join('  ');
    const why = evidence === null ? reason : `${reason}: ${evidence}`;
    const other = goes_on_with === null ? [] : [`    goes on with ${safe(goes_on_with)}, by the command above`];
    return [
      `  ${paint('yellow', 'waits')} ${safe(who)}  ${clip(why, 160)}`,
      ...commands.map((each) => `    ${each}`),
      ...other,
    ];
  });
}
