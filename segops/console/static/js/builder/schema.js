// The JSON Schema of segment files, as the builder reads it: which forms a value may have, and how a new one begins.

import { isMap, isNumber, mapOf, numberOf } from "./exact.js";

const UNITS = /\(([a-z|]+)\)\$$/;
const FIRST = { integer: 1, number: 1, boolean: true, string: "", object: null, array: null };
/** Keys of windows: at most one of them stands in a node, apart from those that belong together. */
export const WINDOW_KEYS = ["within", "between", "since", "until", "calendar", "since_last", "same"];

export class Schemas {
  constructor(root, starters = {}) {
    this.root = root;
    /** Name of a definition -> the value that a new one begins with. */
    this.starters = starters;
  }

  /** Follow references; `name`: that of the definition, or "". */
  resolve(schema) {
    let name = "";
    let found = schema;
    while (found.$ref) {
      name = decodeURIComponent(found.$ref.replace("#/$defs/", ""));
      found = this.root.$defs[name];
    }
    return { schema: found, name };
  }

  /** Return the forms of which a value has one, references followed. A schema without such is its only form. */
  forms(schema) {
    const { schema: own, name } = this.resolve(schema);
    const choices = own.properties ? null : (own.oneOf ?? own.anyOf);
    if (!choices) return [{ schema: own, name }];
    return choices.flatMap((each) => this.forms(each).map((form) => (form.name ? form : { ...form, name: "" })));
  }

  /** Return the form that a value has, or is closest to while it is not finished. */
  formOf(schema, value) {
    const forms = this.forms(schema);
    const found = forms.length === 1 ? forms[0] : (forms.find((each) => this.accepts(each.schema, value)) ?? this.#closest(forms, value));
    return { ...found, schema: this.refined(found.schema, value) };
  }

  /** Return the schema of a map whose keys depend on the value of its first one, for that value. */
  refined(schema, value) {
    const branches = schema.properties ? (schema.oneOf ?? []).filter((each) => each.properties) : [];
    const first = schema.required?.[0];
    const branch = branches.find((each) => first in each.properties && this.accepts(each.properties[first], value?.[first]));
    return branch ? { ...schema, properties: { ...schema.properties, ...branch.properties } } : schema;
  }

  #closest(forms, value) {
    const ranked = forms.map((form) => ({ form, rank: closeness(form.schema, value) }));
    return ranked.reduce((best, each) => (each.rank > best.rank ? each : best)).form;
  }

  /** Return how a value of a schema is edited. */
  kind(schema) {
    if (schema.enum || "const" in schema) return "enum";
    if (schema.properties) return "map";
    if (schema.type === "object") return "dict";
    if (schema.type === "array") return "list";
    if (Array.isArray(schema.type)) return "scalar";
    if (schema.type === "string" && unitsOf(schema)) return "quantity";
    return schema.type ?? "any";
  }

  /** Return the schema of an item of a list. */
  item(schema, number) {
    return schema.prefixItems?.[number] ?? schema.items ?? {};
  }

  /** Return the schema of a map's value: of a known key, else of the keys that a person names; null for an unknown key. */
  property(schema, key) {
    return schema.properties?.[key] ?? this.named(schema);
  }

  /** Return the schema of the values whose keys a person names beside the known ones; null if there are none. */
  named(schema) {
    return Object.values(schema.patternProperties ?? {})[0] ?? null;
  }

  /** Return the keys that may be added to a map, those that exclude a present one left out. */
  addable(schema, value) {
    const present = Object.keys(value);
    const pairs = (schema.not?.anyOf ?? []).map((each) => each.required);
    const excluded = (key) => pairs.some((pair) => pair.includes(key) && pair.some((each) => each !== key && present.includes(each)));
    return Object.keys(schema.properties).filter((key) => !present.includes(key) && !excluded(key));
  }

  /** Return the value that a new part of a rule begins with. */
  starter(schema) {
    const { schema: own, name } = this.resolve(schema);
    if (name in this.starters) return this.starters[name];
    if ("const" in own) return own.const;
    if (own.enum) return own.enum[0];
    if (!own.properties && (own.oneOf ?? own.anyOf)) return this.starter((own.oneOf ?? own.anyOf)[0]);
    if (own.properties) return this.#starterMap(own);
    if (own.type === "object") return own.minProperties ? mapOf([["", this.starter(own.additionalProperties)]]) : mapOf([]);
    if (own.type === "array") return this.#starterList(own);
    return starterText(own);
  }

