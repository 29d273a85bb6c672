// Sequences, drawn as steps one below another.

import { button, h, icon, select } from "./dom.js";
import { addMenu, editor, entry, marks } from "./editors.js";
import { mapOf } from "./exact.js";
import { registerBody } from "./leaves.js";
import { pathText } from "./tree.js";

function stepSchema(editing, schema, number, step) {
  const item = editing.schemas.item(schema, number);
  return editing.schemas.formOf(item, step).schema;
}

function headOfStep(step) {
  return step && typeof step === "object" && "did_not" in step ? "did_not" : "did";
}

function stepCard(editing, schema, path, number, length) {
  const step = editing.value(path) ?? {};
  const head = headOfStep(step);
  const own = stepSchema(editing, schema, number, step);
  const others = Object.keys(step).filter((key) => key !== head && key !== "within");
  const addable = editing.schemas.addable(own, step).filter((key) => key !== "did" && key !== "did_not");
  return h(
    "li",
    { class: `step step-${head}`, "data-at": pathText(path) },
    h("span", { class: "step-number", "aria-hidden": "true" }, String(number + 1)),
    h(
      "div",
      { class: "step-body", role: "group", "aria-label": `Step ${number + 1} of ${length}` },
      h("div", { class: "leaf-line" }, stepHead(editing, path, step, head, number), head in step && editor(editing, own.properties[head] ?? {}, [...path, head], { label: `event of step ${number + 1}` }), marks([...path, head]), stepTools(editing, path, number, length)),
      "within" in step && entry(editing, own.properties.within ?? { type: "string" }, [...path, "within"], { label: head === "did_not" ? "for" : "within", hint: "of the step before" }),
      others.map((key) => entry(editing, own.properties[key] ?? {}, [...path, key], { label: key === "where" ? "" : undefined })),
      addMenu(editing, own, path, addable, "Add to this step…"),
      marks(path),
    ),
  );
}

function stepHead(editing, path, step, head, number) {
  if (number === 0) return h("span", { class: "or" }, "first did");
  return select(
    { value: head, options: [["did", "then did"], ["did_not", "and did not"]], "aria-label": `step ${number + 1}: did or did not`, "data-control": `${pathText(path)}head`, class: "control head" },
    (next) => {
      const entries = Object.entries(step).map(([key, value]) => [key === head ? next : key, value]);
      editing.change((document) => editing.tree.set(document, path, mapOf(entries)), { focus: `${pathText(path)}head` });
    },
  );
}

function stepTools(editing, path, number, length) {
  const moved = (by) => [...path.slice(0, -1), number + by];
  const tool = (drawn, label, role, click, disabled = false) => button(icon(drawn), { label, control: `${pathText(path)}${role}`, class: "button small quiet tool", "aria-disabled": disabled ? "true" : null }, () => !disabled && click());
  const move = (by, role) => editing.shift(path, by, { focus: pathText(moved(by)) + role, say: `Step moved to ${number + by + 1}` });
  const after = [...path.slice(0, -1), Math.max(0, number - 1)];
  return h(
    "span",
    { class: "tools" },
    tool("up", `Move step ${number + 1} up`, "up", () => move(-1, "up"), number === 0),
    tool("down", `Move step ${number + 1} down`, "down", () => move(1, "down"), number === length - 1),
    length > 1 && tool("remove", `Remove step ${number + 1}`, "remove", () => editing.remove(path, { focus: `${pathText(after)}head`, say: "Step removed" })),
  );
}

registerBody(["sequence"], (editing, schema, path, label) => {
  const steps = Array.isArray(editing.value(path)) ? editing.value(path) : [];
  const next = [...path, steps.length];
  const add = (step, say) => editing.insert(next, mapOf(step), { focus: `${pathText(next)}head`, say });
  const full = steps.length >= (schema.maxItems ?? Infinity);
  return h(
    "div",
    { class: "sequence" },
    h("ol", { class: "steps", "aria-label": label }, steps.map((_, number) => stepCard(editing, schema, [...path, number], number, steps.length))),
    !full &&
      h(
        "div",
        { class: "adders" },
        button("+ then did", { label: "Add a step: then did", control: `${pathText(path)}add`, class: "button small" }, () => add([["did", ""], ["within", "1h"]], "Added a step")),
        button("+ and did not", { label: "Add a step: and did not", control: `${pathText(path)}addnot`, class: "button small quiet" }, () => add([["did_not", ""], ["within", "1h"]], "Added a step")),
      ),
  );
});
