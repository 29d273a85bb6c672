// Predicates: operators with their operands, all of which must hold.

import { button, h, select } from "./dom.js";
import { likelyValue, scalarField, valuesList } from "./controls.js";
import { editor, marks, register, removeButton } from "./editors.js";
import { isMap, mapOf } from "./exact.js";
import { pathText } from "./tree.js";

/** The choice that stands for a value alone, without an operator. */
const BARE = "bare";
const FIRST = {
  number: ["eq", "gte", "gt", "lte", "lt", "between"],
  integer: ["eq", "gte", "gt", "lte", "lt", "between"],
  date: ["in_last", "older_than", "newer_than", "in_next", "before", "after"],
  list: ["includes", "count", "any"],
  string: ["eq", "in", "not_in", "contains"],
};

/** Return the operators of a schema as choices: those that suit a field first. */
function operatorChoices(editing, schema, field) {
  const all = Object.keys(schema.properties);
  const likely = (FIRST[field?.type] ?? []).filter((each) => all.includes(each));
  const words = (each) => [each, editing.language.operators[each] ?? each.replaceAll("_", " ")];
  if (!likely.length) return all.map(words);
  return [["usual", likely.map(words)], ["others", all.filter((each) => !likely.includes(each)).map(words)]];
}

/** Make the editor of one operator: which, and with what. */
function operatorRow(editing, schema, path, { field, label, first }) {
  const name = path.at(-1);
  const own = schema.properties[name];
  const many = Object.keys(editing.value(path.slice(0, -1))).length > 1;
  const choices = operatorChoices(editing, schema, field);
  const choice = select(
    { value: name, options: own ? choices : [[name, name], ...choices], "aria-label": `${label}: comparison`, "data-control": `${pathText(path)}operator`, class: "control operator" },
    (next) => changeOperator(editing, schema, path, next, field),
  );
  return h("span", { class: "operator-row" }, !first && h("span", { class: "or" }, "and"), choice, own && operand(editing, own, path, field, label), many && removeButton(editing, path, editing.language.operators[name] ?? name), marks(path));
}

function operand(editing, schema, path, field, label) {
  const { schema: found } = editing.schemas.resolve(schema);
  if (editing.schemas.kind(found) === "scalar") return scalarField(editing, path, found, { label, field });
  return editor(editing, schema, path, { label, list: found.type === "string" ? valuesList(editing, field) : null, field });
}

/** Put another operator in the place of one; its operand stays if it fits. */
function changeOperator(editing, schema, path, next, field) {
  const around = path.slice(0, -1);
  const value = editing.value(around);
  if (next in value) {
    editing.announce("that comparison is there already");
    editing.refresh();
    return;
  }
  const entries = Object.entries(value).map(([key, each]) => (key === path.at(-1) ? [next, operandFor(editing, schema.properties[next], each, field)] : [key, each]));
  editing.change((document) => editing.tree.set(document, around, mapOf(entries)), { focus: `${pathText([...around, next])}operator` });
}

/** Return an operand for an operator: the former one if it fits, else one that suits the field. */
export function operandFor(editing, schema, former, field) {
  if (editing.schemas.accepts(schema, former)) return former;
  if (Array.isArray(former) && editing.schemas.accepts(schema, former[0])) return former[0];
  const likely = likelyValue(field);
  const several = [[former], [former, former], [likely], [likely, likely]].find((each) => editing.schemas.accepts(schema, each));
  if (several && !isMap(former)) return several;
  return field && editing.schemas.accepts(schema, likely) ? likely : editing.schemas.starter(schema);
}

/** The editor of a predicate. */
function predicateEditor(editing, schema, path, { label = "value", field = null }) {
  const value = editing.value(path);
  if (!isMap(value)) return editor(editing, { type: ["number", "string", "boolean"] }, path, { label });
  const names = Object.keys(value);
  const rows = names.map((name, number) => operatorRow(editing, schema, [...path, name], { field, label, first: number === 0 }));
  return h("span", { class: "predicate", role: "group", "aria-label": label }, rows, andButton(editing, schema, path, value, field));
}

