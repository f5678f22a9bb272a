/** The variable every process of a turn inherits; its value is a secret of the turn (ARCHITECTURE §2). */
export const MARKER_VARIABLE = 'DROVER_TURN_MARKER';
