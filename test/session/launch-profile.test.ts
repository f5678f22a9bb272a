import { expect, test } from 'bun:test';
import { resolve } from 'node:path';
import { claude } from '../../src/harness/claude.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { launchProfile } from '../../src/session/launch-profile.ts';
import { loadRole } from '../../src/session/roles.ts';
import { profileOf, turnOf, valuesOf } from '../harness/turn-spec.ts';

const at = { package_dir: resolve(import.meta.dir, '../..'), env: {} };
const sessionWith = (profile: unknown) =>
  ({ profile_json: profile === null ? null : JSON.stringify(profile) }) as SessionRow;

test('a role without tools of its own leaves the profile as it is (E-038)', () => {
  expect(launchProfile(sessionWith(null), loadRole(at, 'solo'))).toBeNull();
  const own = profileOf({ model: 'opus' });
  expect(launchProfile(sessionWith(own), loadRole(at, 'builder'))).toEqual(own);
});

test('a role that only reads is held to its tools, unless the profile names others (O-49)', () => {
  const reviewer = loadRole(at, 'reviewer');
  expect(launchProfile(sessionWith(null), reviewer)?.allowed_tools).toEqual(reviewer.tools);
  const own = profileOf({ allowed_tools: ['Read'] });
  expect(launchProfile(sessionWith(own), reviewer)?.allowed_tools).toEqual(['Read']);
  expect(launchProfile(sessionWith(null), { ...reviewer, model: 'haiku' })?.model).toBe('haiku');
  expect(launchProfile(sessionWith(profileOf({ model: 'opus' })), { ...reviewer, model: 'haiku' })?.model).toBe('opus');
});

test('claude: tools outside of the role are not offered to the model at all', () => {
  expect(valuesOf(claude.command(turnOf({ tools: ['Read', 'Bash'] })).args, '--tools')).toEqual(['Read,Bash']);
  expect(valuesOf(claude.command(turnOf()).args, '--tools')).toEqual([]);
});
