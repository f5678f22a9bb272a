/** A relative path that stays below where it starts, and is another one for every session. */
export function isBelow(path: string): boolean {
  return !path.startsWith('/') && !path.split('/').includes('..') && path.includes('{id}');
}

/** Whether a part of such a path may come to `.git`: what a hole is filled with never begins with a dot and is never empty. */
export function becomesGit(part: string): boolean {
  const pattern = part
    .split(/\{(?:project|name|id)\}/)
    .map((text) => text.replace(/[^\w]/g, String.raw`\$&`))
    .join('[^.].*');
  return new RegExp(`^${pattern}$`, 'is').test('.git');
}
