import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Every path below a directory with kind, mode and content: two that are equal are equal byte for byte. */
export function snapshot(dir: string, skip: (path: string) => boolean = () => false): Record<string, string> {
  const found: Record<string, string> = {};
  const walk = (at: Buffer, name: string) => {
    if (skip(name)) return;
    const facts = lstatSync(at);
    if (facts.isDirectory()) {
      found[`${name}/`] = facts.mode.toString(8);
      for (const entry of readdirSync(at, { encoding: 'buffer' })) {
        const inner = Buffer.concat([at, Buffer.from('/'), entry]);
        walk(inner, `${name}/${entry.toString('latin1')}`);
      }
    } else if (facts.isSymbolicLink()) found[name] = `-> ${readlinkSync(at)}`;
    else found[name] = `${facts.mode.toString(8)} ${facts.isFile() ? Bun.hash(readFileSync(at)) : ''}`;
  };
  walk(Buffer.from(dir), '');
  return found;
}
