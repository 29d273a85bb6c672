// Windows: which events count by their time. A node has at most one.

import { h, select } from "./dom.js";
import { entry, words } from "./editors.js";
import { mapOf } from "./exact.js";
import { pathText } from "./tree.js";
import { WINDOW_KEYS } from "./schema.js";

/** Window -> its keys, its words, and the values that a new one begins with. */
const WINDOWS = {
  none: { keys: [], text: "ever", starter: {} },
  within: { keys: ["within"], text: "in the last", starter: { within: "30d" } },
  between: { keys: ["between"], text: "between two ages", starter: { between: mapOf([["from", "90d"], ["to", "30d"]]) } },
  calendar: { keys: ["calendar"], text: "in this calendar period", starter: { calendar: mapOf([["this", "month"], ["zone", "UTC"]]) } },
  since: { keys: ["since"], text: "since a date", starter: { since: "2026-01-01" } },
  until: { keys: ["until"], text: "until a date", starter: { until: "2026-12-31" } },
  both: { keys: ["since", "until"], text: "between two dates", starter: { since: "2026-01-01", until: "2026-12-31" } },
  since_last: { keys: ["since_last"], text: "since the last", starter: { since_last: "" } },
  same: { keys: ["since_last", "same"], text: "since the last, with the same", starter: { since_last: "", same: "" } },
};

/** Return the kind of window that a node has. */
export function windowOf(node) {
  const present = WINDOW_KEYS.filter((key) => key in node);
  const found = Object.entries(WINDOWS).find(([, each]) => each.keys.length === present.length && each.keys.every((key) => present.includes(key)));
  return found?.[0] ?? null;
}

/** Make the editor of a node's window; null if its head has none. */
export function windowEditor(editing, schema, path) {
  const node = editing.value(path);
  const allowed = Object.entries(WINDOWS).filter(([, each]) => each.keys.every((key) => key in schema.properties));
  const kind = windowOf(node);
  if (allowed.length < 2) return null;
  const present = WINDOW_KEYS.filter((key) => key in node && key in schema.properties);
  const options = allowed.map(([name, each]) => [name, each.text]);
  const choice = select(
    { value: kind ?? "odd", options: kind ? options : [["odd", "several periods"], ...options], "aria-label": "period", "data-control": `${pathText(path)}window`, class: "control window" },
    (next) => next !== "odd" && changeWindow(editing, path, next),
  );
  const rows = present.map((key) => entry(editing, schema.properties[key], [...path, key], { label: label(key, kind), removable: false, hint: schema.properties[key].description }));
  return h("div", { class: "window-row", role: "group", "aria-label": "period" }, choice, rows);
}

function label(key, kind) {
  if (kind === key && key !== "calendar") return "";
  return key === "calendar" ? "" : words(key);
}

function changeWindow(editing, path, kind) {
  const node = editing.value(path);
  const { keys, starter } = WINDOWS[kind];
  const kept = Object.entries(node).filter(([key]) => !WINDOW_KEYS.includes(key));
  const values = keys.map((key) => [key, node[key] ?? starter[key]]);
  editing.change((document) => editing.tree.set(document, path, mapOf([...kept, ...values])), { focus: keys.length ? pathText([...path, keys[0]]) : `${pathText(path)}window` });
}
