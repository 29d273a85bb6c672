// The editor of any part of a document, made from its schema. Parts with a form of their own are registered by name.

import { button, h, icon, select } from "./dom.js";
import { choiceField, numberField, quantityField, scalarField, textField, yesNoField } from "./controls.js";
import { isMap, mapOf, same, stringify } from "./exact.js";
import { pathText } from "./tree.js";

const own = new Map();

/** Register the editor of a definition of the schema, by its name. */
export function register(name, make) {
  own.set(name, make);
}

const WORDS = {
  of: "of",
  is: "is",
  k: "at least",
  lat: "latitude",
  lon: "longitude",
  as: "read as",
  min_stay: "stays at least",
  cool_down: "no new entry for",
  max_entries: "entries at most",
  expose: "known to the read API",
  change_by: "publish only changes of",
  at_most: "at most",
  at_least: "at least",
};

/** Return a key in words. */
export function words(key) {
  return WORDS[key] ?? String(key).replaceAll("_", " ");
}

/** Make the editor of the value at a path. */
export function editor(editing, schema, path, options = {}) {
  const { schema: found, name } = editing.schemas.resolve(schema);
  const make = own.get(name);
  if (make) return make(editing, found, path, options);
  const value = editing.value(path);
  const forms = editing.schemas.forms(found);
  const form = editing.schemas.formOf(found, value);
  if (form.name && own.has(form.name) && forms.length === 1) return own.get(form.name)(editing, form.schema, path, options);
  const inner = simple(editing, form, path, options);
  return forms.length > 1 ? h("div", { class: "alternatives" }, formChoice(editing, forms, form, path, options), inner) : inner;
}

function simple(editing, form, path, options) {
  const make = form.name && own.get(form.name);
  if (make) return make(editing, form.schema, path, options);
  return MAKE[editing.schemas.kind(form.schema)](editing, form.schema, path, { label: words(path.at(-1)), ...options });
}

const MAKE = {
  map: mapEditor,
  dict: dictEditor,
  list: listEditor,
  scalar: (editing, schema, path, options) => scalarField(editing, path, schema, options),
  quantity: (editing, schema, path, options) => quantityField(editing, path, schema, options),
  enum: (editing, schema, path, options) => choiceField(editing, path, schema.enum ?? [schema.const], options),
  integer: (editing, _, path, options) => numberField(editing, path, options),
  number: (editing, _, path, options) => numberField(editing, path, options),
  boolean: (editing, _, path, options) => yesNoField(editing, path, options),
  string: textEditor,
  any: rawEditor,
};

function textEditor(editing, schema, path, options) {
  const placeholder = schema.examples?.join(" or ") ?? options.placeholder ?? null;
  const long = schema.maxLength > 500;
  return textField(editing, path, { ...options, placeholder, wide: long });
}

/** A part that has no form: shown as JSON, so that nothing of a document is hidden. */
function rawEditor(editing, _schema, path, options) {
  return h("code", { class: "raw", "data-control": pathText(path), tabindex: 0, "aria-label": options.label }, stringify(editing.value(path)));
}

/** Return what a form is called. */
function formName(editing, schema, value) {
  if (schema.title) return schema.title;
  const kind = editing.schemas.kind(schema);
  const fixed = Object.values(schema.properties ?? {}).flatMap((each) => (schema.required?.length === 1 ? ("const" in each ? [each.const] : (each.enum ?? [])) : []));
  if (kind === "map" && fixed.length) return fixed.join(", ");
  if (kind === "map") return (schema.required?.length ? schema.required : Object.keys(schema.properties)).map(words).join(", ");
  const items = kind === "list" && editing.schemas.resolve(editing.schemas.item(schema, schema.prefixItems ? 1 : 0)).schema;
  if (items) return "several";
  return { scalar: "a value", quantity: "a quantity", enum: "one", string: "a text", dict: "conditions" }[kind] ?? `a ${kind}`;
}

