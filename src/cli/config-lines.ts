import { readFileSync } from 'node:fs';
import { isCollection, LineCounter, parseDocument } from 'yaml';
import { AppError } from '../model/error.ts';
import type { FileIssue } from '../session/config.ts';

/**
 * The same error with `file:line` for every problem. The parser that knows lines is loaded only here, after the fast
 * one has found the file wanting.
 */
export function withLines(error: AppError): AppError {
  const issues = (error.details.data?.issues ?? []) as FileIssue[];
  const located = issues.flatMap((issue) => locate(issue));
  const unique = [...new Map(located.map((issue) => [`${issue.file}:${issue.line}:${issue.message}`, issue])).values()];
  const lines = unique.map(
    (issue) =>
      `${issue.file}:${issue.line}: ${issue.path.length > 0 ? `${issue.path.join('.')}: ` : ''}${issue.message}`,
  );
  return new AppError(error.kind, error.code, `The configuration is not usable:\n${lines.join('\n')}`, {
    ...error.details,
    data: { issues: unique },
  });
}

function locate(issue: FileIssue): (FileIssue & { line: number })[] {
  const counter = new LineCounter();
  const document = parseDocument(readFileSync(issue.file, 'utf8'), { lineCounter: counter });
  if (issue.path.length === 0 && document.errors.length > 0) {
    return document.errors.map((problem) => ({
      ...issue,
      line: problem.linePos?.[0].line ?? 1,
      message: problem.message.split('\n')[0]?.replace(/ at line \d+.*$/, '') ?? problem.message,
    }));
  }
  for (let depth = issue.path.length; depth > 0; depth -= 1) {
    const node = document.getIn(issue.path.slice(0, depth), true);
    const range =
      typeof node === 'object' && node !== null && 'range' in node
        ? (node.range as [number, number, number] | null)
        : null;
    if (range)
      return [{ ...issue, line: counter.linePos(isCollection(node) ? Math.max(0, range[0] - 1) : range[0]).line }];
  }
  return [{ ...issue, line: 1 }];
}
