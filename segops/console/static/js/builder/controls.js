// Controls for single values: texts, numbers, quantities, choices. Each is named by its place in the document.

import { isNumber, numberOf, stringify } from "./exact.js";
import { h, select, uniqueId } from "./dom.js";
import { pathText } from "./tree.js";
import { unitsOf } from "./schema.js";

const UNIT_NAMES = { ms: "milliseconds", s: "seconds", m: "minutes", h: "hours", d: "days", w: "weeks", km: "kilometres", mi: "miles" };

/** Return the attributes of a control: its name, its label, and whether a mistake is at its place. */
export function named(editing, path, label, role = "") {
  const name = pathText(path) + role;
  return { "data-control": name, "aria-label": label, "aria-invalid": editing.errorsAt(path).length ? "true" : null };
}

/** Return a value as text: a part of a document that is no simple value, as JSON. */
function textOf(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "object" && !isNumber(value) ? stringify(value) : String(value);
}

/** Make a text field. Typing edits the document at once; leaving the field makes the views again. */
export function textField(editing, path, { label, list = null, placeholder = null, read = (text) => text, role = "", wide = false, control = null, optional = false }) {
  const value = editing.value(path);
  const name = control ?? pathText(path) + role;
  const write = (event) => {
    const current = editing.value(path);
    const isText = typeof current === "string" || isNumber(current);
    if (!isText && event.target.value === textOf(current)) return;
    const next = read(event.target.value);
    if (optional && next === "") editing.remove(path, { control: name, quiet: true });
    else if (next !== undefined) editing.set(path, next, { control: name, quiet: true });
  };
  return h("input", {
    ...named(editing, path, label, role),
    type: "text",
    class: wide ? "control wide" : "control",
    value: textOf(value),
    list,
    placeholder,
    autocomplete: "off",
    spellcheck: "false",
    size: Math.min(40, Math.max(6, textOf(value).length + 2)),
    on: { input: write, change: () => editing.refresh() },
  });
}

/** Make a field for a number; what is no number stays a text, which the check refuses at its place. */
export function numberField(editing, path, { label, role = "" }) {
  const field = textField(editing, path, { label, role, read: (text) => numberOf(text.trim()) ?? text });
  field.setAttribute("inputmode", "decimal");
  field.classList.add("number");
  return field;
}

/** Make a number and a unit for a text such as `48h`; another text is edited as it is. */
export function quantityField(editing, path, schema, { label }) {
  const units = unitsOf(schema);
  const value = editing.value(path);
  const found = typeof value === "string" ? /^([0-9]*(?:\.[0-9]+)?)([a-z]+)$/.exec(value) : null;
  if (!found || !units.includes(found[2])) return textField(editing, path, { label });
  const [, number, unit] = found;
  const field = textField(editing, path, { label, read: (text) => `${text.trim()}${current()}` });
  field.value = number;
  field.size = Math.max(3, number.length);
  field.classList.add("number");
  field.setAttribute("inputmode", "decimal");
  const current = () => units.find((each) => each === unitSelect.value) ?? unit;
  const unitSelect = select(
    { value: unit, options: units.map((each) => [each, UNIT_NAMES[each] ?? each]), ...named(editing, path, `${label}: unit`, "unit"), class: "control" },
    (next) => editing.set(path, `${field.value.trim()}${next}`),
  );
  return h("span", { class: "joined" }, field, unitSelect);
}

/** Make a choice among fixed values. */
export function choiceField(editing, path, values, { label, words = {}, role = "" }) {
  const value = editing.value(path);
  const known = values.some((each) => each === value);
  const options = values.map((each) => [JSON.stringify(each), words[each] ?? String(each).replaceAll("_", " ")]);
  if (!known) options.unshift([JSON.stringify(value ?? null), value === undefined ? "choose" : textOf(value)]);
  return select({ value: JSON.stringify(value ?? null), options, ...named(editing, path, label, role), class: "control" }, (next) =>
    editing.set(path, JSON.parse(next)),
  );
}

export function yesNoField(editing, path, { label }) {
  return choiceField(editing, path, [true, false], { label, words: { true: "yes", false: "no" } });
}

const KINDS = { text: "text", number: "number", boolean: "yes or no" };

function kindOf(value) {
  if (isNumber(value)) return "number";
  return typeof value === "boolean" ? "boolean" : "text";
}

/** Make a field for a value of any simple type: the type is chosen beside it, since types do not mix. */
export function scalarField(editing, path, schema, { label, field = null, list = null }) {
  const types = [schema.type].flat().map((each) => (each === "string" ? "text" : each));
  const value = editing.value(path);
  const kind = kindOf(value);
  const input =
    kind === "number" ? numberField(editing, path, { label }) : kind === "boolean" ? yesNoField(editing, path, { label }) : textField(editing, path, { label, list: list ?? valuesList(editing, field) });
  const kinds = types.includes(kind) ? types : [kind, ...types];
  const type = select(
    { value: kind, options: kinds.map((each) => [each, KINDS[each] ?? each]), ...named(editing, path, `${label}: type`, "type"), class: "control type" },
    (next) => editing.set(path, converted(value, next)),
  );
  return h("span", { class: "joined" }, input, type);
}

/** Return a value as another type; what cannot be read begins anew. */
export function converted(value, kind) {
  if (kind === "number") return numberOf(textOf(value).trim()) ?? 0;
  if (kind === "boolean") return value === true || value === "true";
  return textOf(value);
}

/** Return the simple value that a field of the catalogue most likely is compared with. */
export function likelyValue(field) {
  if (field?.type === "number" || field?.type === "integer") return 0;
  if (field?.type === "boolean") return true;
  return field?.values?.[0]?.[0] ?? "";
}

/** Return the id of a list of the values that a field had, or null. */
export function valuesList(editing, field) {
  const values = field?.values ?? [];
  return values.length ? editing.lists.of(`values of ${field.name}`, values.map(([text, count]) => [text, `${count}`])) : null;
}

/** The lists of suggestions, each made once for all fields that offer it. */
export class Suggestions {
  #made = new Map();

  constructor(root) {
    this.root = root;
  }

  clear() {
    this.#made.clear();
    this.root.replaceChildren();
  }

  of(name, options) {
    const key = JSON.stringify([name, options.length, options[0], options.at(-1)]);
    if (!this.#made.has(key)) {
      const id = uniqueId("list");
      this.root.append(h("datalist", { id }, options.map(([value, text]) => h("option", { value }, text))));
      this.#made.set(key, id);
    }
    return this.#made.get(key);
  }
}
