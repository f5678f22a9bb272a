import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { AppError } from '../../src/model/error.ts';
import { type CAPABILITIES, NO_TOOLS, type Role, terminalMailOf } from '../../src/model/role.ts';
import { parseRolePage } from '../../src/model/role-page.ts';

const AGENTS = join(import.meta.dir, '../../agents');

function problemsOf(text: string, name = 'x'): string {
  try {
    parseRolePage(text, name);
  } catch (error) {
    if (error instanceof AppError && error.code === 'role_page_invalid' && error.exitCode === 2) return error.message;
    throw error;
  }
  throw new Error('it was accepted');
}

const page = (matter: string, body = 'Do it.') => `---\n${matter}\n---\n${body}\n`;

describe('parseRolePage (O-64)', () => {
  test('a page in the shape of Claude Code, with our keys', () => {
    const text = page(
      'name: worker\ndescription: Works.\ntools: Read, Grep , Bash\nmodel: sonnet\nterminal-mail: [worker_done, result]\ncan: [sling]\ncolor: red',
      '\nFirst.\n\n---\n\nSecond.\n',
    );
    expect(parseRolePage(text, 'worker')).toEqual({
      name: 'worker',
      description: 'Works.',
      is_persistent: false,
      terminal_mail: ['worker_done', 'result'],
      can: ['sling'],
      tools: ['Read', 'Grep', 'Bash'],
      model: 'sonnet',
      prompt: 'First.\n\n---\n\nSecond.',
      version: expect.stringMatching(/^worker@[0-9a-f]{8}$/),
    });
  });

  test('only a description and a text are required', () => {
    const role = parseRolePage(page('description: Works.'), 'my-role');
    expect(role).toMatchObject({
      name: 'my-role',
      is_persistent: false,
      terminal_mail: [],
      can: [],
      tools: [],
      model: null,
    });
    expect(parseRolePage(page('description: Works.\nmodel: inherit\ntools: [A, B, A]'), 'x')).toMatchObject({
      model: null,
      tools: ['A', 'B'],
    });
  });

  test('the version follows the text (O-34)', () => {
    const version = (body: string) => parseRolePage(page('description: d', body), 'x').version;
    expect(version('a')).toBe(version('a'));
    expect(version('a')).not.toBe(version('b'));
  });

  test('Windows line ends and a byte order mark do not matter', () => {
    const text = `\uFEFF${page('description: d', 'one\ntwo').replaceAll('\n', '\r\n')}`;
    expect(parseRolePage(text, 'x')).toMatchObject({ description: 'd', prompt: 'one\ntwo' });
  });

  test('a page without front matter, description, text or with broken YAML is refused', () => {
    expect(problemsOf('Just text.')).toContain('front matter');
    expect(problemsOf('---\ndescription: d\nno end')).toContain('front matter');
    expect(problemsOf(page('name: x'))).toContain('description: must be text');
    expect(problemsOf(page('description: d', ' \n '))).toContain('no text below');
    expect(problemsOf(page('description: ['))).toContain('not YAML');
    expect(problemsOf(page('- a\n- b'))).toContain('key: value');
    expect(problemsOf(page('description: d', 'x'.repeat(70_000)))).toContain('longer than');
  });

  test('wrong values are named, all of them at once', () => {
    const text = page(
      'description: d\npersistent: "yes"\nterminal-mail: [worker_dun]\ncan: [deploy]\ntools: 7\nmodel: 3',
    );
    const message = problemsOf(text);
    for (const part of ['persistent: must be', '"worker_dun"', '"deploy"', 'tools: must be', 'model: must be']) {
      expect(message).toContain(part);
    }
  });

  test('a right or a contract is not lost to a spelling', () => {
    expect(problemsOf(page('description: d\nterminal_mail: [result]'))).toContain(
      'terminal_mail: is spelled terminal-mail',
    );
    expect(problemsOf(page('description: d\nPersistent: true'))).toContain('is spelled persistent');
  });

  test('mail that only drover writes cannot end a contract', () => {
    expect(problemsOf(page('description: d\nterminal-mail: [worker_died]'))).toContain('"worker_died"');
  });

  test('a persistent role has no terminal mail', () => {
    expect(problemsOf(page('description: d\npersistent: true\nterminal-mail: [result]'))).toContain(
      'never ends by mail',
    );
  });

  test('a page says its own name or none, because sessions find it by the name', () => {
    expect(problemsOf(page('name: other\ndescription: d'))).toContain('says other');
    expect(problemsOf(page('name: Big One\ndescription: d'))).toContain('is not a name');
    expect(problemsOf(page('description: d'), '../x')).toContain('is not a name');
  });
});

