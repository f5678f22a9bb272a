import { expect, test } from 'bun:test';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { scrubber } from '../support/golden.ts';

const FIXTURES = join(import.meta.dir, '../fixtures/harness');

test('recorded streams hold no machine path, key or random id, and are small', () => {
  const files = globSync('*/*.{json,jsonl}', { cwd: FIXTURES });
  expect(files.length).toBeGreaterThan(100);
  for (const file of files) {
    const text = readFileSync(join(FIXTURES, file), 'utf8');
    const found =
      /\/(?:root|home\/(?!agent))\b|drover-test-homes|drover-harnesses|sk-dummy|127\.0\.0\.1:(?!18080)/.exec(text);
    expect([file, found?.[0]]).toEqual([file, undefined]);
    const ids = text.match(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g) ?? [];
    const random = ids.filter((id) => !id.startsWith('00000000-') && !id.startsWith('11111111-'));
    expect([file, random]).toEqual([file, []]);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(60 * 1024);
  }
});

test('every recorded stream is lines of JSON objects and has its facts beside it', () => {
  for (const file of globSync('*/*.jsonl', { cwd: FIXTURES })) {
    const lines = readFileSync(join(FIXTURES, file), 'utf8').split('\n');
    expect(lines.pop()).toBe('');
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ type: expect.any(String) });
    const facts = JSON.parse(readFileSync(join(FIXTURES, file.replace(/l$/, '')), 'utf8'));
    expect(Object.keys(facts)).toEqual(['exit_code', 'signal', 'stderr_tail', 'argv', 'extra_env', 'script']);
    expect([file, facts.exit_code === null]).toEqual([file, facts.signal !== null]);
  }
});

test('a scrubber gives the same id the same name and different ids different ones', () => {
  const places = { home: '/h', repo: '/h/repo', bin_dir: '/cache/x/bin', model_url: 'http://127.0.0.1:4711' };
  const scrub = scrubber(places);
  const [a, b] = [crypto.randomUUID(), crypto.randomUUID()];
  const out = scrub(`${a} ${b} ${a} /h/repo/f /h/.x http://127.0.0.1:4711/v1 /cache/x/node_modules`);
  const name = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;
  const paths = '/repo/f /home/agent/.x http://127.0.0.1:18080/v1 /opt/harness/node_modules';
  expect(out).toBe(`${name(1)} ${name(2)} ${name(1)} ${paths}`);
  expect(scrub(b)).toBe(name(2));
});
