import { hostileMailTest, hostileTextTest } from './hostile.ts';
import { hostileRepositoryTest } from './hostile-repository.ts';
import { RealHarness } from './support.ts';
import { troubleTests, usageLimitTest } from './trouble.ts';
import { driftTest, reminderTest, workTests } from './work.ts';

const real = RealHarness.forThisFile('codex');

workTests(real, {
  mcp_name: (tool) => `mcp__drover/${tool}`,
  cost: false,
  denied: {
    profile: 'read-only',
    heard: /rejected/,
    recorded: ({ type, data }) => type === 'error' && String(data.message).includes('patch rejected'),
  },
});
troubleTests(real, { first_event: '20s' });
usageLimitTest(real);
reminderTest(real);
hostileTextTest(real, 'all');
hostileMailTest(real);
hostileRepositoryTest(real);
driftTest(real);
