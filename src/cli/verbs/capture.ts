import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { callerOf } from '../../session/identity.ts';
import { capture } from '../../team/capture.ts';
import { namedReservation } from '../../team/reservation.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { examples, type Verb } from '../verb.ts';

export interface CaptureOptions {
  session?: string;
  token?: string;
  message?: string;
  confidence?: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    captureOptions(command).action((options: CaptureOptions) => run(context, options));
    examples(command, [
      'drover capture --session agent-x7k2 --message "login: limit attempts" --confidence 0.8',
      'drover capture --message "half of it"   # inside of a session',
    ]);
    command.addHelpText(
      'after',
      `
Commits all that has changed in the checkout of the thread, with who has done it in the trailers Agent-Session,
Agent-Model, Agent-Harness and Confidence. No hooks and no filters run.
Exit codes: 0 ok (also when nothing had changed), 2 usage, 3 refused, 4 unknown.`,
    );
  },
};

export function captureOptions(command: Command): Command {
  return command
    .option('--session <id>', "the reservation's session_id (default: your session's only one)")
    .option('--token <token>', 'the reservation_token that reserve printed')
    .option('--message <text>', 'what was done')
    .option('--confidence <share>', 'how sure you are, 0 to 1');
}

/** Who asks, for which reservation, and what is said about the work. Throws `usage` (2), and what `namedReservation` throws. */
export async function captureRequest(context: Context, options: CaptureOptions) {
  const confidence = confidenceOf(options.confidence);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const named = await namedReservation(deps, caller, options);
  return { deps, caller, named, work: { cwd: context.cwd, message: options.message, confidence } };
}

/** Throws `usage` (2) unless it is a share. */
function confidenceOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const share = Number(text);
  if (text.trim() !== '' && share >= 0 && share <= 1) return share;
  throw new AppError('usage', 'usage', `--confidence wants a number from 0 to 1, not ${JSON.stringify(text)}.`, {
    preserved: 'nothing was changed',
  });
}

async function run(context: Context, options: CaptureOptions): Promise<void> {
  const { deps, caller, named, work } = await captureRequest(context, options);
  const captured = await capture(deps, caller, named, work);
  if (context.globals.json) return printJson({ ...captured });
  console.log(
    captured.changed ? `${captured.thread}: committed ${captured.commit}` : `${captured.thread}: nothing to commit`,
  );
}
