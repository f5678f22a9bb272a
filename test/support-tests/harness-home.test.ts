import { afterEach, expect, test } from 'bun:test';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type HarnessHome, makeHarnessHome } from '../support/harness-home.ts';

const homes: HarnessHome[] = [];
const URL = 'http://127.0.0.1:4711';

function make(...args: Parameters<typeof makeHarnessHome>): HarnessHome {
  const home = makeHarnessHome(...args);
  homes.push(home);
  return home;
}

afterEach(() => {
  for (const home of homes.splice(0)) home.remove();
});

test('a home for all CLIs names the loopback model in every setting and no other host', () => {
  const { home, env } = make(URL, '/opt/bin');
  const text = (name: string) => readFileSync(join(home, name), 'utf8');
  expect(Bun.TOML.parse(text('.codex/config.toml'))).toMatchObject({
    model_provider: 'scripted',
    model_providers: { scripted: { base_url: `${URL}/v1`, wire_api: 'responses' } },
    features: { plugins: false },
  });
  expect(JSON.parse(text('.config/opencode/opencode.json'))).toMatchObject({
    share: 'disabled',
    provider: { mock: { options: { baseURL: `${URL}/v1` } } },
  });
  expect(JSON.parse(text('.gemini/settings.json'))).toMatchObject({
    security: { auth: { selectedType: 'gemini-api-key' } },
  });
  expect([env.ANTHROPIC_BASE_URL, env.GOOGLE_GEMINI_BASE_URL]).toEqual([URL, URL]);
  const everything = [text('.codex/config.toml'), text('.config/opencode/opencode.json'), JSON.stringify(env)].join();
  expect(everything.match(/https?:\/\/[^"/]+/g)?.every((found) => found === URL)).toBe(true);
});

test('the environment holds nothing of the caller, and the home is private and apart from TMPDIR', () => {
  process.env.DROVER_TEST_LEAK = 'x';
  const { home, env } = make(URL, '/opt/bin', ['codex']);
  delete process.env.DROVER_TEST_LEAK;
  expect(Object.keys(env).sort()).toEqual(['HOME', 'LANG', 'OPENAI_API_KEY', 'PATH', 'TERM', 'TMPDIR']);
  expect(env.PATH?.startsWith('/opt/bin:')).toBe(true);
  expect(existsSync(join(home, '.gemini'))).toBe(false);
  expect(join(home, '.codex').startsWith(`${env.TMPDIR}/`)).toBe(false);
  for (let dir = home; dir !== '/'; dir = dirname(dir)) expect([dir, statSync(dir).mode & 0o002]).toEqual([dir, 0]);
});

test('removing a home leaves nothing; a model that is not on loopback is refused', () => {
  const home = make(URL, '/opt/bin');
  home.remove();
  expect(existsSync(home.home)).toBe(false);
  expect(() => makeHarnessHome('https://api.example.com', '/opt/bin')).toThrow('not a loopback model');
});
