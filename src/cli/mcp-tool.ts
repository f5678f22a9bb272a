import { z } from 'zod';
import { AppError } from '../model/error.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';

/** One tool: what it is called, what it takes, and the use case behind it. The answer is a short text. */
export interface Tool {
  name: string;
  description: string;
  input: z.ZodObject;
  run: (deps: Deps, caller: Caller, input: unknown) => Promise<string>;
}

/** A tool whose input is checked before its use case sees it. */
export function tool<Shape extends z.ZodRawShape>(
  name: string,
  description: string,
  shape: Shape,
  act: (deps: Deps, caller: Caller, input: z.output<z.ZodObject<Shape, z.core.$strict>>) => Promise<string>,
): Tool {
  const input = z.strictObject(shape);
  return { name, description, input, run: (deps, caller, given) => act(deps, caller, checked(name, input, given)) };
}

/** Throws `input_invalid` (2) with every problem. */
function checked<T>(name: string, schema: z.ZodType<T>, given: unknown): T {
  const parsed = schema.safeParse(given ?? {});
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'input'}: ${issue.message}`);
  throw new AppError('usage', 'input_invalid', `${name}: ${problems.join('; ')}`, {
    hint: 'Call it again with the fields its description names.',
    preserved: 'nothing was stored',
  });
}
