import type { CampaignHome } from './home.ts';
import { type Found, hasOpen } from './processes.ts';
import type { LeaseFact } from './verdict.ts';

/** Watches a home while it is at war: who holds the lease, and whether anything has two owners at once. */
export class Lookout {
  readonly leases: LeaseFact[] = [];
  readonly sightings: string[] = [];
  readonly #home: CampaignHome;
  readonly #every_ms: number;
  #before = new Set<string>();
  #isOver = false;
  #watching: Promise<void> | null = null;

  constructor(home: CampaignHome, every_ms: number) {
    this.#home = home;
    this.#every_ms = every_ms;
  }

  start(): void {
    this.#watching = this.#watch();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#watching;
    this.noteLease();
  }

  async #watch(): Promise<void> {
    while (!this.#isOver) {
      this.look();
      await Bun.sleep(this.#every_ms);
    }
  }

  look(): void {
    this.noteLease();
    // What is just ending may still be seen beside its successor: only what is seen twice in a row counts.
    const now = new Set(doubles(this.#home.processes(), (pid) => hasOpen(pid, '/drover.db')));
    for (const each of now) if (this.#before.has(each) && !this.sightings.includes(each)) this.sightings.push(each);
    this.#before = now;
  }

  noteLease(): void {
    if (!this.#home.hasTables()) return;
    const [row] = this.#home.rows<{ fence: number; holder: string; taken_at: number }>(
      "SELECT fence, holder, taken_at FROM leases WHERE name = 'supervisor'",
    );
    const last = this.leases.at(-1);
    if (row === undefined) return;
    const pid = Number(row.holder.split(':')[0]);
    if (last?.fence === row.fence && last.pid === pid) return;
    this.leases.push({ fence: row.fence, pid, taken_at: row.taken_at });
  }
}

/** Sessions with two launchers or two turns at once, and supervisors past the lock that are more than one. */
export function doubles(found: readonly Found[], hasDatabase: (pid: number) => boolean): string[] {
  const said: string[] = [];
  const groups = new Map<string, Found[]>();
  for (const each of found) {
    if (each.kind !== 'launcher' && each.kind !== 'harness') continue;
    const key = `two ${each.kind}s of ${each.session}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  const pids = (list: readonly Found[]) =>
    list.map(({ identity, turn, parent }) => `${identity.pid} (turn ${turn}, of ${parent})`).join(' and ');
  for (const [key, list] of groups) {
    const ofKind = key.startsWith('two launchers') ? list : list.filter((each) => !hasParentIn(each, list));
    if (ofKind.length > 1) said.push(`${key}: ${pids(ofKind)}`);
  }
  const owners = found.filter(({ kind, identity }) => kind === 'supervisor' && hasDatabase(identity.pid));
  if (owners.length > 1) said.push(`two supervisors: ${pids(owners)}`);
  return said;
}

/** A harness's own children (a subshell about to become something else) are no second harness. */
function hasParentIn(each: Found, list: readonly Found[]): boolean {
  return list.some(({ identity, turn }) => identity.pid === each.parent && turn === each.turn);
}
