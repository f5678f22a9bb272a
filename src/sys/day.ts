/** The midnight before `at`, wall ms, by the zone of this machine: days of 23 and 25 hours are days as well. */
export function startOfDay(at: number): number {
  return new Date(at).setHours(0, 0, 0, 0);
}
