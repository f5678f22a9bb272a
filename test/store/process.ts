import { afterAll } from 'bun:test';
import { resolve } from 'node:path';
import type { SettleInput } from '../../src/store/settle.ts';
import type { TransitionInput } from '../../src/store/transition.ts';

/** What another process can be asked to do (`fixtures/operator.ts`). */
export type Job =
  | { op: 'open' }
  | { op: 'transition'; input: TransitionInput }
  | { op: 'claim'; session_id: string; lease_fence: number; max_in_flight: number }
  | { op: 'settle'; input: SettleInput }
  | { op: 'feed'; session_id: string; turn: number; from: number; times: number }
  | { op: 'count'; session_id: string; turn: number; times: number };

const OPERATOR = resolve(import.meta.dir, 'fixtures/operator.ts');
const made: OtherProcess[] = [];

afterAll(async () => {
  await Promise.all(made.splice(0).map((each) => each.kill()));
});

/** Another process on the same home; ended after the test file. */
export class OtherProcess {
  readonly #child;
  readonly #lines: AsyncGenerator<string, undefined>;

  constructor(home: string) {
    const env = { ...process.env };
    this.#child = Bun.spawn([process.execPath, OPERATOR, home], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'inherit',
      env,
    });
    this.#lines = this.#read();
    made.push(this);
  }

  /** The next line it says. */
  async next(): Promise<unknown> {
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error('the other process died');
    return JSON.parse(value);
  }

  async ask(job: Job, at?: number): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify({ ...job, ...(at === undefined ? {} : { at }) })}\n`);
    await this.#child.stdin.flush();
    const answer = (await this.next()) as { ok?: unknown; error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.ok;
  }

  /** Says it without waiting for the answer. */
  tell(job: Job): void {
    this.#child.stdin.write(`${JSON.stringify(job)}\n`);
    this.#child.stdin.flush();
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#child.exited;
  }

  async *#read(): AsyncGenerator<string, undefined> {
    let rest = '';
    for await (const chunk of this.#child.stdout) {
      const lines = (rest + new TextDecoder().decode(chunk)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
    return undefined;
  }
}

/** Starts `count` processes on one home and waits until all of them listen. */
export async function otherProcesses(home: string, count: number): Promise<OtherProcess[]> {
  const started = Array.from({ length: count }, () => new OtherProcess(home));
  await Promise.all(started.map((each) => each.next()));
  return started;
}

/** Lets all of them do the same at the same instant; their answers in order. */
export async function race(processes: OtherProcess[], job: (i: number) => Job): Promise<unknown[]> {
  const at = Date.now() + 30;
  return Promise.all(processes.map((each, i) => each.ask(job(i), at)));
}
