import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { checkConfig, mergeConfig } from '../../src/model/config-schema.ts';
import { AppError } from '../../src/model/error.ts';
import { fillTemplate } from '../../src/model/template.ts';

const TEMPLATES = join(import.meta.dir, '../../templates');
const read = (name: string) => readFileSync(join(TEMPLATES, name), 'utf8');

function failure(run: () => string): string {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError && error.kind === 'bug' && error.code === 'template_unfilled') return error.message;
    throw error;
  }
  throw new Error('it was filled');
}

describe('fillTemplate (O-63)', () => {
  test('fills every hole, also the same one twice', () => {
    expect(fillTemplate('{{a}} and {{b_2}}, {{a}}', { a: 'x', b_2: 'y' })).toBe('x and y, x');
    expect(fillTemplate('nothing to fill { } {', {})).toBe('nothing to fill { } {');
    expect(fillTemplate('[{{a}}]', { a: '' })).toBe('[]');
  });

  test('a value goes in as it is: no second expansion, no replacement pattern', () => {
    expect(fillTemplate('{{a}}{{b}}', { a: '{{b}}', b: '{{a}}' })).toBe('{{b}}{{a}}');
    expect(fillTemplate('[{{a}}]', { a: "$& $1 $' $`" })).toBe("[$& $1 $' $`]");
  });

  test('a hole without a value and a value without a hole are errors that name it', () => {
    expect(failure(() => fillTemplate('{{a}} {{b}}', { a: '1' }))).toContain('no value for {{b}}');
    expect(failure(() => fillTemplate('{{a}}', { a: '1', c: '2' }))).toContain('no hole for {{c}}');
    expect(failure(() => fillTemplate('{{toString}}', {}))).toContain('{{toString}}');
    expect(failure(() => fillTemplate('{{constructor}}', {}))).toContain('{{constructor}}');
  });

  test('what looks like a hole but is none is an error', () => {
    for (const text of ['{{ a }}', '{{A}}', '{{}}', '{{a', 'a}}', '{{a b}}']) {
      expect(failure(() => fillTemplate(text, {}))).toContain('does not fit');
    }
  });
});

describe('the texts in templates/', () => {
  const holes = (name: string) =>
    [...new Set([...read(name).matchAll(/\{\{(.*?)\}\}/g)].map((match) => match[1]))].sort();
  const expected: Record<string, string[]> = {
    'brief.md': ['contract', 'name', 'parent'],
    'reminder.md': ['parent', 'type', 'types'],
    'interruption.md': ['branch', 'commits', 'dirty', 'in_progress', 'reason'],
    'resume.md': [],
    'recover.md': [],
    'nudge.md': [],
    'patrol.md': [],
    'triage.md': [
      ...['evidence', 'facts', 'harness', 'ladder', 'name', 'role', 'task', 'transcript', 'turn', 'verdict'],
    ],
  };

  test('exist with exactly the holes their callers fill', () => {
    for (const [name, names] of Object.entries(expected)) {
      expect([name, holes(name)]).toEqual([name, names]);
      const values = Object.fromEntries(names.map((key) => [key, `<${key}>`]));
      expect(fillTemplate(read(name), values)).not.toContain('{{');
    }
    const known = readdirSync(TEMPLATES).filter((name) => name.endsWith('.md') && name in expected);
    expect(known.length).toBe(Object.keys(expected).length);
  });

  test('a nudge says one fixed sentence (O-75)', () => {
    expect(read('nudge.md').trim()).toBe('Check your mail inbox for new messages.');
  });

  test('no prompt begins with a sign that a CLI takes for a command', () => {
    for (const name of Object.keys(expected)) expect(read(name)).toMatch(/^[A-Z]/);
  });
});

describe('templates/config.yaml (O-87)', () => {
  const text = read('config.yaml');

  /** The comment signs taken off every line that holds a setting, without the examples. */
  function uncommented(): unknown {
    const lines = text.split('\n').flatMap((line) => /^# ?(\s*(?:# )?[a-z_]+:.*)$/.exec(line)?.[1] ?? []);
    const settings = lines.join('\n');
    const examples = settings.indexOf('profiles: {}');
    return Bun.YAML.parse(settings.slice(0, examples).replace('default_profile: careful', ''));
  }

  /** The three examples, each from its heading to the next one. */
  function example(key: string): unknown {
    const blocks = text.split(/\n\n/).filter((block) => block.includes(`# ${key}: {}`));
    const body = (blocks[0] ?? '').split(`# ${key}: {}\n#\n`)[1] ?? '';
    return Bun.YAML.parse(body.replace(/^# ?/gm, ''));
  }

  test('as written it changes nothing', () => {
    expect(Bun.YAML.parse(text) ?? {}).toEqual({});
  });

  test('what it shows as defaults are the defaults, and none is left out', () => {
    const raw = uncommented();
    const { file, issues, warnings } = checkConfig(raw, 'user');
    expect([issues, warnings]).toEqual([[], []]);
    expect(mergeConfig(file, null)).toEqual(DEFAULT_CONFIG);
    const shown = raw as Record<string, Record<string, unknown>>;
    for (const group of ['turn', 'watchdog', 'limits'] as const) {
      expect(Object.keys(shown[group] ?? {}).sort()).toEqual(Object.keys(DEFAULT_CONFIG[group]).sort());
    }
    for (const key of Object.keys(DEFAULT_CONFIG)) expect(text).toMatch(new RegExp(`^# ${key}:`, 'm'));
    for (const key of Object.keys(DEFAULT_CONFIG.worktree)) expect(text).toMatch(new RegExp(`^# .*\\b${key}:`, 'm'));
  });

  test('its examples are valid where they may stand (E-022, E-033)', () => {
    for (const [key, scope] of [
      ['profiles', 'project'],
      ['groups', 'project'],
      ['harness_runners', 'user'],
    ] as const) {
      const raw = example(key);
      expect(Object.keys(raw as object)).toEqual([key]);
      const { file, issues } = checkConfig(raw, scope);
      expect([key, issues]).toEqual([key, []]);
      expect(mergeConfig(file, null)[key]).not.toEqual({});
    }
  });
});
