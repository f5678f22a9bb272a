import { AppError } from '../model/error.ts';
import { TASK_LIMIT } from '../model/mail.ts';

/**
 * Text from an argument: `-` is standard input, `@FILE` a file, anything else itself. Reads at most a little more than
 * the limit, so that the caller's check can refuse it. Throws `input_unreadable` (2).
 */
export async function readText(argument: string): Promise<string> {
  if (argument === '-') return readStandardInput();
  if (!argument.startsWith('@')) return argument;
  const path = argument.slice(1);
  try {
    return await Bun.file(path).slice(0, READ_LIMIT).text();
  } catch (error) {
    throw new AppError(
      'usage',
      'input_unreadable',
      `Cannot read ${path}: ${error instanceof Error ? error.message : error}`,
      {
        hint: 'A text that starts with @ names a file; to send such a text itself, use standard input (-).',
        preserved: 'nothing was stored',
      },
    );
  }
}

const READ_LIMIT = 16 * TASK_LIMIT;

async function readStandardInput(): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of Bun.stdin.stream()) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > READ_LIMIT) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}
