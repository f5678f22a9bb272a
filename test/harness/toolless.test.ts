import { describe, expect, test } from 'bun:test';
import { claude } from '../../src/harness/claude.ts';
import { codex } from '../../src/harness/codex.ts';
import { gemini } from '../../src/harness/gemini.ts';
import { opencode } from '../../src/harness/opencode.ts';
import { NO_TOOLS } from '../../src/model/role.ts';
import { profileOf, turnOf, valuesOf } from './turn-spec.ts';

/** A role that grants nothing, whatever its profile would allow. */
const turn = turnOf({ tools: [NO_TOOLS], profile: profileOf({ permission_mode: 'bypassPermissions' }) });
const both = turnOf({ tools: [NO_TOOLS, 'Read'] });

describe('a role without tools', () => {
  test('claude: the model is offered none, and none is allowed', () => {
    const { args } = claude.command(turn);
    expect(valuesOf(args, '--tools')).toEqual(['']);
    expect(args).not.toContain('--allowed-tools');
    expect(claude.command(turnOf({ tools: [NO_TOOLS] })).args).not.toContain('--allowed-tools');
    expect(valuesOf(claude.command(both).args, '--tools')).toEqual(['none,Read']);
  });

  test('codex: its shell cannot change anything', () => {
    expect(valuesOf(codex.command(turn).args, '--sandbox')).toEqual(['read-only']);
    expect(valuesOf(codex.command(turnOf()).args, '--sandbox')).toEqual(['workspace-write']);
  });

  test('gemini: what would have to be confirmed is denied', () => {
    expect(valuesOf(gemini.command(turn).args, '--approval-mode')).toEqual(['default']);
    expect(valuesOf(gemini.command(turnOf()).args, '--approval-mode')).toEqual(['yolo']);
  });

  test('opencode: no edit, no shell, no other directory', () => {
    const config = JSON.parse(opencode.command(turn).env.OPENCODE_CONFIG_CONTENT ?? '{}');
    expect(config.permission).toEqual({ edit: 'deny', bash: 'deny', external_directory: 'deny' });
  });
});
