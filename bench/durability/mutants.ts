/**
 * `bun bench/durability/mutants.ts [--seeds N] [--only NAME]`: does the campaign see what it is there to see?
 *
 * A copy of drover as it is has to come through green; then every guard is taken out of a copy of its own, one at a time,
 * and the figures that stand for it have to turn red within a few seeds. Exit code 1 when the copy is not green, or when a
 * mutant survives; 2 for wrong arguments.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { exitCodeOf, parsed, wholeNumber, wrongUse } from './arguments.ts';
import { KILL_FIGURES } from './verdict.ts';

const ROOT = resolve(import.meta.dir, '../..');
const COPIED = ['src', 'bin', 'agents', 'templates', 'package.json'];

interface Edit {
  file: string;
  find: string;
  replace: string;
}

interface Mutant {
  name: string;
  /** A guard that stands twice is taken out in both places: one of them alone is enough. */
  edits: readonly Edit[];
  /** At least one of these turns red. */
  reddens: readonly string[];
}

const MUTANTS: readonly Mutant[] = [
  {
    name: 'nobody asks whether a word is about the turn in flight',
    edits: [
      {
        file: 'src/store/transition.ts',
        find: `const fence = rule.fenced ? ' AND turn = :fence' : '';`,
        replace: `const fence = rule.fenced ? ' AND :fence IS NOT NULL' : '';`,
      },
      {
        file: 'src/store/watch-act.ts',
        find: 'WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL AND end_cause IS :end_cause`,',
        replace: 'WHERE session_id = :session_id AND :turn > 0 AND ended_at IS NULL AND end_cause IS :end_cause`,',
      },
      {
        file: 'src/store/watch-act.ts',
        find: 'if (turn === null || (events !== null && turn.events !== events)) return null;',
        replace: 'if (turn === null || (events !== null && turn.events < 0)) return null;',
      },
    ],
    reddens: ['illegal_transitions'],
  },
  {
    name: 'a claim does not ask for the lease',
    edits: [
      {
        file: 'src/store/turn.ts',
        find: `"SELECT 1 FROM leases WHERE name = 'supervisor' AND fence = :fence"`,
        replace: `"SELECT 1 FROM leases WHERE name = 'supervisor' AND :fence IS NOT NULL"`,
      },
    ],
    reddens: ['double_owners'],
  },
  {
    name: 'mail counts as read when it is claimed',
    edits: [
      {
        file: 'src/store/mail.ts',
        find: `'UPDATE mail SET delivered_turn = :turn, deliveries = deliveries + 1 WHERE seq = :seq RETURNING *'`,
        replace: `'UPDATE mail SET delivered_turn = :turn, deliveries = deliveries + 1, read_at = 1 WHERE seq = :seq RETURNING *'`,
      },
    ],
    reddens: ['lost_mail', 'lost_tasks'],
  },
  {
    name: 'mail is not confirmed by every clean turn',
    edits: [
      {
        file: 'src/store/mail.ts',
        find: `if (how === 'confirm') {`,
        replace: `if (how === 'confirm' && turn % 3 !== 1) {`,
      },
    ],
    reddens: ['doubled_mail'],
  },
  {
    name: 'the end of a turn looks at its launcher and what descends from it alone',
    edits: [
      {
        file: 'src/sys/tree.ts',
        find: `this.#marked = turn.marker ? variable : null;`,
        replace: `this.#marked = turn.marker === variable ? variable : null;`,
      },
      {
        file: 'src/sys/tree.ts',
        find: `this.#group = turn.marker === null ? null : findGroup(turn.marker, turn.group ?? null);`,
        replace: `this.#group = turn.marker !== '' ? null : findGroup(turn.marker, turn.group ?? null);`,
      },
    ],
    reddens: ['orphans'],
  },
  {
    name: 'the offset is written before the events, in a transaction of its own',
    edits: [
      {
        file: 'src/store/ingest.ts',
        find: `  return store.write((tx) => batches.map((batch) => ingestOne(tx, batch, real_name)));`,
        replace: `  await store.write((tx) => {
    for (const { session_id, turn, from_offset, to_offset } of batches)
      tx.run(
        'UPDATE turns SET stdout_offset = :to_offset WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL AND stdout_offset = :from_offset',
        { session_id, turn, from_offset, to_offset },
      );
  });
  return store.write((tx) => batches.map((batch) => ingestOne(tx, { ...batch, from_offset: batch.to_offset }, real_name)));`,
      },
    ],
    reddens: ['lost_events'],
  },
  {
    name: 'a batch does not ask where the last one ended',
    edits: [
      {
        file: 'src/store/ingest.ts',
        find: `AND ended_at IS NULL AND stdout_offset = :from'`,
        replace: `AND ended_at IS NULL AND :from IS NOT NULL'`,
      },
    ],
    reddens: ['doubled_events', 'lost_events'],
  },
];

