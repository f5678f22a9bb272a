import { systemClock } from '../sys/clock.ts';
import { rawBytes } from './output.ts';
import type { StepInput } from './script-schema.ts';
import type { Stage } from './stage.ts';

const HOUR_MS = 3_600_000;

/** What a harness must not do, but some do (garbage, hangs, orphans, deaths). */
export const faults = {
  print: ({ raw, base64, to }: StepInput<'print'>, { out }: Stage) =>
    out.bytes(base64 === undefined ? rawBytes(raw ?? '') : Buffer.from(base64, 'base64'), to),

  line: ({ bytes, to }: StepInput<'line'>, { out }: Stage) => out.line(bytes, to),

  flood: ({ events, bytes, to }: StepInput<'flood'>, { out }: Stage) => {
    for (let left = events; left > 0; left--) out.line(bytes, to);
  },

  /** Leaves a real process behind that outlives us; its pid is told as a status event. */
  daemon: ({ ms, setsid, stdout, clean_env }: StepInput<'daemon'>, { out }: Stage) => {
    const stdio = stdout === 'hold' ? 'inherit' : 'ignore';
    const child = Bun.spawn(['sleep', String(ms / 1000)], {
      stdin: 'ignore',
      stdout: stdio,
      stderr: stdio,
      detached: setsid,
      env: clean_env ? { PATH: process.env.PATH ?? '' } : process.env,
    });
    child.unref();
    out.event({ type: 'status', status: 'daemon', detail: String(child.pid) });
  },

  ignore_signals: ({ signals }: StepInput<'ignore_signals'>) => {
    for (const signal of signals) process.on(`SIG${signal}`, () => undefined);
  },

  hang: async ({ close_stdout }: StepInput<'hang'>, { out }: Stage) => {
    if (close_stdout) out.close();
    await forever();
  },

  linger: async ({ ms }: StepInput<'linger'>, stage: Stage) => {
    stage.close();
    await (ms === undefined ? forever() : systemClock.sleep(ms));
  },

  crash: async ({ signal }: StepInput<'crash'>) => {
    process.kill(process.pid, `SIG${signal}`);
    await forever();
  },
};

/** Until somebody ends us. */
async function forever(): Promise<never> {
  for (;;) await systemClock.sleep(HOUR_MS);
}
