import { RealHarness } from './support.ts';
import { usageLimitTest } from './trouble.ts';

// Only a subscription has windows that are used up; a key is merely slowed down.
const real = RealHarness.forThisFile('claude', {
  ANTHROPIC_API_KEY: '',
  CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-dummy',
});

usageLimitTest(real);
