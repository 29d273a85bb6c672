// The cards of a rule: groups with their nodes, and leaves. Each can be moved, copied, grouped and removed.

import { button, h, icon, select } from "./dom.js";
import { fitsKey, marks, register } from "./editors.js";
import { leafFields } from "./leaves.js";
import { childrenOf, groupOf, headOf, isGroup, listPath, underHead } from "./nodes.js";
import { pathText } from "./tree.js";
import { numberField } from "./controls.js";

/** Return the choices of heads, by group. */
function headChoices(editing) {
  const groups = new Map();
  for (const each of editing.language.heads) {
    if (!groups.has(each.group)) groups.set(each.group, []);
    groups.get(each.group).push([each.head, each.label]);
  }
  return [...groups];
}

/** The card of a node, with all nodes below it. */
export function card(editing, _schema, path, { place = null } = {}) {
  const node = editing.value(path);
  const head = headOf(node, editing.heads);
  const label = head ? editing.heads.get(head).label : "Unfinished";
  const body = head === null ? unfinished(editing, path) : isGroup(head) ? groupBody(editing, path, node, head) : leafBody(editing, path, head);
  const [line, rest] = head === null || isGroup(head) ? [null, body] : body;
  return h(
    "section",
    { class: `node ${isGroup(head) ? `group-node node-${head}` : "leaf-node"}`, role: "group", "aria-label": place ? `${place.number + 1} of ${place.of}: ${label}` : `Rule: ${label}`, "data-at": pathText(path) },
    h("div", { class: "node-line" }, h("div", { class: "leaf-line" }, headChoice(editing, path, node, head), isGroup(head) && head === "at_least" && leastField(editing, path), line, h("span", { class: "node-count", "data-count": pathText(path) })), tools(editing, path, node, place)),
    h("div", { class: "node-body" }, rest, place === null && !isGroup(head) && beginGroup(editing, path, node)),
  );
}

/** Make a button that adds a condition to a rule of one. */
function beginGroup(editing, path, node) {
  const both = groupOf("all", [node, editing.heads.get("did").starter]);
  return button("+ Condition", { label: "Add a condition to this rule", control: `${pathText(path)}begin`, class: "button small" }, () =>
    editing.change((document) => editing.tree.set(document, path, both), { focus: `${pathText([...path, "all", 1])}head`, say: "Added a condition" }),
  );
}

function headChoice(editing, path, node, head) {
  const choices = headChoices(editing);
  return select(
    { value: head ?? "", options: head ? choices : [["", "choose"], ...choices], "aria-label": "kind of condition", "data-control": `${pathText(path)}head`, class: "control head" },
    (next) => next && changeHead(editing, path, node, head, next),
  );
}

function changeHead(editing, path, node, from, to) {
  const { schema } = editing.schemas.resolve({ $ref: `#/$defs/node.${to}` });
  const fits = (key, value) => fitsKey(editing, schema, key, value);
  const next = underHead(node, from, to, { starter: editing.heads.get(to).starter, fits });
  editing.change((document) => editing.tree.set(document, path, next), { focus: `${pathText(path)}head`, say: editing.heads.get(to).label });
}

function leastField(editing, path) {
  return h("span", { class: "inline-field" }, numberField(editing, [...path, "at_least", "k"], { label: "how many must hold" }), marks([...path, "at_least", "k"]), "must hold");
}

function unfinished(editing, path) {
  return [h("p", { class: "hint" }, "Choose what this condition is about."), marks(path, true)];
}

function leafBody(editing, path, head) {
  const { schema } = editing.schemas.resolve({ $ref: `#/$defs/node.${head}` });
  return leafFields(editing, editing.schemas.refined(schema, editing.value(path)), path, head);
}

const BETWEEN = { all: "and", any: "or", at_least: "" };

function groupBody(editing, path, node, head) {
  const below = childrenOf(node, head);
  if (head === "not") return [card(editing, null, [...path, "not"], { place: { number: 0, of: 1, movable: false } }), marks(path)];
  const items = below.map((each, number) =>
    h("li", { class: "child", "data-between": number ? BETWEEN[head] : "" }, card(editing, null, [...path, ...each.path], { place: { number, of: below.length, movable: true } })),
  );
  return [h("ol", { class: "children" }, items), adders(editing, path, head, below.length), marks(path), marks([...path, ...listPath(head)])];
}

