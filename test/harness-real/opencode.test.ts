import { hostileTextTest } from './hostile.ts';
import { hostileRepositoryTest, untrustedRepositoryTest } from './hostile-repository.ts';
import { RealHarness } from './support.ts';
import { troubleTests, usageLimitTest } from './trouble.ts';
import { driftTest, workTests } from './work.ts';

const real = RealHarness.forThisFile('opencode');

workTests(real, {
  mcp_name: (tool) => `drover_${tool}`,
  cost: true,
  denied: {
    profile: 'plan',
    heard: /unavailable tool|not found|denied/i,
    recorded: ({ type, data }) => type === 'tool_result' && data.is_error === true,
  },
});
troubleTests(real, { first_event: '12s' });
usageLimitTest(real);
hostileTextTest(real, 'half');
hostileRepositoryTest(real, /^opencode\.json$|plugin/);
untrustedRepositoryTest(real, 'opencode-plugin');
driftTest(real);
