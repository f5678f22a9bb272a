import { hostileRepositoryTest } from './hostile-repository.ts';
import { RealHarness } from './support.ts';
const real = RealHarness.forThisFile('opencode');
hostileRepositoryTest(real);
