import { describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fillTemplate } from '../../src/model/template.ts';
import { tempDir } from '../support/temp.ts';
import { only, rehearse } from './rehearse.ts';

const HEADER = '[drover] session solo-fix (agent-abc), turn 1, role solo';
const prompt = (...parts: string[]) => `${[HEADER, ...parts].join('\n\n---\n\n')}\n`;

function git(cwd: string, ...args: string[]): string {
  const env = { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' };
  const done = Bun.spawnSync(['git', ...args], { cwd, env, stdout: 'pipe', stderr: 'pipe' });
  if (done.exitCode !== 0) throw new Error(done.stderr.toString());
  return done.stdout.toString();
}

const noIdentity = {
  ...{ GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' },
  ...{ GIT_AUTHOR_NAME: undefined, GIT_AUTHOR_EMAIL: undefined },
  ...{ GIT_COMMITTER_NAME: undefined, GIT_COMMITTER_EMAIL: undefined },
};

describe('without a script (C-04)', () => {
  test('it says what it read, writes it down and commits that one file', async () => {
    const cwd = tempDir('default-script');
    git(cwd, 'init', '-q');
    writeFileSync(`${cwd}/mine.txt`, 'not to be committed by others');
    const { events, code } = await rehearse({
      cwd,
      prompt: prompt('a role', 'rules', 'Fix the {{prompt}} thing\nin detail'),
      env: noIdentity,
    });
    const note = 'Turn 1 of solo-fix read "Fix the {{prompt}} thing".';
    expect(only(events(), 'text')[0]?.text).toBe(note);
    expect(readFileSync(`${cwd}/REHEARSAL.md`, 'utf8')).toBe(`${note}\n`);
    expect(git(cwd, 'log', '--format=%an %s', '--name-only')).toBe(
      'Rehearsal Rehearsal of solo-fix, turn 1\n\nREHEARSAL.md\n',
    );
    expect(git(cwd, 'status', '--porcelain')).toBe('?? mine.txt\n');
    expect(only(events(), 'tool_result').some((event) => event.is_error)).toBe(false);
    expect(only(events(), 'result')).toMatchObject([{ ok: true, model_turns: 3 }]);
    expect(code).toBe(0);
  });

  test('outside of a repository it only writes', async () => {
    const { cwd, events } = await rehearse({ prompt: 'Just a task' });
    expect(existsSync(`${cwd}/REHEARSAL.md`)).toBe(true);
    expect(only(events(), 'tool_use').map((event) => event.tool)).toEqual(['Edit']);
  });

  test('a later turn with mail adds a line and a commit', async () => {
    const cwd = tempDir('default-script');
    git(cwd, 'init', '-q');
    await rehearse({ cwd, prompt: prompt('task'), env: noIdentity });
    const mail = '[MAIL] From: lead | Subject: s\n\n[body of mail-1 begins]\nhi\n[body of mail-1 ends]';
    await rehearse({ cwd, prompt: prompt(mail), env: { ...noIdentity, DROVER_TURN: '2' } });
    expect(readFileSync(`${cwd}/REHEARSAL.md`, 'utf8').split('\n')[1]).toBe('Turn 2 of solo-fix read 1 mail(s).');
    expect(git(cwd, 'rev-list', '--count', 'HEAD').trim()).toBe('2');
  });

  test('it reports when the filled reminder asks for a terminal mail, and only then (O-63)', async () => {
    const dir = tempDir('fake-drover');
    writeFileSync(`${dir}/drover`, `#!/bin/sh\necho "$@" >>'${dir}/calls'\n`);
    chmodSync(`${dir}/drover`, 0o755);
    const text = readFileSync(join(import.meta.dir, '../../templates/reminder.md'), 'utf8');
    const contract = fillTemplate(text, { types: 'merged or merge_failed', type: 'merged', parent: 'lead' });
    const env = { DROVER_BIN: `${dir}/drover` };
    await rehearse({ prompt: prompt('role', 'no contract', 'task'), env });
    expect(existsSync(`${dir}/calls`)).toBe(false);
    await rehearse({ prompt: prompt('role', contract, 'task'), env });
    expect(readFileSync(`${dir}/calls`, 'utf8')).toBe('done --summary=Turn 1 of solo-fix read "task".\n');
  });

  test('commit says so when there is nothing to commit, and keeps an identity that is configured', async () => {
    const cwd = tempDir('default-script');
    git(cwd, 'init', '-q');
    for (const [key, value] of [
      ['user.name', 'Somebody'],
      ['user.email', 'some@body'],
    ] as const)
      git(cwd, 'config', key, value);
    const steps = [
      { write: { path: 'a', content: '' } },
      { write: { path: 'b', content: '' } },
      { commit: '-m' },
      'commit',
    ];
    const { events } = await rehearse({ cwd, steps, env: noIdentity });
    expect(only(events(), 'tool_result').map((event) => event.is_error)).toEqual([false, false, false, true]);
    expect(git(cwd, 'log', '--format=%an <%ae> %s', '--name-only')).toBe('Somebody <some@body> -m\n\na\nb\n');
  });
});
