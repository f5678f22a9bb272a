import { hostileMailTest, hostileTextTest } from './hostile.ts';
import { hostileRepositoryTest, plainClaudeTest } from './hostile-repository.ts';
import { RealHarness } from './support.ts';
import { troubleTests } from './trouble.ts';
import { driftTest, readOnlyRoleTest, workTests } from './work.ts';

const real = RealHarness.forThisFile('claude');

workTests(real, {
  mcp_name: (tool) => `mcp__drover__${tool}`,
  cost: true,
  denied: {
    profile: 'careful',
    heard: /haven't granted it/,
    recorded: ({ type, data }) => type === 'result' && String(data.denials) === 'Write',
  },
});
readOnlyRoleTest(real);
troubleTests(real, { first_event: '20s' });
hostileTextTest(real, 'all');
hostileMailTest(real);
hostileRepositoryTest(real);
plainClaudeTest(real);
driftTest(real);