function formChoice(editing, forms, form, path, options) {
  const current = forms.findIndex((each) => each.schema === form.schema);
  const value = editing.value(path);
  return select(
    {
      value: String(current),
      options: forms.map((each, number) => [String(number), formName(editing, each.schema, value)]),
      "aria-label": `${options.label ?? words(path.at(-1))}: form`,
      "data-control": `${pathText(path)}form`,
      class: "control form-choice",
    },
    (next) => editing.set(path, inForm(editing, forms[Number(next)].schema, value)),
  );
}

/** Return a value in another form: what fits stays. */
export function inForm(editing, schema, value) {
  const { schemas } = editing;
  if (schemas.accepts(schema, value)) return value;
  if (schema.type === "array" && schemas.accepts(schema, [value])) return [value];
  if (Array.isArray(value) && value.length && schemas.accepts(schema, value[0])) return value[0];
  const starter = schemas.starter(schema);
  if (!isMap(starter) || !isMap(value)) return starter;
  const fits = ([key, each]) => key in (schema.properties ?? {}) && schemas.accepts(schema.properties[key], each);
  return mapOf([...Object.entries(starter), ...Object.entries(value).filter(fits)]);
}

/** Make a row of a map: its label, its value, a button that removes it where that is allowed. */
export function entry(editing, schema, path, { label = words(path.at(-1)), removable = true, hint = null, ...options } = {}) {
  const made = editor(editing, schema, path, { label: label || words(path.at(-1)), ...options });
  return line(path, h("span", { class: "entry-label", title: hint }, label), made, removable && removeButton(editing, path, label));
}

/** Make a line of controls, the last of which removes what the others edit; mistakes stand below. */
export function line(path, ...controls) {
  return h("div", { class: "entry" }, h("div", { class: "entry-line" }, controls), marks(path));
}

/** Make the place where the mistakes of a path are shown. */
export function marks(path, below = false) {
  return h("div", { class: "marks", "data-marks": JSON.stringify(path), "data-below": below ? "true" : null });
}

export function removeButton(editing, path, label) {
  const above = pathText(path.slice(0, -1));
  return button(icon("remove"), { label: `Remove ${label}`, control: `${pathText(path)}remove`, class: "button small quiet" }, () =>
    editing.remove(path, { focus: `${above}add`, say: `Removed ${label}` }),
  );
}

/** Make a choice of keys to add to a map; null if there is none. */
export function addMenu(editing, schema, path, keys, label = "Add…") {
  if (!keys.length) return null;
  return select(
    {
      value: "",
      options: [["", label], ...keys.map((key) => [key, words(key)])],
      "aria-label": `${label} ${words(path.at(-1) ?? "")}`.trim(),
      "data-control": `${pathText(path)}add`,
      class: "control add",
    },
    (key) => key && addKeys(editing, schema, path, key),
  );
}

function addKeys(editing, schema, path, key) {
  const needed = [key, ...(schema.dependentRequired?.[key] ?? [])];
  editing.change(
    (document) => needed.reduce((found, each) => setIn(editing, found, [...path, each], schema.properties[each]), document),
    { focus: pathText([...path, key]), say: `Added ${words(key)}` },
  );
}

function setIn(editing, document, path, schema) {
  return editing.tree.at(document, path) === undefined ? editing.tree.set(document, path, editing.schemas.starter(schema)) : document;
}

function mapEditor(editing, schema, path, { label, skip = [] }) {
  const value = isMap(editing.value(path)) ? editing.value(path) : {};
  const keys = Object.keys(value).filter((key) => !skip.includes(key));
  const rows = keys.map((key) => {
    if (!(key in schema.properties) && editing.schemas.named(schema)) return namedEntry(editing, editing.schemas.named(schema), [...path, key]);
    const own = schema.properties[key];
    const removable = !(schema.required ?? []).includes(key);
    return own ? entry(editing, own, [...path, key], { removable, hint: own.description }) : unknownEntry(editing, [...path, key]);
  });
  const more = editing.schemas.addable(schema, value).filter((key) => !skip.includes(key));
  return h("div", { class: "map", role: "group", "aria-label": label }, rows, addMenu(editing, schema, path, more), namedButton(editing, schema, path, label));
}