/** Make a button that adds another comparison. */
function andButton(editing, schema, path, value, field) {
  const free = editing.schemas.addable(schema, value);
  const next = free.find((each) => (FIRST[field?.type] ?? ["lt", "lte"]).includes(each)) ?? free[0];
  if (!next) return null;
  return button("and…", { label: "And another comparison", control: `${pathText(path)}add`, class: "button small quiet" }, () =>
    editing.change((document) => editing.tree.set(document, [...path, next], editing.schemas.starter(schema.properties[next])), { focus: `${pathText([...path, next])}operator` }),
  );
}

/** The editor of a condition: a value alone, a predicate, or the same as in another step. */
export function conditionEditor(editing, schema, path, { label, field }) {
  const value = editing.value(path);
  const forms = editing.schemas.forms(schema);
  const test = forms.find((each) => each.schema.properties?.eq);
  const same = forms.find((each) => each.schema.properties?.same_as);
  if (isMap(value) && same && "same_as" in value) return sameAs(editing, same.schema, path, { label, test, field });
  if (isMap(value)) return h("span", { class: "condition" }, editor(editing, testRef(test), path, { label, field }), plainButton(editing, path, value, label), same && sameButton(editing, path, label));
  return h(
    "span",
    { class: "condition operator-row" },
    select(
      { value: BARE, options: [[BARE, "is"], ...operatorChoices(editing, test.schema, field), ...(same ? [["same_as", "same as in step"]] : [])], "aria-label": `${label}: comparison`, "data-control": `${pathText(path)}operator`, class: "control operator" },
      (next) => next !== BARE && leaveBare(editing, forms, path, next, field),
    ),
    scalarField(editing, path, { type: ["number", "string", "boolean"] }, { label, field }),
  );
}

function testRef(form) {
  return form.name ? { $ref: `#/$defs/${form.name}` } : form.schema;
}

function leaveBare(editing, forms, path, next, field) {
  const form = forms.find((each) => each.schema.properties && next in each.schema.properties);
  const operand = operandFor(editing, form.schema.properties[next], editing.value(path), field);
  editing.change((document) => editing.tree.set(document, path, mapOf([[next, operand]])), { focus: pathText([...path, next]) });
}

/** Make a button that makes a condition with one `eq` a value alone. */
function plainButton(editing, path, value, label) {
  if (Object.keys(value).length !== 1 || !("eq" in value)) return null;
  return button("is", { label: `${label}: the value alone`, control: `${pathText(path)}bare`, class: "button small quiet" }, () =>
    editing.change((document) => editing.tree.set(document, path, value.eq), { focus: pathText(path) }),
  );
}

/** Make a button that compares a condition with an earlier step. */
function sameButton(editing, path, label) {
  return button("same as step…", { label: `${label}: the same as in an earlier step`, control: `${pathText(path)}same`, class: "button small quiet" }, () =>
    editing.change((document) => editing.tree.set(document, path, mapOf([["same_as", 1]])), { focus: pathText([...path, "same_as"]) }),
  );
}

function sameAs(editing, schema, path, { label, test, field }) {
  return h(
    "span",
    { class: "condition operator-row" },
    select({ value: "same_as", options: [[BARE, "is"], ...operatorChoices(editing, test.schema, field), ["same_as", "same as in step"]], "aria-label": `${label}: comparison`, "data-control": `${pathText(path)}operator`, class: "control operator" }, (next) => {
      if (next === "same_as") return;
      const value = next === BARE ? likelyValue(field) : mapOf([[next, operandFor(editing, test.schema.properties[next], likelyValue(field), field)]]);
      editing.change((document) => editing.tree.set(document, path, value), { focus: `${pathText(path)}operator` });
    }),
    editor(editing, schema.properties.same_as, [...path, "same_as"], { label: "step" }),
    marks([...path, "same_as"]),
  );
}

for (const name of ["test", "settled", "count", "number of elements"]) register(name, predicateEditor);
