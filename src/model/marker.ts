/** The variable every process of a turn inherits; its value is a secret of the turn (ARCHITECTURE §2). */
export const MARKER_VARIABLE = 'DROVER_TURN_MARKER';

/** Commands of a repository or of a person that drover runs beside the turns. */
export type CommandKind = 'gate' | 'hook';

/** The marker of such a command: `place` is the key of the home it was started for, `secret` the run's own. */
export function commandMarker(kind: CommandKind, place: string, secret: string): string {
  return `${kind}-${place}-${secret}`;
}

/** What a marker says it belongs to, if it is that of a command and not of a turn. */
export function parseCommandMarker(marker: string): { kind: CommandKind; place: string } | null {
  const [, kind, place] = /^(gate|hook)-([a-z0-9.]+)-/.exec(marker) ?? [];
  return place === undefined ? null : { kind: kind as CommandKind, place };
}
