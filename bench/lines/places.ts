import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CampaignHome } from '../durability/home.ts';
import type { Places } from './judge.ts';
import { gitText, TARGET, TOKEN, TOKEN_PATTERN } from './repository.ts';

const RESCUED = 'refs/drover/rescued';

/** Looks everywhere; nothing of drover's is asked, only git, the rows and the files. */
export function placesOf(home: CampaignHome): Places {
  return {
    commits: inEveryCommit(home),
    target: inTrees(home, [`refs/heads/${TARGET}`]),
    incidents: inIncidents(home),
    rescued: inTrees(home, refsUnder(home, RESCUED)),
    branches: inTrees(home, refsUnder(home, 'refs/heads')),
    disk: new Set([home.repo, join(home.state, 'worktrees')].flatMap((dir) => inFiles(dir))),
  };
}

function tokensIn(text: string): Set<string> {
  return new Set(text.match(TOKEN));
}

function refsUnder(home: CampaignHome, prefix: string): string[] {
  return gitText(home, ['for-each-ref', '--format=%(refname)', prefix]).split('\n').slice(0, -1);
}

/** What the trees of these refs hold now: a line that only their history knows is not there. */
function inTrees(home: CampaignHome, refs: readonly string[]): Set<string> {
  if (refs.length === 0) return new Set();
  // 1: nothing found.
  return tokensIn(gitText(home, ['grep', '-h', '-o', '-E', TOKEN_PATTERN, ...refs, '--'], { codes: [0, 1] }));
}

/** Also of commits that no ref and no reflog leads to: all that git has ever stored here. */
function inEveryCommit(home: CampaignHome): Set<string> {
  const all = gitText(home, ['cat-file', '--batch-all-objects', '--batch-check=%(objecttype) %(objectname)']);
  const commits = all.split('\n').filter((line) => line.startsWith('commit '));
  const stdin = commits.map((line) => `${line.slice('commit '.length)}\n`).join('');
  const objects = gitText(
    home,
    ['rev-list', '--objects', '--no-object-names', '--filter=object:type=blob', '--stdin'],
    {
      stdin,
    },
  );
  return tokensIn(gitText(home, ['cat-file', '--batch'], { stdin: objects }));
}

/** Incidents, and what a merge said it has left out or could not bring together. */
function inIncidents(home: CampaignHome): Set<string> {
  const hasTables = home.rows("SELECT 1 FROM sqlite_schema WHERE name = 'incidents'").length > 0;
  if (!hasTables) return new Set();
  const incidents = home.rows<object>('SELECT summary, prediction_json FROM incidents');
  const merges = home.rows<object>('SELECT missing_json FROM merges WHERE missing_json IS NOT NULL');
  return tokensIn(JSON.stringify([...incidents, ...merges]));
}

function inFiles(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.name === '.git') return [];
    if (entry.isDirectory()) return inFiles(path);
    return entry.isFile() ? [...tokensIn(readFileSync(path, 'latin1'))] : [];
  });
}
