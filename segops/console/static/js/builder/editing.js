// What all controls share: the document, its edits, the language, the catalogue, and the mistakes found last.

import { isMap, same } from "./exact.js";
import { Schemas } from "./schema.js";
import * as tree from "./tree.js";

export class Editing {
  /** The control that gets the focus once the views are made again, unless it has left `from` meanwhile. */
  focusNext = null;
  number = 0;
  errors = [];
  warnings = [];
  /** Place of a node, as a text -> how many profiles pass it. */
  counts = new Map();
  /** Place of a leaf, as a text -> values that profiles have there. */
  values = new Map();

  constructor(history, language, catalogue) {
    this.history = history;
    this.language = language;
    this.heads = new Map(language.heads.map((each) => [each.head, each]));
    this.schemas = new Schemas(language.schema, { node: this.heads.get("did").starter });
    this.useCatalogue(catalogue);
    this.tree = tree;
    this.announce = () => {};
    /** Makes the views again, once no button is held down. */
    this.refresh = () => {};
    /** The lists of suggestions. */
    this.lists = null;
  }

  useCatalogue(catalogue) {
    this.catalogue = catalogue;
    this.events = new Map(catalogue.events.map((each) => [each.name, each]));
    this.traits = new Map(catalogue.traits.map((each) => [each.name, each]));
  }

  /** The scores that a rule may read, those that customers have first; those of the file's block last. */
  get scores() {
    const known = this.catalogue.scores ?? [];
    const own = Object.keys(isMap(this.document.scores) ? this.document.scores : {}).filter((name) => !known.some((each) => each.name === name));
    return [...known, ...own.map((name) => ({ name, meaning: "of this file", state: "no model", range: null }))];
  }

  get document() {
    return this.history.present;
  }

  get segmentPath() {
    return ["segments", this.number];
  }

  get segment() {
    return tree.at(this.document, this.segmentPath) ?? {};
  }

  value(path) {
    return tree.at(this.document, path);
  }

  /** Put a value at a path. `quiet`: the control that was typed into shows it already. */
  set(path, value, { control = null, quiet = false } = {}) {
    if (same(this.value(path), value) && this.value(path) !== undefined) return;
    this.history.edit(tree.set(this.document, path, value), { control, quiet });
  }

  change(make, { focus = null, say = null, ...options } = {}) {
    if (focus) this.focusNext = { control: focus, from: focusedControl() };
    this.history.edit(make(this.document), options);
    if (say) this.announce(say);
  }

  remove(path, options = {}) {
    this.change((document) => tree.remove(document, path), options);
  }

  insert(path, item, options = {}) {
    this.change((document) => tree.insert(document, path, item), options);
  }

  shift(path, by, options = {}) {
    this.change((document) => tree.shift(document, path, by), options);
  }

  rename(path, name, options = {}) {
    this.change((document) => tree.rename(document, path, name), options);
  }

  /** Return the control that gets the focus next, and forget it; null if the person has gone on. */
  takeFocus() {
    const next = this.focusNext;
    this.focusNext = null;
    return next && next.from === focusedControl() ? next.control : null;
  }

  /** Return the mistakes of a place itself; `below`: also of all places below it. */
  errorsAt(path, below = false) {
    const fits = (each) => tree.isBelow(each.at, path) && (below || each.at.length === path.length);
    return this.errors.filter(fits);
  }

  warningsAt(path) {
    return this.warnings.filter((each) => tree.pathText(each.at) === tree.pathText(path));
  }

  /** Return the fields of some events, by name: type, share, values. */
  fieldsOf(names) {
    const found = new Map();
    const events = names.length && !names.includes("any_event") ? names : [...this.events.keys()];
    for (const name of events) {
      for (const field of this.events.get(name)?.properties ?? []) {
        if (!found.has(field.name)) found.set(field.name, field);
      }
    }
    return found;
  }

  /** Return the fields of the events that a part of a rule is about; within a list, those of its elements. */
  fieldsAround(path) {
    for (let length = path.length; length > 0; length -= 1) {
      const names = eventsIn(this.value(path.slice(0, length)));
      if (names) return elementsOf(this.fieldsOf(names), path.slice(length));
    }
    return new Map();
  }

  /** Return whether a name may be unknown: of an event, or of a field where the catalogue has some. */
  isUnknownEvent(name) {
    return this.events.size > 0 && name !== "" && !CALLS.includes(name) && !this.events.has(name);
  }

  /** Return the names of a block of the file, and those that published segments use. */
  namesIn(block) {
    const own = isMap(this.document[block]) ? Object.keys(this.document[block]) : [];
    const known = { indicators: this.catalogue.indicators, lookups: Object.keys(this.catalogue.lookups ?? {}), scores: this.scores.map((each) => each.name) }[block] ?? [];
    return [...new Set([...own, ...known])];
  }
}

/** Return the name of the control that has the focus, or null. */
function focusedControl() {
  return document.activeElement?.getAttribute("data-control") ?? null;
}

const NAMING = ["did", "did_not", "of", "first", "last", "active_days", "active_weeks", "active_months", "sessions", "regularly", "days_since_first", "days_since_last"];
const ELEMENTS = ["any", "all", "none", "count"];

/** Return the names of events that a map selects, or null if it selects none. */
function eventsIn(value) {
  if (!isMap(value)) return null;
  const key = NAMING.find((each) => typeof value[each] === "string" || (Array.isArray(value[each]) && value[each].every((name) => typeof name === "string")));
  return key ? [value[key]].flat() : null;
}

/** Return the fields below the list whose elements a path leads into. */
function elementsOf(fields, path) {
  const lists = path.filter((step, number) => ELEMENTS.includes(path[number + 1]) && step !== "where");
  const prefix = lists.map((each) => `${each}.`).join("");
  if (!prefix) return fields;
  const below = [...fields.values()].filter((each) => each.name.startsWith(prefix));
  return new Map(below.map((each) => [each.name.slice(prefix.length), { ...each, name: each.name.slice(prefix.length) }]));
}

const CALLS = ["any_event", "page", "screen", "identify", "group", "alias"];
