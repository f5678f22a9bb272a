import { allowEnvironment } from '../../harness/environment.ts';
import { type ScriptedHome, scriptedHome } from '../../harness/scripted-home.ts';
import { scriptedReply } from '../../harness/scripted-model.ts';
import type { Clock } from '../../model/clock.ts';
import type { Harness, TurnSpec } from '../../model/harness.ts';
import { newSecret } from '../../model/id.ts';
import { removeTree } from '../../sys/discard.ts';
import { privateDir, tailBytes, writePrivate } from '../../sys/files.ts';
import { launchTurn } from '../../sys/launch.ts';
import { scratchDirectory, serveLoopback } from '../../sys/loopback.ts';
import { killTree } from '../../sys/tree.ts';
import { readExit, turnFiles, turnProcesses } from '../../sys/turn-files.ts';

export interface ProbeInput {
  clock: Clock;
  harness: Harness;
  /** The executable. */
  path: string;
  /** Of the caller; next to nothing of it gets through. */
  env: Record<string, string | undefined>;
  /** PATH of the probe, as a turn would have it. */
  search_path: string;
  limit_ms: number;
}

/** What a CLI said in one short conversation with the scripted model. */
export interface Probed {
  /** Events by type, as our parser reads them. */
  seen: Record<string, number>;
  /** Names of events that the parser does not know. */
  unknown: string[];
  malformed: number;
  /** null: its stream ended without a result. */
  result: { ok: boolean; reason: string } | null;
  exit: { code: number | null; signal: string | null } | null;
  timed_out: boolean;
  /** How often it asked the model. */
  asked: number;
  needs_model: boolean;
  stderr_tail: string;
}

const PROMPT = 'Say ok.\n';
const MAX_STREAM = 4 * 1024 * 1024;
/** What a program needs to run at all; no credential, no proxy, no place of the user's settings. */
const ALLOWED = ['USER', 'LOGNAME', 'SHELL', 'LANG', 'LANGUAGE', 'LC_*', 'TZ'];

/**
 * Runs the CLI itself once, as a turn is run (same flags, same launcher, output into files), but in a home of its own
 * and with a model that is a script on loopback: no account, no paid call. Its processes are gone afterwards, and so is
 * its home. Null for a harness whose provider settings drover does not know. Throws what `launchTurn` throws.
 */
export async function probeHarness(input: ProbeInput): Promise<Probed | null> {
  let asked = 0;
  const server = serveLoopback((request) => {
    const reply = scriptedReply(request);
    if (reply.is_model_call) asked += 1;
    return reply;
  });
  try {
    const place = scriptedHome(input.harness.id, server.url);
    if (place === null) return null;
    const scratch = scratchDirectory(input.env.TMPDIR || '/tmp', 'drover-probe');
    try {
      const probed = await converse(input, place, scratch);
      return { ...probed, asked, needs_model: place.model !== null };
    } finally {
      removeTree(scratch);
    }
  } finally {
    await server.close();
  }
}

async function converse(
  input: ProbeInput,
  place: ScriptedHome,
  scratch: string,
): Promise<Omit<Probed, 'asked' | 'needs_model'>> {
  const { harness, clock } = input;
  const [home = '', cwd = '', dir = '', tmp = ''] = ['home', 'work', 'turn', 'tmp'].map((name) =>
    privateDir(`${scratch}/${name}`),
  );
  for (const [name, content] of Object.entries(place.files)) {
    privateDir(`${home}/${name}`.replace(/\/[^/]*$/, ''));
    writePrivate(`${home}/${name}`, content);
  }
  const command = harness.command(specOf({ home, cwd, dir, model: place.model }));
  for (const [name, content] of Object.entries(command.files)) writePrivate(`${dir}/${name}`, content);
  writePrivate(`${dir}/stdin`, command.stdin);
  const own = {
    PATH: input.search_path,
    HOME: home,
    TMPDIR: tmp,
    TERM: 'dumb',
    NO_PROXY: '127.0.0.1',
    GIT_TERMINAL_PROMPT: '0',
  };
  const env = { ...allowEnvironment(input.env, ALLOWED), ...own, ...command.env, ...place.env };
  const marker = newSecret();
  const { exited } = launchTurn({
    dir,
    program: input.path,
    args: command.args,
    cwd,
    env,
    stdin_path: `${dir}/stdin`,
    marker,
  });
  const ended = new AbortController();
  const isOver = exited.then(() => ended.abort());
  await clock.sleep(input.limit_ms, ended.signal);
  const timed_out = !ended.signal.aborted;
  await killTree(turnProcesses(dir, marker), { clock, grace_ms: 500 });
  await isOver;
  const exit = readExit(dir);
  const stderr_tail = tailBytes(turnFiles(dir).stderr, 2_000).toString('utf8').trim();
  return { ...streamOf(harness, dir), exit, timed_out, stderr_tail };
}

function streamOf(harness: Harness, dir: string): Pick<Probed, 'seen' | 'unknown' | 'malformed' | 'result'> {
  const seen: Record<string, number> = {};
  const unknown = new Set<string>();
  let malformed = 0;
  let result: Probed['result'] = null;
  const known = new Set(harness.known_events);
  for (const line of tailBytes(turnFiles(dir).stdout, MAX_STREAM).toString('utf8').split('\n')) {
    if (line.trim() === '') continue;
    const events = harness.parse(line);
    if (events === null) malformed += 1;
    for (const event of events ?? []) {
      seen[event.type] = (seen[event.type] ?? 0) + 1;
      if (event.type === 'custom' && !known.has(event.name)) unknown.add(event.name);
      if (event.type === 'result') result = { ok: event.ok, reason: event.reason };
    }
  }
  return { seen, unknown: [...unknown].sort(), malformed, result };
}

function specOf({ home, cwd, dir, model }: { home: string; cwd: string; dir: string; model: string | null }): TurnSpec {
  return {
    session_id: 'agent-probe',
    session_name: 'probe',
    turn: 1,
    prompt: PROMPT,
    prompt_path: `${dir}/stdin`,
    turn_dir: dir,
    cwd,
    git_common_dir: null,
    git_dir: null,
    profile: null,
    tools: [],
    model,
    native_session_id: null,
    max_turns: null,
    mcp: null,
    home,
  };
}
