// Names of events, and paths of properties and traits: fields with suggestions from the catalogue.

import { button, h } from "./dom.js";
import { textField } from "./controls.js";
import { marks, register, removeButton } from "./editors.js";
import { pathText } from "./tree.js";

const FURTHER = ["any_event", "page", "screen", "identify"];

function volume(event) {
  return event.per_day >= 1 ? `${Math.round(event.per_day).toLocaleString("en")} a day` : `${event.count.toLocaleString("en")} in all`;
}

/** Return the id of the list of all events. */
function eventsList(editing) {
  const known = [...editing.events.values()].map((each) => [each.name, volume(each)]);
  return editing.lists.of("events", [...known, ...FURTHER.filter((each) => !editing.events.has(each)).map((each) => [each, each === "any_event" ? "every event" : "call"])]);
}

function eventField(editing, path, label) {
  const field = textField(editing, path, { label, list: eventsList(editing), placeholder: "event" });
  field.classList.add("event");
  return h("span", { class: "named" }, field, hint(editing.isUnknownEvent(editing.value(path)), "not seen yet"));
}

/** Make a remark beside a field: what is typed is allowed, but occurs nowhere yet. */
export function hint(shown, text) {
  return shown && h("span", { class: "hint", role: "note" }, text);
}

/** The editor of one name of an event, or of several. */
function namesEditor(editing, _schema, path, { label = "event" }) {
  const value = editing.value(path);
  const several = Array.isArray(value);
  const names = several ? value : [value];
  const rows = names.map((_, number) => {
    const own = several ? [...path, number] : path;
    return h("span", { class: "name" }, number > 0 && h("span", { class: "or" }, "or"), eventField(editing, own, `${label} ${number + 1}`), several && names.length > 1 && removeButton(editing, own, `event ${number + 1}`), several && marks(own));
  });
  const more = button("or…", { label: `Or another ${label}`, control: `${pathText(path)}add`, class: "button small quiet" }, () => {
    const next = [...names, ""];
    editing.change((document) => editing.tree.set(document, path, next), { focus: pathText([...path, names.length]) });
  });
  return h("span", { class: "names", role: "group", "aria-label": label }, rows, more);
}

/** Make a field for a path of an event's properties, or of traits. */
export function pathField(editing, path, fields, { label, what = "property" }) {
  const options = [...fields.values()].map((each) => [each.name, describe(each)]);
  const list = options.length ? editing.lists.of(`${what} ${label}`, options) : null;
  const field = textField(editing, path, { label, list, placeholder: what });
  const value = editing.value(path);
  const known = fields.size === 0 || value === "" || isKnown(value, fields);
  return h("span", { class: "named" }, field, hint(!known, "not seen yet"));
}

export function describe(field) {
  const values = (field.values ?? []).slice(0, 3).map(([value]) => value);
  const range = field.range ? ` from ${field.range[0]} to ${field.range[1]}` : "";
  return `${field.type}${range}${values.length ? `: ${values.join(", ")}` : ""}, in ${Math.round(field.share * 100)} %`;
}

/** Return whether a path is known, or may be read from elsewhere: the context, a look-up, a list of objects. */
export function isKnown(path, fields) {
  if (typeof path !== "string") return true;
  if (path.startsWith("context.") || path.includes("[") || path.startsWith("\\")) return true;
  return fields.has(path) || [...fields.keys()].some((each) => each.startsWith(`${path}.`) || each.startsWith(`${path}[`));
}

/** Make a field for the key of something: a segment, a list, an indicator, a place. */
export function keyedField(editing, path, options, { label, unknown = "not published yet" }) {
  const list = options.length ? editing.lists.of(label, options) : null;
  const field = textField(editing, path, { label, list, placeholder: label });
  const value = editing.value(path);
  const known = typeof value !== "string" || value === "" || options.some(([key]) => key === value);
  return h("span", { class: "named" }, field, hint(!known, unknown));
}

export function segmentOptions(editing) {
  return editing.catalogue.segments.map((each) => [each.key, `${each.name}${each.members === null ? "" : `: ${each.members.toLocaleString("en")}`}`]);
}

register("names", namesEditor);