interface Outcome {
  name: string;
  seeds: number;
  red: string[];
  isRight: boolean;
}

/** Throws when a text is not there exactly once: then the mutant has to follow the code. */
function mutate(dir: string, { name, edits }: Mutant): void {
  for (const { file, find, replace } of edits) {
    const path = join(dir, file);
    const text = readFileSync(path, 'utf8');
    const count = text.split(find).length - 1;
    if (count !== 1) throw new Error(`${name}: ${file} has the text ${count} times, not once:\n${find}`);
    writeFileSync(
      path,
      text.replace(find, () => replace),
    );
  }
}

function copyInto(dir: string): void {
  mkdirSync(dir);
  for (const name of COPIED) cpSync(join(ROOT, name), join(dir, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
}

/** The small kill campaign against a copy; the figures that are not 0. */
async function redFigures(dir: string, seed: number): Promise<string[]> {
  const args = ['--small', '--json', '--only', 'kill', '--seed', String(seed), '--package', dir];
  const child = Bun.spawn([process.execPath, '--no-env-file', join(import.meta.dir, 'main.ts'), ...args], {
    ...{ stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  });
  const [text, complaint, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  try {
    const report = JSON.parse(text) as Record<string, unknown>;
    return KILL_FIGURES.filter((figure) => report[figure] !== 0).map((figure) => `${figure} ${report[figure]}`);
  } catch (error) {
    throw new Error(`the campaign against ${dir} gave no report (exit ${code}, ${error})\n${complaint.slice(-2_000)}`);
  }
}

/** Seed after seed until one of the named figures is red. */
async function hunt(dir: string, mutant: Mutant, seeds: number): Promise<Outcome> {
  let red: string[] = [];
  for (let seed = 1; seed <= seeds; seed += 1) {
    red = await redFigures(dir, seed);
    const isSeen = red.some((each) => mutant.reddens.includes(each.split(' ')[0] ?? ''));
    if (isSeen) return { name: mutant.name, seeds: seed, red, isRight: true };
  }
  return { name: mutant.name, seeds, red, isRight: false };
}

async function main(): Promise<number> {
  const { values } = parsed(() =>
    parseArgs({ options: { seeds: { type: 'string', default: '12' }, only: { type: 'string' } } }),
  );
  const seeds = wholeNumber('--seeds', values.seeds, 1);
  const chosen = [...MUTANTS.entries()].filter(([, { name }]) => name.includes(values.only ?? ''));
  if (chosen.length === 0)
    throw wrongUse(
      `no mutant ${JSON.stringify(values.only)}; there are:\n${MUTANTS.map((each) => `  ${each.name}`).join('\n')}`,
    );
  const place = realpathSync(mkdtempSync(join(tmpdir(), 'drover-mutants-')));
  const outcomes: Outcome[] = [];
  const tell = (outcome: Outcome) => {
    outcomes.push(outcome);
    const { name, seeds, red, isRight } = outcome;
    console.log(`${isRight ? 'ok  ' : 'BAD '} ${name}: ${red.join(', ') || 'all 0'} (seeds: ${seeds})`);
  };
  try {
    const plain = join(place, 'plain');
    copyInto(plain);
    if (values.only === undefined) {
      const red = await redFigures(plain, 1);
      tell({ name: 'drover as it is', seeds: 1, red, isRight: red.length === 0 });
    }
    for (const [i, mutant] of chosen) {
      const dir = join(place, `mutant-${i}`);
      copyInto(dir);
      mutate(dir, mutant);
      tell(await hunt(dir, mutant, seeds));
    }
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
  const bad = outcomes.filter(({ isRight }) => !isRight).length;
  console.log(bad === 0 ? 'mutants: every one is seen' : `mutants: ${bad} wrong`);
  return bad === 0 ? 0 : 1;
}

process.exit(await exitCodeOf('mutants', main));
