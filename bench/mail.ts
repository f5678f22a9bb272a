import { join } from 'node:path';
import { send } from '../src/session/mail.ts';
import { getSession } from '../src/store/session.ts';
import { ring } from '../src/supervisor/ensure.ts';
import { atMost, type Figure, information } from './support/figure.ts';
import { median, percentile, until, wallMs } from './support/measure.ts';
import type { Scale } from './support/scale.ts';
import { stampAfter } from './support/stamp.ts';
import { openWorld, queueSession, runner, type World } from './support/world.ts';

/** From a stored mail to the first instruction of the turn that reads it. */
export async function benchMail({ small }: Scale): Promise<Figure[]> {
  const world = await openWorld((dir) => ({
    harness_runners: { stamp: runner('stamp.sh', [], { STAMP_FILE: join(dir, 'stamps') }) },
  }));
  await world.supervise();
  // A coordinator stays when its turn is over.
  const { id } = await queueSession(world, { role: 'coordinator', name: 'reader' });
  await ring(world.home);
  await waits(world, id);
  const rung: number[] = [];
  for (let i = 0; i < (small ? 40 : 200); i += 1) rung.push(await deliver(world, id, true));
  const lost: number[] = [];
  for (let i = 0; i < (small ? 5 : 20); i += 1) lost.push(await deliver(world, id, false));
  await world.close();
  const unit = 'ms';
  return [
    atMost(10, { name: 'mail to the next turn, p50', unit, product: median(rung), note: `${rung.length} mails` }),
    atMost(50, { name: 'the same, p99', unit, product: percentile(rung, 99) }),
    atMost(1_000, {
      name: 'with the doorbell lost, longest',
      unit,
      product: Math.max(...lost),
      note: `${lost.length} mails`,
    }),
    information({ name: 'with the doorbell lost, p50', unit, product: median(lost) }),
  ];
}

async function deliver(world: World, id: string, rings: boolean): Promise<number> {
  // Off the supervisor's beat, or its poll would always come at the same distance.
  await Bun.sleep(Math.random() * 50);
  await send(
    world.deps,
    { name: 'operator', session: null },
    { to: 'reader', subject: 'news', body: 'the gate is open' },
  );
  const stored = wallMs();
  const answer = rings ? ring(world.home) : null;
  const at = await stampAfter(join(world.dir, 'stamps'), stored);
  await answer;
  await waits(world, id);
  return at - stored;
}

/** Until the session is between turns and has nothing to read. */
async function waits({ store }: World, id: string): Promise<void> {
  await until('the session to be idle', async () => ((await getSession(store, id))?.state === 'idle' ? true : null));
}
