import { expect, test } from 'bun:test';
import { ownIdentity, signal } from '../../src/sys/identity.ts';
import { onSignal } from '../../src/sys/signals.ts';
import { until } from '../support/until.ts';

test('signals: each named signal is told by name until the watch is closed', async () => {
  const seen: string[] = [];
  const watch = onSignal(['SIGUSR2', 'SIGWINCH'], (name) => seen.push(name));
  signal(ownIdentity(), 'SIGUSR2');
  await until('the signal', () => seen.includes('SIGUSR2'));
  watch.close();
  // SIGWINCH does nothing by default, so it can be sent after the close; a second watch proves that it arrived.
  const later: string[] = [];
  const other = onSignal(['SIGWINCH'], (name) => later.push(name));
  signal(ownIdentity(), 'SIGWINCH');
  await until('the second signal', () => later.length > 0);
  other.close();
  expect(seen).toEqual(['SIGUSR2']);
});
