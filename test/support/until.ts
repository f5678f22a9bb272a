/**
 * Waits for a condition, never for a time: resolves with the first truthy value (so not 0 and not '').
 * Throws after `within_ms`, which is a limit for hopeless cases and not a delay.
 */
export async function until<T>(what: string, look: () => T | Promise<T>, within_ms = 20_000): Promise<NonNullable<T>> {
  const end = performance.now() + within_ms;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (performance.now() > end) throw new Error(`waited ${within_ms} ms in vain for: ${what}`);
    await Bun.sleep(5);
  }
}
