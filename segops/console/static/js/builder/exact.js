// JSON whose numbers stay as they are written: 20.0 is not 20, and 64-bit integers keep all their digits.

/** A number that a JavaScript number would write differently; `source` is its text. */
export class Exact {
  constructor(source) {
    this.source = source;
    Object.freeze(this);
  }

  toString() {
    return this.source;
  }

  valueOf() {
    return Number(this.source);
  }
}

const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$/;

/** Return the number of a text: a plain one if it is written the same, else an Exact; null if it is none. */
export function numberOf(text) {
  if (!NUMBER.test(text)) return null;
  const plain = Number(text);
  return String(plain) === text && Number.isFinite(plain) ? plain : new Exact(text);
}

export function isNumber(value) {
  return typeof value === "number" || value instanceof Exact;
}

export function isMap(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Exact);
}

const TOKEN = /\s*(?:([{}[\],:])|("(?:[^"\\]|\\.)*")|(-?[0-9][0-9.eE+-]*)|(true|false|null))/y;

/** Parse JSON. Throws SyntaxError. */
export function parse(text) {
  let at = 0;

  function next() {
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(text);
    if (!found) throw new SyntaxError(`unexpected text at ${at}`);
    at = TOKEN.lastIndex;
    return found;
  }

  function value(token) {
    const [, sign, string, number, word] = token;
    if (string !== undefined) return JSON.parse(string);
    if (number !== undefined) return numberIn(number);
    if (word !== undefined) return word === "null" ? null : word === "true";
    if (sign === "[") return items();
    if (sign === "{") return entries();
    throw new SyntaxError(`unexpected ${sign} at ${at}`);
  }

  function numberIn(source) {
    const found = numberOf(source);
    if (found === null) throw new SyntaxError(`invalid number ${source}`);
    return found;
  }

  function items() {
    const found = [];
    let token = next();
    if (token[1] === "]") return found;
    for (;;) {
      found.push(value(token));
      token = next();
      if (token[1] === "]") return found;
      if (token[1] !== ",") throw new SyntaxError(`expected a comma at ${at}`);
      token = next();
    }
  }

  function entries() {
    const found = [];
    let token = next();
    if (token[1] === "}") return mapOf(found);
    for (;;) {
      if (token[2] === undefined) throw new SyntaxError(`expected a key at ${at}`);
      const key = JSON.parse(token[2]);
      if (next()[1] !== ":") throw new SyntaxError(`expected a colon at ${at}`);
      found.push([key, value(next())]);
      token = next();
      if (token[1] === "}") return mapOf(found);
      if (token[1] !== ",") throw new SyntaxError(`expected a comma at ${at}`);
      token = next();
    }
  }

  const found = value(next());
  if (text.slice(at).trim()) throw new SyntaxError(`unexpected text at ${at}`);
  return found;
}

/** Return a map of entries. It has no prototype, so that `__proto__` is a key like any other. */
export function mapOf(entries) {
  const found = Object.create(null);
  for (const [key, value] of entries) found[key] = value;
  return found;
}

/** Write a value as JSON; an Exact as its source. */
export function stringify(value) {
  if (value instanceof Exact) return value.source;
  if (Array.isArray(value)) return `[${value.map(stringify).join(",")}]`;
  if (isMap(value)) {
    return `{${Object.entries(value)
      .map(([key, each]) => `${JSON.stringify(key)}:${stringify(each)}`)
      .join(",")}}`;
  }
  return JSON.stringify(value === undefined ? null : value);
}

/** Return whether two values are written the same, in any order of keys. */
export function same(one, other) {
  if (one === other) return true;
  if (isNumber(one) && isNumber(other)) return String(one) === String(other);
  if (Array.isArray(one)) {
    return Array.isArray(other) && one.length === other.length && one.every((each, i) => same(each, other[i]));
  }
  if (!isMap(one) || !isMap(other)) return false;
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => key in other && same(one[key], other[key]));
}