  #starterMap(schema) {
    const some = schema.anyOf?.[0]?.required ?? schema.oneOf?.[0]?.required ?? [];
    const keys = [...new Set([...(schema.required ?? []), ...some])];
    const first = keys.length === 0 && schema.minProperties ? [Object.keys(schema.properties)[0]] : keys;
    const needed = first.flatMap((key) => [key, ...(schema.dependentRequired?.[key] ?? [])]);
    return mapOf([...new Set(needed)].map((key) => [key, this.starter(schema.properties[key])]));
  }

  #starterList(schema) {
    const length = Math.max(1, schema.minItems ?? 1);
    return Array.from({ length }, (_, number) => this.starter(this.item(schema, number)));
  }

  /** Return whether a value is valid, by the keywords that the schema of segment files uses. */
  accepts(schema, value) {
    const { schema: own } = this.resolve(schema);
    return (
      hasType(own, value) &&
      (!own.enum || own.enum.includes(value)) &&
      (!("const" in own) || own.const === plain(value)) &&
      this.#acceptsScalar(own, value) &&
      (!Array.isArray(value) || this.#acceptsList(own, value)) &&
      (!isMap(value) || this.#acceptsMap(own, value)) &&
      (!own.anyOf || own.anyOf.some((each) => this.accepts(each, value))) &&
      (!own.oneOf || own.oneOf.filter((each) => this.accepts(each, value)).length === 1) &&
      (!own.not || !this.accepts(own.not, value)) &&
      (!own.if || !this.accepts(own.if, value) || this.accepts(own.then, value))
    );
  }

  #acceptsScalar(schema, value) {
    if (typeof value === "string") {
      return value.length >= (schema.minLength ?? 0) && (!schema.pattern || new RegExp(schema.pattern, "u").test(value));
    }
    if (!isNumber(value)) return true;
    const number = Number(value);
    return number >= (schema.minimum ?? -Infinity) && number <= (schema.maximum ?? Infinity) && number > (schema.exclusiveMinimum ?? -Infinity);
  }

  #acceptsList(schema, value) {
    if (value.length < (schema.minItems ?? 0) || value.length > (schema.maxItems ?? Infinity)) return false;
    return value.every((each, number) => this.item(schema, number) !== false && this.accepts(this.item(schema, number), each));
  }

  #acceptsMap(schema, value) {
    const keys = Object.keys(value);
    if (keys.length < (schema.minProperties ?? 0)) return false;
    if ((schema.required ?? []).some((key) => !(key in value))) return false;
    if (schema.propertyNames && !keys.every((key) => this.accepts({ type: "string", ...schema.propertyNames }, key))) return false;
    for (const [key, others] of Object.entries(schema.dependentRequired ?? {})) {
      if (key in value && others.some((other) => !(other in value))) return false;
    }
    for (const [key, needed] of Object.entries(schema.dependentSchemas ?? {})) {
      if (key in value && !this.accepts(needed, value)) return false;
    }
    return keys.every((key) => this.#acceptsEntry(schema, key, value[key]));
  }

  #acceptsEntry(schema, key, value) {
    const own = schema.properties?.[key];
    if (own) return this.accepts(own, value);
    const named = Object.entries(schema.patternProperties ?? {}).find(([pattern]) => new RegExp(pattern, "u").test(key));
    if (named) return this.accepts(named[1], value);
    if (schema.additionalProperties === false) return false;
    return typeof schema.additionalProperties === "object" ? this.accepts(schema.additionalProperties, value) : true;
  }
}

function plain(value) {
  return isNumber(value) ? Number(value) : value;
}

function typeOf(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (isNumber(value)) return "number";
  return typeof value === "object" ? "object" : typeof value;
}

function hasType(schema, value) {
  if (!schema.type) return true;
  const types = [schema.type].flat();
  const type = typeOf(value);
  return types.includes(type) || (type === "number" && types.includes("integer") && Number.isInteger(Number(value)));
}

function closeness(schema, value) {
  if (!hasType(schema, value)) return -1;
  if (!isMap(value) || !schema.properties) return 0;
  const known = Object.keys(value).filter((key) => key in schema.properties).length;
  const needed = (schema.required ?? []).filter((key) => key in value).length;
  return known + 10 * needed;
}

/** Return the units of a text that is a quantity, such as `48h`; null for other texts. */
export function unitsOf(schema) {
  const found = UNITS.exec(schema.pattern ?? "");
  return found ? found[1].split("|") : null;
}

function starterText(schema) {
  if (schema.type === "string" && schema.examples) return schema.examples.at(-1).includes("T") ? schema.examples[0] : schema.examples.at(-1);
  if (schema.pattern === "^[A-Z]{3}$") return "EUR";
  if (schema.pattern?.includes("24:00")) return "09:00";
  if (schema.pattern?.endsWith("%$")) return "20%";
  const type = [schema.type].flat()[0];
  if (type === "integer" || type === "number") return numberOf(String(Math.max(schema.minimum ?? 1, 1)));
  return FIRST[type] ?? "";
}
