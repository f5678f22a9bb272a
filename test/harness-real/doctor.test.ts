import { expect, test } from 'bun:test';
import type { Finding } from '../../src/model/finding.ts';
import { droverBench } from '../support/drover.ts';
import { makeHarnessHome } from '../support/harness-home.ts';
import { HARNESS_IDS, installHarnesses } from '../support/harness-install.ts';
import { assertNoLeaks } from '../support/leaks.ts';

const LIMIT_MS = 17 * 60_000;

test(
  'doctor: every real CLI holds the contract: its flags exist and a conversation with the scripted model ends in a result',
  async () => {
    const { bin_dir } = await installHarnesses();
    // No settings for any of them, and a model address where nobody listens: the probe brings its own.
    const home = makeHarnessHome('http://127.0.0.1:9', bin_dir, []);
    try {
      const bench = droverBench({ root: home.home, env: { ...home.env, ANTHROPIC_API_KEY: 'sk-never-used' } });
      const ran = await bench.run(['doctor', '--json']);
      const { findings } = JSON.parse(ran.stdout) as { findings: Finding[] };
      for (const id of HARNESS_IDS) {
        const found = findings.filter(({ check }) => check === `harness ${id}`);
        expect(found).toMatchObject([
          { level: 'ok', what: expect.stringMatching(/flags ok, a conversation gave session, .*text.*result$/) },
        ]);
      }
      expect(ran.code).toBe(0);
      await assertNoLeaks(home.home, 5_000);
    } finally {
      home.remove();
    }
  },
  LIMIT_MS,
);
