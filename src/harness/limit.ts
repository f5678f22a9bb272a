import type { Limit } from '../model/harness.ts';
import { cutText } from './event-text.ts';

/** What a harness tells of a failed model call. */
export interface Trouble {
  /** HTTP status when the harness names one; else it is looked for in the message. */
  status: number | null;
  message: string;
  /** The harness has given up because of it. */
  final: boolean;
  retry_after_ms?: number | null;
  resets_at?: number | null;
}

const USAGE =
  /usage limit|hit your (?:[\w-]+ )?limit|(?<!rate )limit reached|out of extra usage|weekly limit|session limit|exhausted your (?:daily )?(?:quota|capacity)|quota will reset|per_?day\b|perday/i;
const QUOTA =
  /insufficient_quota|quota exceeded|exceeded your current quota|credit balance|billing_error|payment required|out of credits|spend(?:ing)? (?:limit|cap)/i;
const PER_MINUTE = /per.?minute|per.?second/i;
const RATE = /rate.?limit|too many requests|resource.?exhausted|throttl/i;
const OVERLOADED =
  /overloaded|high demand|at capacity|server.?error|service unavailable|internal error|bad gateway|gateway time/i;
const AUTH =
  /not logged in|please run \/login|api key not (?:valid|found)|invalid.{0,12}api.?key|unauthori[sz]ed|authenticat|oauth token|auth method|login required|forbidden/i;
const NETWORK =
  /ECONN(?:REFUSED|RESET|ABORTED)|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|fetch failed|socket hang up|connection (?:error|refused|reset|closed|failed)|error sending request|stream (?:disconnected|closed)|waiting for network|request timed out|unable to connect|API Error: terminated/i;

/**
 * The provider's "not now" behind a failed model call, or `null` when the call failed for another reason (a bad
 * request, an unknown model), which waiting does not cure.
 *
 * Only messages of the harness and the provider may come here, never the model's text: the words decide.
 */
export function limitOf(trouble: Trouble): Limit | null {
  const message = cutText(trouble.message);
  const status = httpStatus(trouble.status) ?? statusIn(message);
  const kind = kindOf(status, message);
  if (kind === null) return null;
  return {
    kind,
    status,
    message,
    resets_at: trouble.resets_at ?? resetIn(message),
    retry_after_ms: wholeMs(trouble.retry_after_ms ?? delayIn(message)),
    final: trouble.final,
  };
}

/** The number if it can be an HTTP status. */
export function httpStatus(value: number | null): number | null {
  return value !== null && Number.isInteger(value) && value >= 100 && value < 600 ? value : null;
}

function kindOf(status: number | null, message: string): Limit['kind'] | null {
  // Words come first: providers answer 429 to a used-up plan and 400 to an empty purse.
  if (USAGE.test(message)) return 'usage_limit';
  if (status === 402 || (QUOTA.test(message) && !PER_MINUTE.test(message))) return 'quota_unknown';
  if (status !== null) return kindOfStatus(status);
  if (RATE.test(message)) return 'rate_limit';
  if (OVERLOADED.test(message)) return 'overloaded';
  if (AUTH.test(message)) return 'auth';
  return NETWORK.test(message) ? 'network' : null;
}

function kindOfStatus(status: number): Limit['kind'] | null {
  if (status === 401 || status === 403) return 'auth';
  if (status === 429) return 'rate_limit';
  if (status === 408) return 'network';
  return status >= 500 && status < 600 ? 'overloaded' : null;
}

const STATUS = /\b(?:status(?: code)?|http(?:\/[\d.]+)?|api error|code)["']?[:\s]+\(?([45]\d\d)\b/i;

/** The HTTP status that an error message names, e.g. `unexpected status 401 Unauthorized`. */
export function statusIn(message: string): number | null {
  const found = STATUS.exec(message)?.[1];
  return found === undefined ? null : Number(found);
}

const DELAY_START = /(?:try again|retry(?:ing)?|resets?)\s+(?:in|after)\s+/i;
const DELAY_PART =
  /(?:\s|,|and)*(\d+(?:\.\d+)?)\s*(ms|d(?:ays?)?|h(?:ours?|rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)(?![a-z])/iy;
const UNIT_MS: Record<string, number> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000 };

/** The wait a message asks for in milliseconds: `try again in 3 days 4 hours`, `will reset after 13h54m11s`. */
export function delayIn(message: string): number | null {
  const start = DELAY_START.exec(message);
  if (start === null) return null;
  DELAY_PART.lastIndex = start.index + start[0].length;
  let total: number | null = null;
  for (let part = DELAY_PART.exec(message); part !== null; part = DELAY_PART.exec(message)) {
    const unit = (part[2] ?? '').toLowerCase();
    total = (total ?? 0) + Number(part[1]) * (unit === 'ms' ? 1 : (UNIT_MS[unit[0] ?? ''] ?? 0));
  }
  return wholeMs(total);
}

/** Whole milliseconds that fit a column; nothing for what is no duration. */
export function wholeMs(ms: number | null): number | null {
  return ms === null || !(ms >= 0) ? null : Math.min(Math.round(ms), Number.MAX_SAFE_INTEGER);
}

const RESET_STAMP = /\|\s*(\d{10})(\d{3})?\b/;

/** The reset instant that older messages carry behind a bar, in seconds or milliseconds of the epoch. */
function resetIn(message: string): number | null {
  const found = RESET_STAMP.exec(message);
  if (found === null) return null;
  return Number(found[1]) * 1000 + Number(found[2] ?? 0);
}
