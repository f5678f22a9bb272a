import { hostileMailTest, hostileTextTest } from './hostile.ts';
import { hostileRepositoryTest } from './hostile-repository.ts';
import { RealHarness } from './support.ts';
import { troubleTests, usageLimitTest } from './trouble.ts';
import { driftTest, workTests } from './work.ts';

const real = RealHarness.forThisFile('gemini');

workTests(real, {
  mcp_name: (tool) => `mcp_drover_${tool}`,
  cost: false,
  denied: {
    profile: 'careful',
    heard: /not found/,
    recorded: ({ type, data }) => type === 'tool_result' && data.is_error === true,
  },
});
troubleTests(real, { first_event: '20s' });
usageLimitTest(real);
hostileTextTest(real, 'all');
hostileMailTest(real);
hostileRepositoryTest(real);
driftTest(real);