/** Make the row of a key that a person has named. */
function namedEntry(editing, schema, path) {
  const key = path.at(-1);
  return line(path, keyField(editing, path, "name"), editor(editing, schema, path, { label: key || "new" }), removeButton(editing, path, key || "new"));
}

/** Make a button that adds a value with a name of its own; null where a map has only known keys. */
function namedButton(editing, schema, path, label) {
  const named = editing.schemas.named(schema);
  if (!named || "" in (editing.value(path) ?? {})) return null;
  const next = [...path, ""];
  return button("+ Named", { control: `${pathText(path)}named`, label: `Add a named one to ${label}`, class: "button small" }, () => editing.change((document) => editing.tree.set(document, next, editing.schemas.starter(named)), { focus: `${pathText(next)}key` }));
}

function unknownEntry(editing, path) {
  return line(path, h("span", { class: "entry-label" }, path.at(-1)), rawEditor(editing, {}, path, { label: path.at(-1) }), removeButton(editing, path, path.at(-1)));
}

function dictEditor(editing, schema, path, { label }) {
  const value = isMap(editing.value(path)) ? editing.value(path) : {};
  const rows = Object.keys(value).map((key, number) => {
    const name = keyField(editing, [...path, key], `name of ${label} ${number + 1}`);
    return line([...path, key], name, editor(editing, schema.additionalProperties ?? {}, [...path, key], { label: key || "new" }), removeButton(editing, [...path, key], key));
  });
  const add = button("+ Add", { control: `${pathText(path)}add`, label: `Add to ${label}`, class: "button small" }, () => {
    if (!("" in value)) editing.change((document) => editing.tree.set(document, [...path, ""], editing.schemas.starter(schema.additionalProperties ?? {})), { focus: `${pathText([...path, ""])}key` });
  });
  return h("div", { class: "map", role: "group", "aria-label": label }, rows, add);
}

/** Make a field for the key of a map; the key is renamed when the field is left. */
export function keyField(editing, path, label, { list = null, placeholder = "name" } = {}) {
  const key = path.at(-1);
  const around = editing.value(path.slice(0, -1));
  const rename = (event) => {
    const next = event.target.value;
    if (next === key) return;
    if (next in around) {
      event.target.value = key;
      editing.announce(`${next} is there already`);
      return;
    }
    const renamed = [...path.slice(0, -1), next];
    editing.rename(path, next, { focus: null });
    editing.renamed?.(pathText(path), pathText(renamed));
  };
  return h("input", { type: "text", class: "control key", value: key, list, placeholder, autocomplete: "off", "aria-label": label, "data-control": `${pathText(path)}key`, size: Math.min(40, Math.max(8, key.length + 2)), on: { change: rename } });
}

function listEditor(editing, schema, path, { label }) {
  const value = Array.isArray(editing.value(path)) ? editing.value(path) : [];
  const fixed = schema.minItems !== undefined && schema.minItems === schema.maxItems;
  const rows = value.map((_, number) => {
    const own = [...path, number];
    const removable = !fixed && value.length > (schema.minItems ?? 0);
    const item = editor(editing, editing.schemas.item(schema, number) || {}, own, { label: `${label} ${number + 1}` });
    return h("li", { class: "item" }, item, removable && removeButton(editing, own, `${label} ${number + 1}`), marks(own));
  });
  const full = fixed || value.length >= (schema.maxItems ?? Infinity) || schema.items === false;
  const next = [...path, value.length];
  const add = !full && button("+", { control: `${pathText(path)}add`, label: `Add to ${label}`, class: "button small" }, () => editing.insert(next, editing.schemas.starter(editing.schemas.item(schema, value.length)), { focus: pathText(next) }));
  return h("div", { class: "list" }, h("ol", { class: "items", "aria-label": label }, rows), add);
}

/** Return whether a value may stand under a key of a map with this schema. */
export function fitsKey(editing, schema, key, value) {
  return key in (schema.properties ?? {}) && (editing.schemas.accepts(schema.properties[key], value) || same(value, ""));
}
