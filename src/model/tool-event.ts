import { z } from 'zod';
import { FILE_ACTIONS } from './incident.ts';

const MAX_FILES = 200;

const instant = z.union([
  z.number().int().nonnegative(),
  z.string().transform((text, context) => {
    const at = Date.parse(text);
    if (!Number.isNaN(at)) return at;
    context.addIssue({ code: 'custom', message: 'not an instant' });
    return z.NEVER;
  }),
]);

const schema = z.object({
  id: z.string().min(1).max(256),
  session_id: z.string().min(1).max(256),
  tool_name: z.string().optional(),
  input_summary: z.string().optional(),
  output_summary: z.string().optional(),
  file_events: z.array(z.object({ path: z.string().max(4096), action: z.enum(FILE_ACTIONS) })).default([]),
  timestamp: instant,
});

/** One line of an imported log of tool events (E-142). `timestamp` is wall milliseconds, in the line also ISO-8601. */
export type ToolEvent = z.output<typeof schema>;

/** Null for what is no such event; of its files at most 200. */
export function parseToolEvent(line: string): ToolEvent | null {
  let raw: unknown;
  try {
    raw = JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  const parsed = schema.safeParse(raw);
  return parsed.success ? { ...parsed.data, file_events: parsed.data.file_events.slice(0, MAX_FILES) } : null;
}
