import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CampaignHome } from '../durability/home.ts';

/** The branch that everything has to come together on. */
export const TARGET = 'main';
/** What no other line has: `ln-<author>-<turn>-<process>-<n>`. */
export const TOKEN = /ln-[a-z0-9]+-\d+-\d+-\d+/g;
/** The same for git. */
export const TOKEN_PATTERN = 'ln-[a-z0-9]+-[0-9]+-[0-9]+-[0-9]+';

interface Asked {
  stdin?: string;
  /** Exit codes that are an answer. */
  codes?: readonly number[];
}

/** What git says in the repository of the campaign; throws for a code that is no answer. */
export function gitText(home: CampaignHome, args: readonly string[], { stdin = '', codes = [0] }: Asked = {}): string {
  const done = Bun.spawnSync(['git', '-C', home.repo, ...args], {
    env: { ...home.env, ...AUTHOR },
    stdin: new TextEncoder().encode(stdin),
    maxBuffer: 1024 ** 3,
  });
  if (!codes.includes(done.exitCode)) throw new Error(`git ${args.join(' ')}: ${done.exitCode} ${done.stderr}`);
  return done.stdout.toString('latin1');
}

/** Who commits, for the harnesses too. */
export const AUTHOR = {
  ...{ GIT_AUTHOR_NAME: 'campaign', GIT_AUTHOR_EMAIL: 'campaign@localhost' },
  ...{ GIT_COMMITTER_NAME: 'campaign', GIT_COMMITTER_EMAIL: 'campaign@localhost' },
};

/** Files that everybody writes to, each with lines that nobody takes out. Answers the id of the commit. */
export function seedRepository(home: CampaignHome, files: number, lines: number): string {
  // What nothing points to any more is evidence: it must not be swept away.
  for (const [key, value] of [
    ['gc.auto', '0'],
    ['maintenance.auto', 'false'],
    ['user.name', 'campaign'],
    ['user.email', 'campaign@localhost'],
  ] as const)
    gitText(home, ['config', key, value]);
  gitText(home, ['branch', '-M', TARGET]);
  mkdirSync(join(home.repo, 'src'), { recursive: true });
  for (let file = 1; file <= files; file += 1) {
    const text = Array.from({ length: lines }, (_, n) => `ln-base-0-${file}-${n} of the beginning\n`).join('');
    writeFileSync(join(home.repo, 'src', `f${file}.txt`), text);
  }
  gitText(home, ['add', '-A']);
  gitText(home, ['commit', '-q', '-m', 'the beginning']);
  return gitText(home, ['rev-parse', 'HEAD']).trim();
}
