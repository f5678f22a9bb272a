import { quoted } from './shell.ts';

/** One row of `gate_runs`, spelled like its columns: what a gate said of what one turn had left. */
export interface GateRunRow {
  seq: number;
  session_id: string;
  turn: number;
  /** Which gate in a row it was since the last green one, a new beginning, or the first. */
  round: number;
  verdict: 'green' | 'red';
  /** The command that decided; null when all passed. */
  command: string | null;
  /** In words, for people: `exit code 2`; null when all passed. */
  reason: string | null;
  /** The end of what the commands printed. */
  output: string;
  started_at: number;
  ended_at: number;
}

/** What a gate found, before it is known what follows from it. */
export type GateFinding = Pick<GateRunRow, 'verdict' | 'command' | 'reason' | 'output' | 'started_at' | 'ended_at'>;

/** Of the output, for whoever has to mend it. */
const OUTPUT_TAIL = 4_000;

/** The end of the output, as text that every store and every prompt takes. */
function tailOf(output: string): string {
  return output.replaceAll('\0', '').slice(-OUTPUT_TAIL).toWellFormed();
}

/** `gate \`npm test\`: exit code 1` */
function gateText({ command, reason }: Pick<GateFinding, 'command' | 'reason'>): string {
  return `gate \`${command}\`: ${reason}`;
}

/** The output between fences that it cannot close itself. */
function fenced(output: string): string {
  const longest = Math.max(2, ...[...output.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}\n${output}\n${fence}`;
}

function saidText(output: string): string[] {
  const tail = tailOf(output);
  return tail === '' ? ['It printed nothing.'] : ['The end of what it printed:', '', fenced(tail)];
}

/** What the session that is sent back reads: the command, why it is red, and the end of its output. */
export function feedbackOf(run: GateFinding, { round, max_rounds }: { round: number; max_rounds: number }) {
  const left = max_rounds - round;
  return {
    subject: 'The gate is red: your work is not done yet',
    body: [
      `Before your work counts as done, this has to pass in your working directory, and it did not (${run.reason}):`,
      '',
      fenced(run.command ?? ''),
      '',
      ...saidText(run.output),
      '',
      'Mend what it complains about, run it yourself, and end your turn when it passes. It is run again then.',
      left > 0
        ? `This was red gate ${round} of ${max_rounds} after which you are held.`
        : `You were held after ${round} red gates in a row, until somebody let you go on.`,
    ].join('\n'),
  };
}

/** What the person in charge reads when a session is held. */
export function heldMail(name: string, run: GateFinding, rounds: number): { subject: string; body: string } {
  return {
    subject: `${name} is held: its gate stays red`.slice(0, 500),
    body: [
      `${gateText(run)}, ${rounds === 1 ? 'once' : `${rounds} times in a row`}. Its work is as it left it.`,
      '',
      `To let it go on: drover resume ${quoted(name)}`,
      `With a word of yours: drover resume ${quoted(name)} --text '…'`,
      `To end it as it is: drover stop ${quoted(name)}`,
      '',
      ...saidText(run.output),
    ].join('\n'),
  };
}

/** Why it is parked (`gate`), for `parked_evidence`. */
export function gateEvidence(run: GateFinding, rounds: number): string {
  const text = `${gateText(run)}, ${rounds === 1 ? 'once' : `${rounds} times in a row`}`;
  const { command, reason } = run;
  return JSON.stringify({ kind: 'gate', text, command, reason, output: tailOf(run.output), rounds });
}
