import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { fillGate, gateProblem } from '../../src/model/plan-gate.ts';

const H = '{{ x }}';

describe('a hole stands where the shell reads words', () => {
  test.each([
    `test ${H} = a`,
    `cp docs/${H}.md "$OUT"/${H}`,
    `echo "it's" 'a "b"' \\" ${H}`,
    `x=$(cat ${H}) && test "$x" = "\${CI}" && echo ${H}`,
    `make # don't\necho ${H}`,
    `echo a#'b' ${H}`,
    `cat ${H} <<EOF\n"\nEOF`,
  ])('%s', (command) => expect(gateProblem(command)).toBeNull());
});

describe('and nowhere else', () => {
  test.each([
    `test "${H}" = a`,
    `sh -c 'echo ${H}'`,
    `echo "$(echo "${H}")"`,
    `echo \`echo ${H}\``,
    `echo $${H}`,
    `echo $'a\\' ${H}'`,
    `cat <<EOF\n${H}\nEOF`,
    `echo $(( ${H} ))`,
    `echo \${x:-${H}}`,
    `echo "\${x:-"${H}"}"`,
    `make # ${H}`,
    `make # don't\necho '${H}'`,
    `echo \\"' ${H}'`,
  ])('%s', (command) => expect(gateProblem(command)).toContain('{{ x }} must stand outside of quotes'));
});

test('a value reaches the command as it is, whatever the shell could make of it', () => {
  const nasty = fc.array(fc.constantFrom(...'\'"`$(){}[];&|<>\\*?~#!\n\t -ab='.split(''), '{{ x }}', '$(echo hi)'), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(nasty, (chars) => {
      const value = chars.join('');
      const command = fillGate(`printf %s "it's:" ${H}; printf %s a${H}b`, new Map([['x', value]]));
      const { stdout, exitCode } = Bun.spawnSync(['/bin/sh', '-c', command], { env: {} });
      expect([exitCode, stdout.toString()]).toEqual([0, `it's:${value}a${value}b`]);
    }),
    { numRuns: 60 },
  );
});

test('no command can have a NUL character', () => {
  expect(fillGate(`a ${H}`, new Map([['x', 'b\0c']]))).toBe("a 'bc'");
});
