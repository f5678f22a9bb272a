import { readFileSync } from 'node:fs';
import { isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import { AppError } from '../model/error.ts';
import type { FileIssue } from '../session/config.ts';

/**
 * The same error with `file:line` for every problem. The parser that knows lines is loaded only here, after the fast
 * one has found the file wanting.
 */
export function withLines(error: AppError): AppError {
  const issues = (error.details.data?.issues ?? []) as FileIssue[];
  // Nothing to look for, and then the error's own words are all there is.
  if (issues.length === 0) return error;
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
    const around = document.getIn(issue.path.slice(0, depth - 1), true);
    const name = String(issue.path[depth - 1]);
    const key = isMap(around)
      ? around.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === name)?.key
      : null;
    const node = key ?? document.getIn(issue.path.slice(0, depth), true);
    if (isNode(node) && node.range) return [{ ...issue, line: counter.linePos(node.range[0]).line }];
  }
  return [{ ...issue, line: 1 }];
}
