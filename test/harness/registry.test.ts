import { expect, test } from 'bun:test';
import {
  canonicalHarness,
  detectHarness,
  findHarness,
  knownHarnesses,
  markerPaths,
  requestedHarness,
  resolveHarnessId,
} from '../../src/harness/registry.ts';
import { AppError } from '../../src/model/error.ts';
import { profileOf, runnerOf, turnOf } from './turn-spec.ts';

const ACME = { 'acme-runner': runnerOf({ program: 'acme-agent', project_markers: ['.acme'] }) };

test('aliases are canonicalised (E-004)', () => {
  expect(canonicalHarness('gemini-cli')).toBe('gemini');
  expect(canonicalHarness(' Claude-Code ')).toBe('claude');
  expect(canonicalHarness('factory-droid')).toBe('factory_droid');
  expect(canonicalHarness('factorydroid')).toBe('factory_droid');
  expect(canonicalHarness('  My-Thing ')).toBe('my-thing');
  expect(findHarness('gemini-cli', {}).id).toBe('gemini');
});

test('auto is found by the markers in the repository (E-005)', () => {
  expect(resolveHarnessId('auto', new Set(['.codex']), {})).toBe('codex');
  expect(resolveHarnessId('', new Set(['.codex']), {})).toBe('codex');
  expect(resolveHarnessId('auto', new Set(['.acme']), ACME)).toBe('acme-runner');
  expect(resolveHarnessId('Gemini-CLI', new Set(['.codex']), {})).toBe('gemini');
});

test('markers are tried in a fixed order and only what can be started is chosen (E-005)', () => {
  expect(detectHarness(new Set(['.gemini', '.codex', '.claude']), {})).toBe('claude');
  expect(detectHarness(new Set(['.gemini', '.opencode', '.codex']), {})).toBe('codex');
  expect(detectHarness(new Set(['.gemini', 'opencode.json']), {})).toBe('opencode');
  expect(detectHarness(new Set(['.cursor']), {})).toBe('claude');
  expect(detectHarness(new Set(['.cursor']), { Cursor: runnerOf() })).toBe('cursor');
  expect(detectHarness(new Set(['.acme', '.gemini']), ACME)).toBe('gemini');
  expect(detectHarness(new Set(), {})).toBe('claude');
});

test('the paths to look for include those of the config', () => {
  expect(markerPaths(ACME)).toContain('.acme');
  expect(markerPaths(ACME)).toContain('.windsurf');
});

test('the profile’s harness overrides the requested one (E-006)', () => {
  expect(requestedHarness('claude', profileOf({ agent: 'codex' }))).toBe('codex');
  expect(requestedHarness('claude', profileOf())).toBe('claude');
  expect(requestedHarness(null, null)).toBe('auto');
});

test('an unknown harness is refused with the known ones, never started with a bare task (in place of E-037)', () => {
  try {
    findHarness('nope', ACME);
    expect.unreachable();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    expect(error.code).toBe('unknown_harness');
    expect(error.kind).toBe('usage');
    expect(error.message).toBe('Unsupported agent type: nope');
    expect(error.details.hint).toContain('claude, codex, opencode, gemini, rehearsal, acme-runner');
  }
});

test('names of object properties are no harnesses', () => {
  for (const name of ['constructor', '__proto__', 'toString']) expect(() => findHarness(name, {})).toThrow(AppError);
});

test('every known harness can be found and speaks for itself (C-02)', () => {
  for (const id of knownHarnesses({})) {
    const harness = findHarness(id, {});
    expect(harness.id).toBe(id);
    expect(harness.parse('')).toBeNull();
    const first = harness.command(turnOf());
    expect([id, first.program, first.stdin.includes('review this change')]).toEqual([id, harness.program, true]);
    expect(first.args.join(' ')).not.toContain('review this change');
    const later = harness.command(turnOf({ turn: 2, native_session_id: 'native-7' })).args;
    expect([id, harness.bits.resume, later.includes('native-7')]).toEqual([id, true, true]);
  }
});
