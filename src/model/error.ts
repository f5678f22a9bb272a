/**
 * The one error type that crosses a room's border. Anything else that is thrown is a bug (exit 70).
 *
 * `code` is stable API: scripts match on it. `hint` is one sentence with a way out. A refusal of a guard also says
 * what was unsafe, what would have changed and what was preserved (HC-31).
 */
export interface ErrorDetails {
  hint?: string;
  unsafe_condition?: string;
  would_change?: string;
  preserved?: string;
  recovery_commands?: string[];
  /** Machine-readable particulars, e.g. the candidates of an ambiguous name. */
  data?: Record<string, unknown>;
}

/** What kind of failure a code is; decides the process exit code (ARCHITECTURE §7). */
export type ErrorKind =
  | 'failed' // 1
  | 'usage' // 2
  | 'refused' // 3
  | 'not_found' // 4
  | 'unavailable' // 69
  | 'bug' // 70
  | 'parked' // 75
  | 'interrupted'; // 130

const EXIT_CODES: Record<ErrorKind, number> = {
  failed: 1,
  usage: 2,
  refused: 3,
  not_found: 4,
  unavailable: 69,
  bug: 70,
  parked: 75,
  interrupted: 130,
};

export class AppError extends Error {
  override readonly name = 'AppError';
  readonly kind: ErrorKind;
  readonly code: string;
  readonly details: ErrorDetails;

  constructor(kind: ErrorKind, code: string, message: string, details: ErrorDetails = {}) {
    super(message);
    this.kind = kind;
    this.code = code;
    this.details = details;
  }

  get exitCode(): number {
    return EXIT_CODES[this.kind];
  }
}

/** The JSON shape of an error, the same on every surface (CLI `--json`, MCP). The command to try first has a key of its own (HC-31). */
export function errorJson(error: AppError): Record<string, unknown> {
  const { data, ...details } = error.details;
  const [primary_command] = details.recovery_commands ?? [];
  return {
    ...{ kind: error.kind, code: error.code, message: error.message, ...details },
    ...(primary_command === undefined ? {} : { primary_command }),
    ...(data ? { data } : {}),
  };
}
