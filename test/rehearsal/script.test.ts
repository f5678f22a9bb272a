import { describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir } from '../support/temp.ts';
import { only, type Rehearsal, rehearse } from './rehearse.ts';

const says = (text: string) => `turns: [[{say: ${text}}]]`;
const said = ({ events }: Rehearsal) => only(events(), 'text').map((event) => event.text);

describe('where the script comes from (C-04)', () => {
  test('the option, then the variable, then the prompt, then the project; each beats the next', async () => {
    const cwd = tempDir('script-places');
    mkdirSync(`${cwd}/.drover`);
    for (const name of ['option', 'variable', 'prompt']) writeFileSync(`${cwd}/${name}.yaml`, says(name));
    writeFileSync(`${cwd}/.drover/rehearsal.yaml`, says('project'));
    const env = { DROVER_REHEARSAL_SCRIPT: 'variable.yaml' };
    const prompt = 'Do it.\n  rehearsal-script: prompt.yaml  \nNow.';
    expect(said(await rehearse({ cwd, env, prompt, args: ['--script', 'option.yaml'] }))).toEqual(['option']);
    expect(said(await rehearse({ cwd, env, prompt }))).toEqual(['variable']);
    expect(said(await rehearse({ cwd, prompt, env: { DROVER_REHEARSAL_SCRIPT: '' } }))).toEqual(['prompt']);
    expect(said(await rehearse({ cwd }))).toEqual(['project']);
  });

  test('a script in the prompt itself ends with its indentation; a later turn asks drover for the task it stood in', async () => {
    const cwd = tempDir('script-told');
    const task =
      'Do it.\n  rehearsal-script: |\n    turns:\n      - - say: one\n\n      - - say: two {{turn}}\n  Not this.';
    const first = await rehearse({ cwd, prompt: `${task}\nNor that.` });
    expect(said(first)).toEqual(['one']);
    const id = only(first.events(), 'session')[0]?.native_session_id ?? '';
    const drover = `${cwd}/drover`;
    const asked = `${cwd}/asked`;
    const answer = JSON.stringify({ session: { task } });
    writeFileSync(drover, `#!/bin/sh\nprintf '%s ' "$@" >> ${asked}\ncat <<'END'\n${answer}\nEND\n`, { mode: 0o755 });
    const env = { DROVER_BIN: drover, DROVER_SESSION_ID: 'agent-x', DROVER_TURN: '2' };
    const later = (args: string[], prompt = 'Some news.') => rehearse({ cwd, prompt, env, args });
    expect(said(await later(['--resume', id]))).toEqual(['two 2']);
    expect(readFileSync(asked, 'utf8')).toBe('show agent-x --json --quiet ');
    writeFileSync(`${cwd}/other.yaml`, says('other'));
    expect(said(await later(['--resume', id], 'rehearsal-script: other.yaml'))).toEqual(['other']);
    expect(said(await later(['--resume', 'another']))[0]).toContain('Some news.');
    expect(readFileSync(asked, 'utf8')).toBe('show agent-x --json --quiet ');
  });

  test('turn n plays entry n, and the last one again; on_mail takes the later turns', async () => {
    const turns = [[{ say: 'one' }], [{ say: 'two' }]];
    const turn = async (script: unknown, n: string) => said(await rehearse({ script, env: { DROVER_TURN: n } }));
    expect(await turn({ turns }, '1')).toEqual(['one']);
    expect(await turn({ turns }, '2')).toEqual(['two']);
    expect(await turn({ turns }, '7')).toEqual(['two']);
    expect(await turn({ turns, on_mail: [{ say: 'mail' }] }, '2')).toEqual(['two']);
    expect(await turn({ turns, on_mail: [{ say: 'mail' }] }, '3')).toEqual(['mail']);
    expect(said(await rehearse({ script: { turns } }))).toEqual(['one']);
  });

  test('holes are filled once; unknown ones stay', async () => {
    const header = '[drover] session solo-fix (agent-abc), turn 3, role solo';
    const mail =
      '[MAIL] From: lead | Subject: s\n\n[body of mail-1 begins]\nhi\n\n---\n\nthere {{turn}}\n[body of mail-1 ends]';
    const prompt = `${header}\n\n---\n\nthe task\n\n---\n\n${mail}`;
    const steps = [
      { say: '{{name}} {{turn}} {{task}} {{other}}' },
      { say: '{{mails}}' },
      { tool: { tool: 'T', input: { deep: ['{{turn}}'] } } },
      { say: '{{prompt}}' },
    ];
    const played = await rehearse({ steps, prompt, env: { DROVER_TURN: '3' } });
    expect(said(played)).toEqual(['solo-fix 3 the task {{other}}', mail, prompt]);
    expect(only(played.events(), 'tool_use')[0]?.input).toBe('{"deep":["3"]}');
    const named = await rehearse({ steps, prompt, env: { DROVER_AGENT_NAME: 'given' } });
    expect(said(named)[0]).toBe('given 1 the task {{other}}');
  });
});

describe('a bad script is one error and nothing else', () => {
  async function refusal(options: Parameters<typeof rehearse>[0]): Promise<string> {
    const { code, bytes, stderr } = await rehearse(options);
    expect([code, bytes().length, stderr().trimEnd().split('\n').length]).toEqual([2, 0, 1]);
    return stderr();
  }

  test('every problem is named with its place', async () => {
    const message = await refusal({
      script: {
        turns: [
          [{ say: 'x' }, { sya: 'x' }],
          [{ hang: { oops: 1 } }, { say: 1, think: 2 }, { sleep: -1 }, { crash: 'SEGV' }],
        ],
      },
    });
    for (const part of [
      'turns[0][1]: there is no step "sya"',
      'turns[1][0].hang: ',
      'turns[1][1]: a step is',
      'turns[1][2].sleep.ms',
      'turns[1][3].crash.signal',
    ]) {
      expect(message).toContain(part);
    }
  });

  test('also for a document of another shape, a missing file and text that is no YAML', async () => {
    expect(await refusal({ script: { turns: [] } })).toContain('turns');
    expect(await refusal({ script: { steps: [] } })).toContain('turns');
    expect(await refusal({ script: [] })).toContain('the document');
    expect(await refusal({ args: ['--script', 'nowhere.yaml'] })).toContain('nowhere.yaml cannot be read');
    const cwd = tempDir('bad-yaml');
    writeFileSync(`${cwd}/s.yaml`, 'turns: [');
    expect(await refusal({ cwd, args: ['--script', 's.yaml'] })).toContain('s.yaml cannot be read');
    const told = 'rehearsal-script: |\n  turns: [';
    expect(await refusal({ cwd, prompt: told })).toContain('The rehearsal script in the prompt cannot be read');
  });

  test('unknown and incomplete arguments are refused', async () => {
    expect(await refusal({ args: ['--yolo'] })).toContain('--yolo');
    expect(await refusal({ args: ['--resume'] })).toContain('--resume needs a value');
    expect(await refusal({ args: ['--max-turns', 'many'] })).toContain('--max-turns needs a number');
  });
});

test('--version prints the version of the package and reads nothing', async () => {
  const { bytes, code } = await rehearse({ args: ['--version'], env: { DROVER_REHEARSAL_SCRIPT: 'nowhere' } });
  const { version } = (await Bun.file(join(import.meta.dir, '../../package.json')).json()) as { version: string };
  expect([bytes().toString(), code]).toEqual([`${version}\n`, 0]);
});
