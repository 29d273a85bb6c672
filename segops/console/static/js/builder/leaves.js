// Leaves of a rule and figures: the head, what it tests, and what may stand beside it.

import { button, h, icon, select } from "./dom.js";
import { addMenu, editor, entry, fitsKey, inForm, line, marks, register, words } from "./editors.js";
import { isMap, mapOf } from "./exact.js";
import { keyedField, pathField, segmentOptions } from "./names.js";
import { eventsOf, pathOf, underHead } from "./nodes.js";
import { pathText } from "./tree.js";
import { WINDOW_KEYS } from "./schema.js";
import { windowEditor } from "./windows.js";

const AMOUNTS = ["sum", "avg", "min", "max", "distinct", "latest", "earliest", "most_frequent"];
/** Heads whose value takes more than a line. */
const LARGE = ["sequence", "rfm", "near", "compare", "ratio", "lifecycle"];
/** Head -> a function that makes the form of its value. */
const bodies = new Map();

/** Register the form of a head's value. */
export function registerBody(heads, make) {
  for (const head of heads) bodies.set(head, make);
}

/** Make the fields of a leaf: a line with its head's value and what it tests; then the rest, and what may be added. */
export function leafFields(editing, schema, path, head) {
  const value = editing.value(path);
  const field = testedField(editing, value, head);
  const shown = Object.keys(value).filter((key) => key !== head && !(WINDOW_KEYS.includes(key) && key in schema.properties));
  const inline = ["of", "is", "count"].filter((key) => shown.includes(key));
  const others = shown.filter((key) => !inline.includes(key));
  const addable = editing.schemas.addable(schema, value).filter((key) => !WINDOW_KEYS.includes(key) && key !== head);
  const values = inline.map((key) => inlineField(editing, schema, path, key, field));
  const body = headValue(editing, schema.properties[head], path, head);
  const isLarge = LARGE.includes(head);
  return [
    [!isLarge && body, values],
    [isLarge && body, windowEditor(editing, schema, path), others.map((key) => beside(editing, schema, path, key, field)), addMenu(editing, schema, path, addable, "Add…"), marks(path)],
  ];
}

function headValue(editing, schema, path, head) {
  const own = [...path, head];
  const make = bodies.get(head);
  const label = editing.heads.get(head)?.label ?? words(head);
  const made = make ? make(editing, schema, own, label) : editor(editing, schema, own, { label });
  return h("span", { class: "head-value" }, made, marks(own));
}

function inlineField(editing, schema, path, key, field) {
  const label = key === "of" ? "of event" : "value";
  return h("span", { class: "inline-field" }, h("span", { class: "or" }, key === "of" ? "of" : key === "count" ? "times" : ""), editor(editing, schema.properties[key] ?? {}, [...path, key], { label, field }), marks([...path, key]));
}

function beside(editing, schema, path, key, field) {
  const own = schema.properties[key];
  if (key === "where") return line([...path, key], editor(editing, own, [...path, key], { label: "where" }), removeKey(editing, path, key));
  return entry(editing, own ?? {}, [...path, key], { removable: !(schema.required ?? []).includes(key) || !own, label: words(key), field });
}

function removeKey(editing, path, key) {
  return button(icon("remove"), { label: `Remove all of ${words(key)}`, control: `${pathText([...path, key])}remove`, class: "button small quiet" }, () =>
    editing.remove([...path, key], { focus: `${pathText(path)}add`, say: `Removed ${words(key)}` }),
  );
}

/** Return the field of the catalogue whose value a leaf tests, or null. */
function testedField(editing, value, head) {
  const name = pathOf(value, head);
  if (["trait", "has_been", "changed"].includes(head)) return editing.traits.get(name) ?? null;
  if (!AMOUNTS.includes(head)) return null;
  const found = editing.fieldsOf(eventsOf(value, head)).get(name) ?? null;
  return ["latest", "earliest", "most_frequent"].includes(head) ? found : { type: "number" };
}

/** Make the form of a path: a text with suggestions, or a list of names. */
export function pathEditor(editing, schema, path, label, fields, what) {
  const value = editing.value(path);
  const forms = editing.schemas.forms(schema);
  const listed = forms.find((each) => each.schema.type === "array");
  const text = forms.find((each) => each.schema.type === "string");
  if (Array.isArray(value)) {
    const back = button("as text", { label: `${label}: as a text`, control: `${pathText(path)}form`, class: "button small quiet" }, () =>
      editing.change((document) => editing.tree.set(document, path, value.slice(1).join(".")), { focus: pathText(path) }),
    );
    return h("span", { class: "named" }, editor(editing, listed?.schema ?? { type: "array", items: text.schema }, path, { label }), back);
  }
  const roots = listed?.schema.prefixItems?.[0]?.enum;
  const aside = roots && /[.\\]/.test(String(value ?? "")) && button("as list", { label: `${label}: as a list of names`, control: `${pathText(path)}form`, class: "button small quiet" }, () =>
    editing.change((document) => editing.tree.set(document, path, [roots[0], ...String(value).split(".")]), { focus: pathText([...path, 1]) }),
  );
  return h("span", { class: "named" }, pathField(editing, path, fields, { label, what }), aside);
}

