// Conditions: paths of properties, each with what its value must be.

import { button, h } from "./dom.js";
import { likelyValue } from "./controls.js";
import { keyField, line, register, removeButton } from "./editors.js";
import { isMap } from "./exact.js";
import { describe, hint, isKnown } from "./names.js";
import { conditionEditor } from "./predicates.js";
import { pathText } from "./tree.js";

/** The editor of `where`: all conditions must hold for the same event, or element. */
function whereEditor(editing, schema, path, { label = "where", fields = null }) {
  const value = isMap(editing.value(path)) ? editing.value(path) : {};
  const known = fields ?? editing.fieldsAround(path);
  const rows = Object.keys(value).map((name, number) => conditionRow(editing, schema, [...path, name], known, number));
  const add = button("+ condition", { label: `Add a condition to ${label}`, control: `${pathText(path)}add`, class: "button small quiet" }, () => addCondition(editing, path, value, known));
  return h("div", { class: "where", role: "group", "aria-label": label }, rows, add);
}

function conditionRow(editing, schema, path, known, number) {
  const name = path.at(-1);
  const field = known.get(name) ?? null;
  const list = known.size ? editing.lists.of("properties", [...known.values()].map((each) => [each.name, describe(each)])) : null;
  const unknown = known.size > 0 && name !== "" && !isKnown(name, known);
  const condition = h(
    "span",
    { class: "named" },
    h("span", { class: "or" }, number === 0 ? "where" : "and"),
    keyField(editing, path, `property ${number + 1}`, { list, placeholder: "property" }),
    hint(unknown, "not seen yet"),
    conditionEditor(editing, schema.additionalProperties, path, { label: name || `property ${number + 1}`, field }),
  );
  return line(path, condition, removeButton(editing, path, `condition on ${name || "a property"}`));
}

function addCondition(editing, path, value, known) {
  const free = [...known.keys()].find((each) => !(each in value)) ?? "";
  const name = free in value ? "property" : free;
  if (name in value) return;
  const first = likelyValue(known.get(name));
  editing.change((document) => editing.tree.set(document, [...path, name], first), { focus: `${pathText([...path, name])}key`, say: "Added a condition" });
}

for (const name of ["where", "elements", "where of a step"]) register(name, whereEditor);
