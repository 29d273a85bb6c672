// Nodes of a rule: which head one has, and what becomes of it under another head.

import { isMap, mapOf } from "./exact.js";
import { WINDOW_KEYS } from "./schema.js";

export const GROUPS = ["all", "any", "at_least", "not"];
const AMOUNTS = ["sum", "avg", "min", "max", "distinct", "latest", "earliest", "most_frequent"];
/** Heads whose value is the name of an event. */
const EVENTS = ["did", "did_not", "first", "last", "active_days", "active_weeks", "active_months", "sessions", "regularly"];
const TRAITS = ["trait", "has_been", "changed"];

/** Return the head of a node, or null. */
export function headOf(node, heads) {
  return isMap(node) ? (Object.keys(node).find((key) => heads.has(key)) ?? null) : null;
}

export function isGroup(head) {
  return GROUPS.includes(head);
}

/** Return the nodes below a group, and the path from the group to each. */
export function childrenOf(node, head) {
  if (head === "not") return [{ node: node.not, path: ["not"] }];
  const path = head === "at_least" ? ["at_least", "of"] : [head];
  const list = head === "at_least" ? node.at_least?.of : node[head];
  return Array.isArray(list) ? list.map((each, number) => ({ node: each, path: [...path, number] })) : [];
}

/** Return the path to the list of a group's nodes; null for `not`, which has one. */
export function listPath(head) {
  return { all: ["all"], any: ["any"], at_least: ["at_least", "of"] }[head] ?? null;
}

/** Return a group of some nodes. */
export function groupOf(head, nodes, k = 1) {
  if (head === "at_least") return mapOf([["at_least", mapOf([["k", Math.min(k, nodes.length)], ["of", nodes]])]]);
  if (head === "not") return mapOf([["not", nodes.length === 1 ? nodes[0] : groupOf("any", nodes)]]);
  return mapOf([[head, nodes]]);
}

/** Return the events that a node selects, as a list. */
export function eventsOf(node, head) {
  const named = head === "session" || AMOUNTS.includes(head) ? node.of : head === "lifecycle" ? node.lifecycle?.of : node[head];
  return [named].flat().filter((each) => typeof each === "string" && each !== "");
}

/** Return the property or trait that a node tests, or "". */
export function pathOf(node, head) {
  const found = TRAITS.includes(head) && isMap(node[head]) ? node[head].trait : node[head];
  if (Array.isArray(found)) return found.slice(1).filter((each) => typeof each === "string").join(".");
  return typeof found === "string" ? found : "";
}

/**
 * Return a node under another head: what both heads can say stays, the rest begins as `starter`. `fits` says
 * whether a value may stand under a key of the new head.
 */
export function underHead(node, from, to, { starter, fits }) {
  if (from === to) return node;
  if (isGroup(from) && isGroup(to)) return regrouped(node, from, to);
  if (isGroup(to)) return groupOf(to, [node]);
  const found = new Map(Object.entries(starter));
  for (const [key, value] of moved(node, from, to)) {
    if (fits(key, value)) found.set(key, value);
  }
  if (!isGroup(from) && from) replaceWindow(found, node, fits);
  return mapOf(found);
}

function regrouped(node, from, to) {
  const below = childrenOf(node, from).map((each) => each.node);
  const inner = from === "not" && below.length === 1 ? headOf(below[0], new Set(["any"])) : null;
  const nodes = inner ? below[0].any : below;
  return groupOf(to, nodes.length ? nodes : below, node.at_least?.k ?? 1);
}

function* moved(node, from, to) {
  const events = eventsOf(node, from ?? "");
  if (events.length) {
    const names = [AMOUNTS, ["session"]].some((heads) => heads.flat().includes(to)) ? "of" : EVENTS.includes(to) ? to : null;
    const named = EVENTS.includes(from) ? node[from] : (node.of ?? events);
    if (names) yield [names, named];
  }
  if (AMOUNTS.includes(from) && AMOUNTS.includes(to)) yield [to, node[from]];
  if (from === "trait" && to === "has_been") yield ["has_been", mapOf([["trait", node.trait], ["is", node.is]])];
  if (from === "has_been" && to === "trait") {
    yield ["trait", node.has_been.trait];
    yield ["is", node.has_been.is];
  }
  for (const [key, value] of Object.entries(node)) {
    const kept = ["where", "time_of_day", "zone", "refresh", "as", "money", "is"].includes(key);
    if (kept && !(key === "is" && !AMOUNTS.includes(from))) yield [key, value];
  }
}

/** Give a new node the window of the former one, or none if that had none. */
function replaceWindow(found, node, fits) {
  const window = WINDOW_KEYS.filter((key) => key in node);
  if (!window.every((key) => fits(key, node[key]))) return;
  if (window.length) WINDOW_KEYS.forEach((key) => found.delete(key));
  for (const key of window) found.set(key, node[key]);
}
