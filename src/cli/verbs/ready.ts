import type { Command } from 'commander';
import { ready } from '../../team/ready.ts';
import { announce } from '../announce.ts';
import type { Context } from '../context.ts';
import { paint, printJson, safe } from '../output.ts';
import { examples, type Verb } from '../verb.ts';
import { type CaptureOptions, captureOptions, captureRequest } from './capture.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    captureOptions(command).action((options: CaptureOptions) => run(context, options));
    examples(command, [
      'drover ready --session agent-x7k2',
      'drover ready --session agent-x7k2 --message "login: limit attempts"   # captures first',
    ]);
    command.addHelpText(
      'after',
      `
Marks the thread as ready to be merged at the commit its branch is on; the parent of the session gets mail (merge_ready).
With --message, what is not committed is captured first. Exit codes: 0 ok, 2 usage, 3 refused, 4 unknown.`,
    );
  },
};

async function run(context: Context, options: CaptureOptions): Promise<void> {
  const { deps, caller, named, work } = await captureRequest(context, options);
  const { mail, ...done } = await ready(deps, caller, named, work);
  if (context.globals.json) printJson({ ...done, mail_id: mail?.id ?? null });
  else {
    console.log(`${safe(done.thread)}: ready at ${done.ready_commit}${done.changed ? '' : ' (as before)'}`);
    if (mail !== null) console.log(`told ${safe(mail.to_name)} (${mail.id})`);
    if (done.uncommitted.length > 0)
      console.error(paint('yellow', `not in it, because not committed: ${done.uncommitted.map(safe).join(', ')}`));
  }
  if (mail !== null) await announce(deps, caller);
}
