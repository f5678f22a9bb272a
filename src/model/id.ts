const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** Lowercase RFC 4648 base32 without padding. */
export function base32(bytes: Uint8Array): string {
  let out = '';
  let buffer = 0;
  let bits = 0;
  for (const byte of bytes) {
    buffer = (buffer << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out += ALPHABET[(buffer >>> bits) & 31];
    }
    buffer &= (1 << bits) - 1;
  }
  return bits > 0 ? out + ALPHABET[(buffer << (5 - bits)) & 31] : out;
}

/** `<prefix>-` and 96 random bits: 20 characters of base32 (H-04). */
export function newId(prefix: 'agent' | 'mail' | 'run' | 'plan' | 'schedule' | 'request' | 'incident'): string {
  return `${prefix}-${base32(crypto.getRandomValues(new Uint8Array(12)))}`;
}

/** 256 random bits for a token or a marker, base32. */
export function newSecret(): string {
  return base32(crypto.getRandomValues(new Uint8Array(32)));
}

/** Names of sessions, roles, profiles, groups: safe as a file name, an argument and a branch part. */
export const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;
