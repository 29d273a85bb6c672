// Scores by name, with or without hysteresis.

import { h, select } from "./dom.js";
import { isMap, isNumber, mapOf, numberOf } from "./exact.js";
import { registerBody } from "./leaves.js";
import { hint, keyedField } from "./names.js";
import { pathText } from "./tree.js";

const OPPOSITE = { gte: "lt", gt: "lte", lte: "gt", lt: "gte" };
const REMARKS = { "no model": "no model yet: no customer has it", "not installed": "its scorer is not installed here: segments that read it are left out", stale: "its model is past its validity" };

function describe({ meaning, state }) {
  return [meaning, state === "ready" ? "" : state].filter(Boolean).join("; ");
}

function remark(score) {
  if (!score || score.state === "ready") return null;
  return REMARKS[score.state] ?? `its model is marked ${score.state}: no customer has it`;
}

/** Return the test by which a member leaves: the opposite of that for entering, a tenth away from it. */
export function exitOf(enter) {
  const found = Object.entries(isMap(enter) ? enter : {}).find(([key, value]) => key in OPPOSITE && isNumber(value));
  if (!found) return mapOf([["lt", numberOf("0.5")]]);
  const [key, value] = found;
  const away = Number(value) * (key.startsWith("g") ? 0.9 : 1.1);
  return mapOf([[OPPOSITE[key], numberOf(String(Number(away.toPrecision(3))))]]);
}

/** Return a node with one test, or with one for entering and one for leaving. */
function withSides(node, sides) {
  const enter = node.enter ?? node.is ?? mapOf([["gte", numberOf("0.8")]]);
  const rest = Object.entries(node).filter(([key]) => !["is", "enter", "exit"].includes(key));
  return mapOf([...rest, ...(sides ? [["enter", enter], ["exit", exitOf(enter)]] : [["is", enter]])]);
}

registerBody(["score"], (editing, _, path, label) => {
  const around = path.slice(0, -1);
  const node = editing.value(around);
  const { scores } = editing;
  const options = scores.map((each) => [each.name, describe(each)]);
  const field = keyedField(editing, path, options, { label: "score", unknown: "no such score: declare it, or publish a model of that name" });
  const text = remark(scores.find((each) => each.name === node.score));
  const said = hint(text, text);
  if (!["is", "enter", "exit"].some((key) => key in node)) return h("span", { class: "named" }, field, said);
  const sided = "enter" in node || "exit" in node;
  const mode = select(
    { value: sided ? "sides" : "one", options: [["one", "is"], ["sides", "enters at, leaves at"]], "aria-label": `${label}: with or without hysteresis`, "data-control": `${pathText(path)}sides`, class: "control" },
    (next) => editing.change((document) => editing.tree.set(document, around, withSides(node, next === "sides")), { focus: `${pathText(path)}sides` }),
  );
  return h("span", { class: "named" }, field, said, mode);
});
