/** What the authors noted outside of the repository, one record a line. */
export interface Ledger {
  /** Stood in a file of a working tree. Token → what was noted. */
  wrote: ReadonlyMap<string, string>;
  /** A commit with it had returned. */
  committed: ReadonlyMap<string, string>;
  /** Its own author was about to take it out. */
  gone: ReadonlySet<string>;
  turns: number;
}

/** Where lines are when all is over. */
export interface Places {
  /** Every commit there ever was, whether anything points to it or not. */
  commits: ReadonlySet<string>;
  target: ReadonlySet<string>;
  incidents: ReadonlySet<string>;
  rescued: ReadonlySet<string>;
  branches: ReadonlySet<string>;
  /** Working trees: only for lines that nobody has committed. */
  disk: ReadonlySet<string>;
}

export interface LineFigures {
  /** All that any commit ever held, without those that their own author took out for good. */
  lines_committed: number;
  /** Each line counts where it is found first, in this order. */
  in_target: number;
  in_incidents: number;
  in_rescued: number;
  on_branches: number;
  removed_by_author: number;
  lost: string[];
  /** Written and in no commit of its author's. */
  lines_uncommitted: number;
  uncommitted_lost: string[];
}

/** Records of other kinds and one that a kill has cut off are passed over. */
export function parseLedger(text: string): Ledger {
  const ledger = { wrote: new Map<string, string>(), committed: new Map<string, string>(), gone: new Set<string>() };
  let turns = 0;
  for (const line of text.split('\n').slice(0, -1)) {
    const [kind, , , first = '', ...rest] = line.split(' ');
    if (kind === 'turn') turns += 1;
    else if (kind === 'wrote') ledger.wrote.set(first, line);
    else if (kind === 'gone') ledger.gone.add(first);
    else if (kind === 'committed') for (const token of rest) ledger.committed.set(token, line);
  }
  return { ...ledger, turns };
}

/** Pure. A line is lost when it is nowhere and its own author has not taken it out. */
export function judgeLines(ledger: Ledger, places: Places): LineFigures {
  const figures = { in_target: 0, in_incidents: 0, in_rescued: 0, on_branches: 0, removed_by_author: 0 };
  const lost: string[] = [];
  const committed = new Set([...ledger.committed.keys(), ...places.commits]);
  for (const token of committed) {
    const place = placeOf(token, places);
    // A commit that was killed before its branch moved has committed nothing: the line is where it was, in its file.
    if (place === null && !ledger.committed.has(token) && places.disk.has(token)) {
      committed.delete(token);
      continue;
    }
    if (place !== null) figures[place] += 1;
    else if (ledger.gone.has(token)) figures.removed_by_author += 1;
    else lost.push(ledger.committed.get(token) ?? ledger.wrote.get(token) ?? `${token}: only a commit knows it`);
  }
  const written = [...ledger.wrote.keys()];
  const uncommitted = written.filter((token) => !committed.has(token) && !ledger.gone.has(token));
  const homeless = uncommitted.filter((token) => placeOf(token, places) === null && !places.disk.has(token));
  return {
    lines_committed: committed.size - figures.removed_by_author,
    ...figures,
    lost,
    lines_uncommitted: uncommitted.length,
    uncommitted_lost: homeless.map((token) => ledger.wrote.get(token) ?? token),
  };
}

function placeOf(token: string, { target, incidents, rescued, branches }: Places) {
  if (target.has(token)) return 'in_target';
  if (incidents.has(token)) return 'in_incidents';
  if (rescued.has(token)) return 'in_rescued';
  return branches.has(token) ? 'on_branches' : null;
}

/** Holders that found a living one in their place, and how often anybody held anything. */
export function judgeHolds(text: string): { double_reservations: string[]; holds: number } {
  const lines = text.split('\n').slice(0, -1);
  return {
    double_reservations: lines.filter((line) => line.startsWith('double ')),
    holds: lines.filter((line) => line.startsWith('hold ')).length,
  };
}