registerBody(AMOUNTS, (editing, schema, path, label) => {
  const events = eventsOf(editing.value(path.slice(0, -1)), path.at(-1));
  return pathEditor(editing, schema, path, `${label} property`, editing.fieldsOf(events), "property");
});
registerBody(["trait"], (editing, schema, path, label) => pathEditor(editing, schema, path, label, editing.traits, "trait"));
registerBody(["in_segment"], (editing, _, path) => keyedField(editing, path, segmentOptions(editing), { label: "segment" }));
registerBody(["list"], (editing, _, path) => keyedField(editing, path, editing.catalogue.lists.map((each) => [each, ""]), { label: "list", unknown: "empty until it is uploaded" }));
registerBody(["indicator"], (editing, _, path) => keyedField(editing, path, editing.namesIn("indicators").map((each) => [each, ""]), { label: "indicator", unknown: "define it below" }));
registerBody(["has_been", "changed"], (editing, schema, path, label) => {
  const value = editing.value(path);
  const { schema: own } = editing.schemas.resolve(schema);
  const field = editing.traits.get(value?.trait) ?? null;
  const rows = Object.keys(isMap(value) ? value : {}).map((key) => {
    const at = [...path, key];
    if (key === "trait") return h("span", { class: "inline-field" }, pathEditor(editing, own.properties.trait, at, "trait", editing.traits, "trait"), marks(at));
    return entry(editing, own.properties[key] ?? {}, at, { removable: !(own.required ?? []).includes(key) });
  });
  return h("span", { class: "named", role: "group", "aria-label": label, "data-field": field?.name }, rows, addMenu(editing, own, path, editing.schemas.addable(own, value ?? {}), "Add…"));
});

const SESSION = [["duration", "its duration"], ["events", "its number of events"], ["first", "its first value of"], ["last", "its last value of"]];

/** The figure of a session; what it is compared with begins anew with another figure. */
registerBody(["session"], (editing, _, path) => {
  const value = editing.value(path);
  const around = path.slice(0, -1);
  const kind = isMap(value) ? Object.keys(value)[0] : value;
  const known = SESSION.some(([each]) => each === kind);
  const choice = select({ value: kind, options: known ? SESSION : [[kind, "choose"], ...SESSION], "aria-label": "figure of the session", "data-control": isMap(value) ? `${pathText(path)}kind` : pathText(path), class: "control" }, (next) => {
    const figure = ["first", "last"].includes(next) ? mapOf([[next, ""]]) : next;
    const test = mapOf([["gte", next === "duration" ? "10m" : 2]]);
    const node = editing.tree.set(editing.tree.set(editing.value(around), ["session"], figure), ["is"], isMap(figure) ? mapOf([["exists", true]]) : test);
    editing.change((document) => editing.tree.set(document, around, node), { focus: pathText(path) });
  });
  if (!isMap(value)) return choice;
  const fields = editing.fieldsOf(eventsOf(editing.value(around), "session"));
  return h("span", { class: "named" }, choice, Object.keys(value).map((key) => pathField(editing, [...path, key], fields, { label: "property of the session" })));
});

// -- figures -----------------------------------------------------------------------------------------------

/** The editor of a figure: which one, and its fields. */
function figureEditor(editing, schema, path, { label = "figure" }) {
  const value = editing.value(path);
  const forms = editing.schemas.forms(schema);
  const form = editing.schemas.formOf(schema, value);
  const head = form.schema.required?.[0];
  if (!isMap(value) || !head) return editor(editing, { type: ["number", "string"] }, path, { label });
  const heads = forms.map((each) => each.schema.required[0]);
  const choice = select(
    { value: head, options: heads.map((each) => [each, figureWords(editing, each)]), "aria-label": `${label}: kind`, "data-control": `${pathText(path)}figure`, class: "control head" },
    (next) => changeFigure(editing, forms, path, head, next),
  );
  const [values, rest] = leafFields(editing, form.schema, path, head);
  return h("div", { class: "figure", role: "group", "aria-label": label }, h("div", { class: "leaf-line" }, choice, values), rest);
}

function figureWords(editing, head) {
  return { did: "Number of events", ratio: "Ratio", rfm: "RFM digit", trait: "Trait", score: "Score" }[head] ?? editing.heads.get(head)?.label ?? words(head);
}

function changeFigure(editing, forms, path, from, to) {
  const { schema } = forms.find((each) => each.schema.required[0] === to);
  const fits = (key, value) => fitsKey(editing, schema, key, value);
  const next = underHead(editing.value(path), from, to, { starter: editing.schemas.starter(schema), fits });
  editing.change((document) => editing.tree.set(document, path, next), { focus: `${pathText(path)}figure` });
}

/** The editor of a comparison: two figures, or a figure and a number, and the relation between them. */
registerBody(["compare"], (editing, schema, path, label) => {
  const right = editing.schemas.item(schema, 2);
  const number = { type: "number" };
  const isFigure = isMap(editing.value([...path, 2]));
  const kind = select(
    { value: isFigure ? "figure" : "number", options: [["number", "a number"], ["figure", "another figure"]], "aria-label": "compare with", "data-control": `${pathText(path)}right`, class: "control" },
    (next) => editing.set([...path, 2], next === "number" ? 3 : inForm(editing, editing.schemas.resolve(right.anyOf[0]).schema, mapOf([["did", ""]]))),
  );
  return h(
    "div",
    { class: "compare", role: "group", "aria-label": label },
    editor(editing, editing.schemas.item(schema, 0), [...path, 0], { label: "first figure" }),
    marks([...path, 0], true),
    editor(editing, editing.schemas.item(schema, 1), [...path, 1], { label: "relation", words: editing.language.operators }),
    kind,
    editor(editing, isFigure ? right.anyOf[0] : number, [...path, 2], { label: "compared with" }),
    marks([...path, 2], true),
  );
});

register("figure", figureEditor);