/** Make the buttons that add a condition, or a group, to the end of a group. */
function adders(editing, path, head, length) {
  const next = [...path, ...listPath(head), length];
  const leaf = editing.heads.get("did").starter;
  const inner = head === "any" ? "all" : "any";
  const add = (item, say) => editing.insert(next, item, { focus: `${pathText(next)}head`, say });
  return h(
    "div",
    { class: "adders" },
    button("+ Condition", { label: "Add a condition to this group", control: `${pathText(path)}add`, class: "button small" }, () => add(leaf, "Added a condition")),
    button("+ Group", { label: `Add a group to this group: ${inner} of some conditions`, control: `${pathText(path)}addgroup`, class: "button small quiet" }, () => add(groupOf(inner, [leaf]), "Added a group")),
    button("+ Exclude", { label: "Add an exclusion to this group", control: `${pathText(path)}addnot`, class: "button small quiet" }, () => add(groupOf("not", [leaf]), "Added an exclusion")),
  );
}

function tools(editing, path, node, place) {
  const name = (role) => `${pathText(path)}${role}`;
  const tool = (drawn, label, role, click, disabled = false) => button(icon(drawn), { label, control: name(role), class: "button small quiet tool", "aria-disabled": disabled ? "true" : null }, () => !disabled && click());
  const moved = (by) => [...path.slice(0, -1), path.at(-1) + by];
  const move = (by, role) => editing.shift(path, by, { focus: pathText(moved(by)) + role, say: `Moved to ${path.at(-1) + by + 1} of ${place.of}` });
  const inList = place?.movable;
  return h(
    "span",
    { class: "tools" },
    inList && tool("up", "Move up", "up", () => move(-1, "up"), place.number === 0),
    inList && tool("down", "Move down", "down", () => move(1, "down"), place.number === place.of - 1),
    inList && outOf(editing, path) && tool("out", "Move out of this group", "out", () => moveOut(editing, path, node)),
    tool("group", "Put into a group of its own", "wrap", () => editing.change((document) => editing.tree.set(document, path, groupOf("all", [node])), { focus: name("head"), say: "Grouped" })),
    isGroup(headOf(node, editing.heads)) && childrenOf(node, headOf(node, editing.heads)).length === 1 && tool("ungroup", "Dissolve this group of one", "unwrap", () => unwrap(editing, path, node)),
    inList && tool("copy", "Copy", "copy", () => editing.insert(moved(1), node, { focus: `${pathText(moved(1))}head`, say: "Copied" })),
    inList && place.of > 1 && tool("remove", "Remove", "remove", () => removeNode(editing, path, place)),
  );
}

function unwrap(editing, path, node) {
  const [child] = childrenOf(node, headOf(node, editing.heads));
  editing.change((document) => editing.tree.set(document, path, child.node), { focus: `${pathText(path)}head`, say: "Dissolved" });
}

function removeNode(editing, path, place) {
  const next = [...path.slice(0, -1), Math.min(path.at(-1), place.of - 2)];
  editing.remove(path, { focus: `${pathText(next)}head`, say: "Removed" });
}

/** Return the list that is around the group of a node, and the position behind that group; null if there is none. */
function outOf(editing, path) {
  for (let length = path.length - 2; length > editing.segmentPath.length; length -= 1) {
    const [around, step] = [path.slice(0, length), path[length]];
    if (typeof step === "number" && Array.isArray(editing.value(around))) return [...around, step + 1];
  }
  return null;
}

/** Move a node behind the group that it is in; a group that is empty then goes. */
function moveOut(editing, path, node) {
  const target = outOf(editing, path);
  const group = [...target.slice(0, -1), target.at(-1) - 1];
  const alone = editing.value(path.slice(0, -1)).length === 1;
  editing.change(
    (document) => {
      const inserted = editing.tree.insert(document, target, node);
      return alone ? editing.tree.remove(inserted, group) : editing.tree.remove(inserted, path);
    },
    { focus: `${pathText(alone ? group : target)}head`, say: "Moved out of the group" },
  );
}

register("node", card);

