// Edits of a JSON value that leave the value as it was and return another one. A path is a list of keys and numbers.

import { isMap, mapOf } from "./exact.js";

/** Return the value at a path, or undefined. */
export function at(value, path) {
  let found = value;
  for (const step of path) {
    if (found === null || typeof found !== "object" || !(step in found)) return undefined;
    found = found[step];
  }
  return found;
}

function changed(value, step, next) {
  if (Array.isArray(value)) {
    const found = value.slice();
    found[step] = next;
    return found;
  }
  const known = isMap(value) ? Object.entries(value) : [];
  const key = String(step);
  const has = known.some(([name]) => name === key);
  return mapOf(has ? known.map(([name, each]) => [name, name === key ? next : each]) : [...known, [key, next]]);
}

/** Put a value at a path; a new key goes to the end. */
export function set(value, path, next) {
  if (path.length === 0) return next;
  const [step, ...rest] = path;
  return changed(value, step, set(value?.[step], rest, next));
}

/** Replace the value at a path by what a function makes of it. */
export function update(value, path, make) {
  return set(value, path, make(at(value, path)));
}

/** Remove a key of a map, or an item of a list. */
export function remove(value, path) {
  const step = path.at(-1);
  return update(value, path.slice(0, -1), (around) => {
    if (Array.isArray(around)) return around.filter((_, number) => number !== step);
    return mapOf(Object.entries(around).filter(([key]) => key !== step));
  });
}

/** Insert an item into a list before the position at the end of a path. */
export function insert(value, path, item) {
  const number = path.at(-1);
  return update(value, path.slice(0, -1), (list) => list.toSpliced?.(number, 0, item) ?? spliced(list, number, item));
}

function spliced(list, number, item) {
  const found = list.slice();
  found.splice(number, 0, item);
  return found;
}

/** Move an item of a list by some positions, as far as the list goes. */
export function shift(value, path, by) {
  const number = path.at(-1);
  return update(value, path.slice(0, -1), (list) => {
    const to = Math.max(0, Math.min(list.length - 1, number + by));
    const rest = list.filter((_, each) => each !== number);
    return spliced(rest, to, list[number]);
  });
}

/** Give a key of a map another name, at the same position. */
export function rename(value, path, name) {
  const former = path.at(-1);
  return update(value, path.slice(0, -1), (map) =>
    mapOf(Object.entries(map).map(([key, each]) => [key === former ? name : key, each])),
  );
}

/** Return a text for a path, the same for equal paths only. */
export function pathText(path) {
  return JSON.stringify(path);
}

/** Return whether one path begins with another one. */
export function isBelow(path, above) {
  return above.length <= path.length && above.every((step, number) => step === path[number]);
}
