// What a segment has beside its rule: name, key, limits of membership, alerts; and the blocks of its file.

import { button, fill, h, select } from "./dom.js";
import { textField } from "./controls.js";
import { addMenu, editor, marks, removeButton } from "./editors.js";
import { areasMap } from "./map.js";

const WORDS = {
  membership: "Limits of membership",
  alert: "Alerts",
  expose: "Exposed to the read API",
  rfm: "RFM: periods, edges and tiers",
  places: "Places",
  lookups: "Look-up tables",
  postal_codes: "Postal codes",
  scores: "Declared scores",
  indicators: "Indicators",
};
const NAMED = ["key", "name", "description", "when"];

function labelled(label, control, path, hint = null) {
  return h("div", { class: "field" }, h("span", { class: "field-label", "aria-hidden": "true" }, label), control, hint && h("p", { class: "field-hint" }, hint), marks(path));
}

/** Show name, key and description. */
export function showNames(element, editing, { published }) {
  const path = editing.segmentPath;
  const key = published ? h("p", {}, h("code", {}, editing.segment.key ?? "")) : textField(editing, [...path, "key"], { label: "Key" });
  fill(
    element,
    labelled("Name", textField(editing, [...path, "name"], { label: "Name", wide: true, optional: true }), [...path, "name"]),
    labelled("Key", key, [...path, "key"], published ? null : "Permanent: a-z, 0-9 and hyphens."),
    labelled("Description", textField(editing, [...path, "description"], { label: "Description", wide: true, optional: true }), [...path, "description"]),
  );
}

function section(editing, schema, path) {
  const key = path.at(-1);
  const map = key === "places" ? Object.entries(editing.document.places ?? {}).map(([name, area]) => areasMap([area].flat(), `Map of ${name}`)).filter(Boolean) : null;
  return h("div", { class: "block" }, h("div", { class: "block-head" }, h("h3", {}, WORDS[key] ?? key), removeButton(editing, path, WORDS[key] ?? key)), schema.description && h("p", { class: "muted small" }, schema.description), map, editor(editing, schema, path, { label: WORDS[key] ?? key }), marks(path));
}

/** Show what the definition has beside the rule. */
export function showSettings(element, editing) {
  const { root } = editing.schemas;
  const segment = editing.schemas.resolve({ $ref: "#/$defs/segment" }).schema;
  const own = Object.keys(editing.segment).filter((key) => !NAMED.includes(key));
  const ownRows = own.map((key) => section(editing, segment.properties[key] ?? {}, [...editing.segmentPath, key]));
  const blocks = Object.keys(editing.document).filter((key) => key in WORDS && key in root.properties);
  const blockRows = blocks.map((key) => section(editing, root.properties[key], [key]));
  const free = editing.schemas.addable(segment, editing.segment).filter((key) => !NAMED.includes(key));
  const freeBlocks = Object.keys(root.properties).filter((key) => key in WORDS && !(key in editing.document));
  fill(
    element,
    h("div", { class: "blocks" }, ownRows, blockRows),
    h("div", { class: "adders" }, addMenu(editing, segment, editing.segmentPath, free, "Add to the segment…"), addMenu(editing, { ...root, required: [] }, [], freeBlocks, "Add to the file…")),
  );
}

/** Show which segment of a file with several is edited. */
export function showSegments(element, editing, choose) {
  const segments = editing.document.segments ?? [];
  if (segments.length < 2) {
    fill(element);
    return;
  }
  const options = segments.map((each, number) => [String(number), each?.key ?? `segment ${number + 1}`]);
  fill(element, h("label", { class: "row" }, "Segment of this file ", select({ value: String(editing.number), options, "data-control": "segment-of-file", class: "control" }, (next) => choose(Number(next)))));
}

/** Show the templates, and the parameters of the chosen one. */
export function showTemplates(element, templates, use) {
  const form = h("div", { class: "map" });
  const choice = select({ value: "", options: [["", "Start from a template…"], ...templates.map((each) => [each.key, each.name])], "aria-label": "Start from a template", "data-control": "template", class: "control" }, (key) => {
    const template = templates.find((each) => each.key === key);
    fill(form, template && templateForm(template, use));
  });
  fill(element, choice, form);
}

function templateForm(template, use) {
  const fields = template.parameters.map((each) => {
    const input = h("input", { type: "text", class: "control", value: each.default ?? "", "aria-label": each.meaning, "data-control": `template ${each.name}`, size: 10 });
    return { name: each.name, input, row: h("label", { class: "entry" }, h("span", { class: "entry-label" }, each.meaning), input) };
  });
  const values = () => Object.fromEntries(fields.map(({ name, input }) => [name, input.value.trim()]).filter(([, value]) => value));
  return [h("p", { class: "muted small" }, template.purpose), fields.map((each) => each.row), button("Use this template", { class: "button", control: "use-template" }, () => use(template.key, values()))];
}

