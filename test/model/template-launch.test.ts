import { describe, expect, test } from 'bun:test';
import { handoffMail } from '../../src/model/handoff.ts';
import {
  type LaunchInput,
  launchReason,
  launchVariables,
  resolveTemplate,
  variablesOf,
} from '../../src/model/template-launch.ts';
import { checkTemplateShape, type LaunchTemplate } from '../../src/model/template-schema.ts';

const SOURCE = { id: 'agent-s', task: 'mend the fence', project: 'farm', task_group: 'fences', harness: 'codex' };
const INPUT: LaunchInput = { name: 'night_watch-crew', cwd: '/farm/barn', task: null, source: null, variables: {} };

function templateOf(raw: unknown): LaunchTemplate {
  const { template, issues } = checkTemplateShape(raw);
  if (template === null) throw new Error(JSON.stringify(issues));
  return template;
}

const resolved = (raw: unknown, input: Partial<LaunchInput> = {}) =>
  resolveTemplate(templateOf(raw), { ...INPUT, ...input });
const one = (more: object, input: Partial<LaunchInput> = {}) => {
  const [step] = resolved({ steps: [{ task: 'x', ...more }] }, input);
  if (step === undefined) throw new Error('no step');
  return step;
};

describe('variables (E-071)', () => {
  const of = (input: Partial<LaunchInput>) => Object.fromEntries(launchVariables({ ...INPUT, ...input }));

  test('without task and source there is neither task nor task_group', () => {
    expect(of({})).toEqual({ project: 'barn', cwd: '/farm/barn' });
  });

  test('a source gives its own four, and its task and project where nothing was said', () => {
    expect(of({ source: SOURCE })).toEqual({
      ...{ source_task: 'mend the fence', source_project: 'farm', source_task_group: 'fences', source_agent: 'codex' },
      ...{ task: 'mend the fence', task_group: 'mend the fence', project: 'farm', cwd: '/farm/barn' },
    });
  });

  test('the given task wins over the source’s; task_group is the label of that task', () => {
    expect(of({ source: SOURCE, task: '  paint it ' })).toMatchObject({
      ...{ source_task: 'mend the fence', task: '  paint it ', task_group: 'paint it' },
    });
  });

  test('what a person says always wins, over derived names as well', () => {
    const variables = { task: 'mine', source_agent: 'me', cwd: 'here', more: '1' };
    expect(of({ source: SOURCE, task: 'other', variables })).toMatchObject({ ...variables, task_group: 'other' });
  });
});

describe('resolution (E-072)', () => {
  test('no steps are an error', () => {
    expect(() => resolved({ steps: [] })).toThrow('template night_watch-crew has no steps');
  });

  test('all missing variables of all texts, each once, in order', () => {
    const raw = {
      ...{ description: '{{ zebra }}', group: '{{ ant }}' },
      steps: [{ task: '{{ cow }} {{cow}} {{ cwd }}' }, { name: '{{ bee }}', task: '{{ ant }}', profile: '{{ dog }}' }],
    };
    expect(variablesOf(templateOf(raw))).toEqual(['ant', 'bee', 'cow', 'cwd', 'dog', 'zebra']);
    try {
      resolved(raw);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({
        code: 'template_unfilled',
        message: 'template night_watch-crew has no value for ant, bee, cow, dog, zebra',
        details: { data: { missing: ['ant', 'bee', 'cow', 'dog', 'zebra'] } },
      });
    }
  });

  test('holes with and without blanks; a value opens no hole of its own', () => {
    const variables = { a: '{{ b }}', b: 'no' };
    expect(one({ task: '{{a}}|{{  a }}' }, { variables }).task).toBe('{{ b }}|{{ b }}');
  });

  test('a step without a name is `step <n>`; what it does not say its template says', () => {
    const shared = { agent: 'codex', profile: 'fast', role: 'builder', worktree: true, project: 'p', group: 'g' };
    const own = { agent: 'gemini', profile: 'slow', role: 'scout', worktree: false, project: 'q', group: 'h' };
    const [first, second] = resolved({ ...shared, steps: [{ task: 'x' }, { name: 'review', task: 'y', ...own }] });
    expect(first).toEqual({ name: 'step 1', task: 'x', ...shared, profile: { name: 'fast' } });
    expect(second).toEqual({ name: 'review', task: 'y', ...own, profile: { name: 'slow' } });
    expect(one({})).toMatchObject({ name: 'step 1', worktree: null, agent: null, role: null });
  });
});