describe('the pages in agents/ (O-49, O-64)', () => {
  const roles = new Map<string, Role>(
    readdirSync(AGENTS)
      .filter((file) => file.endsWith('.md'))
      .map((file) => [file.slice(0, -3), parseRolePage(readFileSync(join(AGENTS, file), 'utf8'), file.slice(0, -3))]),
  );
  const role = (name: string) => {
    const found = roles.get(name);
    if (found === undefined) throw new Error(`no page ${name}`);
    return found;
  };
  const persistent = ['coordinator', 'monitor', 'orchestrator'];
  const workers = ['builder', 'lead', 'reviewer', 'scout'];

  test('are these ten, and the default is one of them', () => {
    const others = ['merger', 'triage', DEFAULT_CONFIG.default_role];
    expect([...roles.keys()].sort()).toEqual([...persistent, ...workers, ...others].sort());
  });

  test('coordinator, orchestrator and monitor live on; all others are for one task (O-49, O-89)', () => {
    expect(
      [...roles.values()]
        .filter((each) => each.is_persistent)
        .map((each) => each.name)
        .sort(),
    ).toEqual(persistent);
    for (const name of persistent) expect(terminalMailOf(role(name), true)).toEqual([]);
  });

  test('workers end by worker_done or result, the merger by merged or merge_failed (O-49)', () => {
    for (const name of workers)
      expect([name, terminalMailOf(role(name), false)]).toEqual([name, ['worker_done', 'result']]);
    expect(terminalMailOf(role('merger'), true)).toEqual(['merged', 'merge_failed']);
  });

  test('solo owes nothing to a person, and the usual report to a parent (MODEL §2.6 note 2)', () => {
    expect(terminalMailOf(role('solo'), false)).toEqual([]);
    expect(terminalMailOf(role('solo'), true)).toEqual(['worker_done', 'result']);
  });

  test('only those who lead may start or stop sessions', () => {
    const can = (capability: (typeof CAPABILITIES)[number]) =>
      [...roles.values()]
        .filter((each) => each.can.includes(capability))
        .map((each) => each.name)
        .sort();
    expect(can('sling')).toEqual(['coordinator', 'lead', 'orchestrator']);
    expect(can('stop')).toEqual(['coordinator', 'lead', 'orchestrator']);
    expect(can('nudge')).toEqual(['coordinator', 'lead', 'monitor', 'orchestrator']);
  });

  test('have no holes, no line that a CLI would take for a command, and fit on a page', () => {
    for (const each of roles.values()) {
      expect(each.prompt).not.toContain('{{');
      expect(each.prompt).toMatch(/^[A-Z]/);
      expect(each.prompt.length).toBeLessThan(4000);
      expect(each.description).not.toContain('\n');
    }
  });

  test('roles that must not edit have no editing tool, and can still send mail', () => {
    for (const name of ['coordinator', 'monitor', 'orchestrator', 'reviewer', 'scout']) {
      expect([name, role(name).tools.some((tool) => /^(Write|Edit|NotebookEdit)$/.test(tool))]).toEqual([name, false]);
      expect(role(name).tools).toContain('mcp__drover');
    }
  });

  test('who gives a second opinion has no tool and no right, and owes nothing but its answer', () => {
    expect(role('triage')).toMatchObject({ tools: [NO_TOOLS], can: [], terminal_mail: [], is_persistent: false });
  });

  test('every page with a contract tells how to fulfil it', () => {
    for (const each of roles.values()) {
      for (const type of each.name === 'merger' ? each.terminal_mail : []) expect(each.prompt).toContain(`\`${type}\``);
      if (workers.includes(each.name)) expect(each.prompt).toContain('`done`');
      expect(each.prompt).toMatch(/[Mm]ail/);
    }
  });
});
