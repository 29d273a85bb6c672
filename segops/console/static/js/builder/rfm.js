// RFM as a grid to paint: recency by frequency, with the tiers as names of cells.

import { h, select } from "./dom.js";
import { cellsOf, gridOf, nodeOf, selected, tierOf } from "./cells.js";
import { editor, marks } from "./editors.js";
import { isMap, mapOf } from "./exact.js";
import { registerBody } from "./leaves.js";
import { pathText } from "./tree.js";

function paint(editing, path, cells, grid, focus) {
  if (!cells.size) {
    editing.announce("A rule needs at least one cell");
    return;
  }
  const node = nodeOf(cells, grid);
  const around = path.slice(0, -1);
  const isNode = path.at(-1) === "rfm" && !("enter" in (editing.value(path) ?? {}));
  const target = isNode ? around : path;
  const value = isNode ? node : (node.rfm ?? null);
  if (value === null) {
    editing.announce("These cells need a rule of several nodes, which cannot stand here");
    return;
  }
  editing.change((document) => editing.tree.set(document, target, value), { focus, say: `${cells.size} cells` });
}

/** Make the grid of one selection. Arrow keys move between cells; a pointer paints over several. */
function gridView(editing, path, grid, cells) {
  let painting = null;
  const table = h("table", { class: "rfm-grid", role: "grid", "aria-label": "RFM cells: recency by frequency" });
  const name = (cell) => `${pathText(path)}cell${cell}`;
  const toggle = (cell, on) => {
    const next = new Set(cells);
    if (on) next.add(cell);
    else next.delete(cell);
    return next;
  };
  const finish = () => {
    if (!painting) return;
    const { drawn, last } = painting;
    painting = null;
    paint(editing, path, drawn, grid, name(last));
  };
  const cellView = (recency, frequency, focusable) => {
    const cell = String([recency, frequency]);
    const on = cells.has(cell);
    const tier = tierOf(grid, recency, frequency);
    const extend = (element) => {
      painting.drawn = painting.on ? painting.drawn.add(cell) : new Set([...painting.drawn].filter((each) => each !== cell));
      painting.last = cell;
      element.setAttribute("aria-selected", String(painting.on));
    };
    return h(
      "td",
      {
        role: "gridcell",
        class: "rfm-cell",
        tabindex: focusable ? 0 : -1,
        "aria-selected": String(on),
        "aria-label": `recency ${recency}, frequency ${frequency}${tier ? `, ${tier.replaceAll("_", " ")}` : ""}`,
        "data-control": name(cell),
        on: {
          pointerdown: (event) => {
            event.target.releasePointerCapture?.(event.pointerId);
            painting = { on: !on, drawn: new Set(cells), last: cell };
            extend(event.currentTarget);
            document.addEventListener("pointerup", finish, { once: true });
          },
          pointerenter: (event) => painting && extend(event.currentTarget),
          keydown: (event) => {
            if (event.key === " " || event.key === "Enter") {
              event.preventDefault();
              paint(editing, path, toggle(cell, !on), grid, name(cell));
            } else moveIn(table, event, [recency, frequency], name);
          },
        },
      },
      tier?.replaceAll("_", " ") ?? "–",
    );
  };
  let first = true;
  const rows = new Map();
  for (const [recency, frequency] of cellsOf(grid)) {
    if (!rows.has(recency)) rows.set(recency, []);
    rows.get(recency).push(cellView(recency, frequency, first));
    first = false;
  }
  const heads = Array.from({ length: grid.frequency }, (_, number) => h("th", { scope: "col" }, `F${number + 1}`));
  table.append(h("thead", {}, h("tr", {}, h("td", { class: "corner" }), heads)), h("tbody", {}, [...rows].map(([recency, views]) => h("tr", {}, h("th", { scope: "row" }, `R${recency}`), views))));
  return table;
}

const MOVES = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function moveIn(table, event, [recency, frequency], name) {
  const move = MOVES[event.key];
  if (!move) return;
  event.preventDefault();
  const target = name(String([recency + move[0], frequency + move[1]]));
  const cells = [...table.querySelectorAll("td[data-control]")];
  const found = cells.find((each) => each.getAttribute("data-control") === target);
  if (!found) return;
  for (const each of cells) each.tabIndex = each === found ? 0 : -1;
  found.focus();
}

/** Make the form of one selection of RFM: the grid where cells say it, the digits and tiers beside it. */
function selectionView(editing, schema, path, label) {
  const grid = gridOf(editing.document.rfm, editing.language.tiers);
  const cells = selected(editing.value(path), grid);
  const exact = h("details", { class: "exact", open: cells === null ? true : null }, h("summary", {}, "Tiers and digits"), editor(editing, schema, path, { label }));
  return h("div", { class: "rfm" }, cells && gridView(editing, path, grid, cells), exact);
}

registerBody(["rfm"], (editing, schema, path, label) => {
  const value = editing.value(path);
  const sided = isMap(value) && ("enter" in value || "exit" in value);
  const one = { anyOf: (schema.anyOf ?? [schema]).filter((each) => !each.properties?.enter) };
  const mode = select(
    { value: sided ? "sides" : "one", options: [["one", "is in"], ["sides", "enters in, leaves in"]], "aria-label": "RFM: with or without hysteresis", "data-control": `${pathText(path)}sides`, class: "control" },
    (next) => editing.set(path, next === "sides" ? mapOf([["enter", sided ? value.enter : value], ["exit", mapOf([["recency", mapOf([["lte", 2]])]])]]) : value.enter),
  );
  if (!editing.heads.has("rfm") || typeof value === "string" && !schema.anyOf) return editor(editing, schema, path, { label });
  if (!sided) return h("div", { class: "rfm-choice" }, mode, selectionView(editing, one, path, label));
  const sides = ["enter", "exit"].map((side) => h("div", { class: "side" }, h("span", { class: "entry-label" }, side === "enter" ? "enters in" : "leaves in"), selectionView(editing, one, [...path, side], `${label} ${side}`), marks([...path, side])));
  return h("div", { class: "rfm-choice" }, mode, sides);
});

