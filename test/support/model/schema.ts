import type { Json } from './wire.ts';
import { asList, asObject } from './wire.ts';

/** The dullest value that satisfies a JSON schema (upper-case type names included): for questions a CLI asks itself. */
export function valueFor(schema: unknown): unknown {
  const rules = asObject(schema);
  if (Array.isArray(rules.enum)) return rules.enum[0];
  const variants = asList(rules.anyOf ?? rules.oneOf);
  if (variants[0]) return valueFor(variants[0]);
  switch (String(rules.type).toLowerCase()) {
    case 'object':
      return objectFor(rules);
    case 'array':
      return [];
    case 'boolean':
      return false;
    case 'number':
    case 'integer':
      return typeof rules.minimum === 'number' ? rules.minimum : 0;
    case 'null':
      return null;
    default:
      return 'scripted';
  }
}

function objectFor(rules: Json): Json {
  const properties = asObject(rules.properties);
  return Object.fromEntries(Object.entries(properties).map(([key, inner]) => [key, valueFor(inner)]));
}