describe('profile and harness (E-074)', () => {
  test('an explicit profile is taken, with and without a harness', () => {
    expect(one({ profile: 'fast' }).profile).toEqual({ name: 'fast' });
    expect(one({ profile: 'fast', agent: 'codex' }).profile).toEqual({ name: 'fast' });
  });

  test('a harness alone is without any profile; neither is the default one', () => {
    expect(one({ agent: 'codex' })).toMatchObject({ profile: 'none', agent: 'codex' });
    expect(one({ harness: 'codex' })).toMatchObject({ profile: 'none', agent: 'codex' });
    expect(one({})).toMatchObject({ profile: 'default', agent: null });
    const [step] = resolved({ agent: 'codex', steps: [{ task: 'x' }] });
    expect(step?.profile).toBe('none');
  });
});

describe('grouping (E-075)', () => {
  test('project: the step’s, else the source’s, else the name of the directory', () => {
    expect(one({ project: 'mine' }, { source: SOURCE }).project).toBe('mine');
    expect(one({}, { source: SOURCE }).project).toBe('farm');
    expect(one({}).project).toBe('barn');
  });

  test('group: the step’s, else the source’s, else the label of the task, else the template’s name in words', () => {
    expect(one({ group: 'mine' }, { source: SOURCE, task: 't' }).group).toBe('mine');
    expect(one({}, { source: SOURCE, task: 't' }).group).toBe('fences');
    expect(one({}, { task: ' paint it ' }).group).toBe('paint it');
    expect(one({}).group).toBe('night watch crew');
  });
});

describe('a handoff (E-076, E-083)', () => {
  const from = { ...SOURCE, name: 'lead', working_dir: '/farm', branch: null, worktree_path: null };

  test('says who assigns, from where and why, and carries the task', () => {
    const reason = launchReason('crew', { name: 'review' });
    const mail = handoffMail(from, 'look', reason);
    const context = 'Assigned by agent-s [codex] | cwd /farm | template crew | review';
    expect(mail).toMatchObject({ from_id: 'agent-s', type: 'task_handoff', priority: 'normal', body: context });
    expect(JSON.parse(mail.payload_json)).toEqual({ task: 'look', context, priority: 'normal' });
  });

  test('names the worktree of a sender that has one', () => {
    const { body } = handoffMail({ ...from, branch: 'drover/x', worktree_path: '/wt/x' }, 'look', 'because');
    expect(body).toBe('Assigned by agent-s [codex] | cwd /farm | worktree drover/x (/wt/x) | because');
  });
});

describe('the shape of a file', () => {
  const messages = (raw: unknown) =>
    checkTemplateShape(raw).issues.map(({ path, message }) => `${path.join('.')}: ${message}`);

  test('every mistake at once, by key', () => {
    expect(messages({ stpes: 1, steps: [{ tsak: 'x' }, { task: ' ', worktree: 'yes' }, 7] })).toEqual([
      'steps.0: task is missing',
      'steps.0.tsak: unknown key "tsak"; did you mean task?',
      'steps.1.task: a task must not be empty',
      'steps.1.worktree: must be true or false',
      'steps.2: a step is a mapping with at least a task',
      'stpes: unknown key "stpes"; did you mean steps?',
    ]);
    expect(messages([])).toEqual([': a template is a mapping with steps']);
    expect(messages({})).toEqual([': steps is missing']);
  });

  test('a harness is named once, a hole is a variable, braces are closed', () => {
    expect(messages({ steps: [{ task: 'x', agent: 'codex', harness: 'codex' }] })[0]).toContain('write one of them');
    expect(messages({ steps: [{ task: '{{ steps.a.output }}' }] })[0]).toContain('its holes are variables');
    expect(messages({ steps: [{ task: '{{ a {{ b }} }}' }] })[0]).toContain('a hole within a hole');
    expect(messages({ steps: [{ task: 'x\0y' }] })[0]).toContain('NUL');
  });
});
