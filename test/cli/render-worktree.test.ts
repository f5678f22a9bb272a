import { expect, test } from 'bun:test';
import { renderCleaned } from '../../src/cli/render-worktree.ts';

test('the command that gets rescued work back names a branch that git takes, whatever the session is called', () => {
  const saved = { ref: 'refs/drover/rescued/agent-a', commit: 'c', ignored_ref: null };
  const gone = { path: '/w', branch: null, branch_kept: null, nested: [], ignored: { files: 0, names: [], more: 0 } };
  const back = (name: string) => {
    const one = { ...gone, saved, name } as unknown as Parameters<typeof renderCleaned>[0]['removed'][number];
    return renderCleaned({ removed: [one], kept: [] } as unknown as Parameters<typeof renderCleaned>[0], false)
      .split('\n')
      .find((line) => line.includes('get it back'));
  };
  expect(back('build-1')).toBe('  get it back: git branch rescued-build-1 refs/drover/rescued/agent-a');
  expect(back('bad..name')).toBe('  get it back: git branch rescued-bad-name refs/drover/rescued/agent-a');
});
