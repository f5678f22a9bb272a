/** Calls `fn` for each of the named signals until `close()`; their default action is off meanwhile. */
export function onSignal(names: NodeJS.Signals[], fn: (name: NodeJS.Signals) => void): { close(): void } {
  for (const name of names) process.on(name, fn);
  return {
    close: () => {
      for (const name of names) process.off(name, fn);
    },
  };
}
