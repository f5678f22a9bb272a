import { expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { droverBench } from '../support/drover.ts';
import { untilState } from '../support/peek.ts';

const [ESC, BELL, C1] = ['\u001b', '\u0007', '\u009d'];
/** Sets the clipboard, forges a title, clears the screen, turns the line around. */
const EVIL = `evil ${ESC}]52;c;cHduZWQ=${BELL}${ESC}[2J${C1}0;x${BELL}\u202e end`;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

test('no verb passes on what an agent or a repository says to the terminal: text is data (CX-39)', async () => {
  const bench = droverBench();
  mkdirSync(join(bench.repo, '.drover'));
  writeFileSync(join(bench.repo, '.drover/config.yaml'), JSON.stringify({ [EVIL]: 1 }));
  const script = { turns: [[{ say: EVIL }, { think: EVIL }, { run: 'true' }, { result: { text: EVIL } }]] };
  const task = `${EVIL}\nrehearsal-script: ${bench.script('evil', script)}`;
  const sling = ['sling', '--harness', 'rehearsal', '--name', 'evil'];
  const said = [await bench.run([...sling, '--follow', '-'], { stdin: task })];
  await untilState(bench, 'evil', 'completed');
  await bench.run(['mail', 'send', '--to', 'operator', '--subject', 'evil', '--body', EVIL]);
  for (const words of [
    ['wait', 'evil'],
    ['status', '--all'],
    ['show', 'evil'],
    ['logs', 'evil'],
    ['mail', 'list'],
    ['worktree', 'list'],
    ['report', '--format', 'md'],
    ['nudge', 'evil', EVIL],
    ['stop', EVIL],
    ['sling', '--harness', EVIL, 'x'],
    ['clean', '--dry-run', 'evil'],
  ])
    said.push(await bench.run(words));
  const words = said.map(({ stdout, stderr }) => `${stdout}${stderr}`);
  // It has been there to be passed on.
  for (const [i, text] of words.slice(0, 2).entries()) expect([i, text]).toEqual([i, expect.stringContaining('evil')]);
  expect(words[0]).toContain('warning: ');
  for (const text of words) expect(text).not.toMatch(CONTROL);
}, 60_000);
