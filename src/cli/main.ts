import manifest from '../../package.json' with { type: 'json' };
import type { Globals } from './context.ts';
import { VERBS } from './verbs.ts';

/** Global options may stand before the verb and after it (O-91). */
interface Line {
  globals: Globals;
  verb: string | null;
  rest: string[];
}

function readLine(argv: readonly string[]): Line {
  const globals: Globals = { json: false, quiet: false, project: null };
  let verb: string | null = null;
  const rest: string[] = [];
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? '';
    if (word === '--') {
      rest.push(...argv.slice(i));
      break;
    }
    if (word === '--json') globals.json = true;
    else if (word === '--quiet') globals.quiet = true;
    else if (word === '--project') globals.project = argv[++i] ?? '.';
    else if (word.startsWith('--project=')) globals.project = word.slice('--project='.length);
    else if (verb === null && !word.startsWith('-')) verb = word;
    else rest.push(word);
  }
  return { globals, verb, rest };
}

function help(): string {
  const names = Object.entries(VERBS).filter(([, entry]) => !entry.hidden);
  const lines = names.map(([name, entry]) => `  ${name.padEnd(12)} ${entry.summary}`);
  return `drover ${manifest.version}: run coding agents headlessly

Usage: drover <verb> [options]

${lines.join('\n')}

Global options: --json (one object with schema_version), --project DIR, --quiet
\`drover <verb> --help\` shows options and examples.
Exit codes: 0 ok, 1 the work failed, 2 usage, 3 refused, 4 not found, 69 no supervisor, 70 a bug, 75 parked, 130 interrupted.`;
}

async function main(): Promise<number> {
  const line = readLine(process.argv.slice(2));
  if (line.verb === null) {
    if (line.rest.includes('--version') || line.rest.includes('-V')) {
      console.log(
        line.globals.json
          ? JSON.stringify({ schema_version: 1, ok: true, version: manifest.version })
          : manifest.version,
      );
      return 0;
    }
    const wantsHelp = line.rest.length === 0 || line.rest.includes('--help') || line.rest.includes('-h');
    console[wantsHelp ? 'log' : 'error'](help());
    return wantsHelp ? 0 : 2;
  }
  const [{ runVerb }] = await Promise.all([import('./run-verb.ts'), loadAhead(line.verb, line.rest)]);
  return runVerb(line.verb, line.rest, line.globals, manifest.version);
}

/** What will be asked for anyway, the files of the one beside those of the other. */
function loadAhead(name: string, rest: readonly string[]): Promise<unknown> {
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name]?.load() : null;
  return Promise.all([verb, rest.some((word) => word.startsWith('-')) ? import('./parse.ts') : null]);
}

process.exitCode = await main();
