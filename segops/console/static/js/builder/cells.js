// The RFM grid: which cells a node selects, and the rule that selects painted ones.

import { isMap, isNumber, mapOf } from "./exact.js";

const COUNTS = {
  eq: (digit, to) => digit === Number(to),
  ne: (digit, to) => digit !== Number(to),
  lt: (digit, to) => digit < Number(to),
  lte: (digit, to) => digit <= Number(to),
  gt: (digit, to) => digit > Number(to),
  gte: (digit, to) => digit >= Number(to),
  in: (digit, list) => list.map(Number).includes(digit),
  not_in: (digit, list) => !list.map(Number).includes(digit),
  between: (digit, [low, high]) => Number(low) <= digit && digit <= Number(high),
};

/** What may stand instead of edges -> the number of groups. */
const QUANTILES = { terciles: 3, quartiles: 4, quintiles: 5, deciles: 10 };
/** Presets whose tiers are the usual ones, and the groups of the others. */
const USUAL = ["five_by_five"];
const GROUPS = { klaviyo: 3 };

function digits(edges, preset) {
  if (Array.isArray(edges)) return edges.length + 1;
  return QUANTILES[edges] ?? GROUPS[preset] ?? 5;
}

function boxesOf(tiers) {
  return Object.entries(tiers).flatMap(([tier, cell]) => [cell].flat().map((each) => ({ tier, recency: each?.recency?.map?.(Number) ?? [1, 0], frequency: each?.frequency?.map?.(Number) ?? [1, 0], deep: isMap(each) && "monetary" in each })));
}

/**
 * The unnamed grid of a segment file: the numbers of digits and the boxes of the tiers, those of its `rfm` block or the
 * usual ones. It is not `flat` if its tiers depend on monetary, or are those of another preset: cells have no tiers then.
 */
export function gridOf(block, tiers) {
  const own = isMap(block?.tiers) ? boxesOf(block.tiers) : null;
  const preset = block?.preset;
  const usual = tiers.map((each) => ({ tier: each.tier, recency: each.recency, frequency: each.frequency }));
  const flat = own ? !own.some((each) => each.deep) : preset === undefined || USUAL.includes(preset);
  return { recency: digits(block?.recency, preset), frequency: digits(block?.frequency, preset), flat, tiers: flat ? (own ?? usual) : [] };
}

function within(digit, [low, high]) {
  return low <= digit && digit <= high;
}

/** Return the first tier of a cell, or null. */
export function tierOf(grid, recency, frequency) {
  return grid.tiers.find((each) => within(recency, each.recency) && within(frequency, each.frequency))?.tier ?? null;
}

/** Return the cells of a grid as [recency, frequency], the best ones first. */
export function cellsOf(grid) {
  const found = [];
  for (let recency = grid.recency; recency >= 1; recency -= 1) {
    for (let frequency = 1; frequency <= grid.frequency; frequency += 1) found.push([recency, frequency]);
  }
  return found;
}

/** Keys of a node that say more than cells of the unnamed grid do. */
const MORE = ["enter", "exit", "monetary", "grid", "tier"];

function holds(test, digit) {
  if (isNumber(test)) return Number(test) === digit;
  return isMap(test) && Object.entries(test).every(([name, operand]) => COUNTS[name]?.(digit, operand) ?? false);
}

/** Return the cells, as texts, that the value of an `rfm` node selects; null if it says more than cells do. */
export function selected(value, grid) {
  const tiers = typeof value === "string" ? [value] : value;
  const chosen = (test) => new Set(cellsOf(grid).filter(([r, f]) => test(r, f)).map(String));
  if (Array.isArray(tiers)) return grid.flat ? chosen((r, f) => tiers.includes(tierOf(grid, r, f))) : null;
  if (!isMap(value) || MORE.some((key) => key in value)) return null;
  return chosen((r, f) => (!("recency" in value) || holds(value.recency, r)) && (!("frequency" in value) || holds(value.frequency, f)));
}

/** Return the node that selects some cells: by tiers where they suffice, else by digits, else `any` of several. */
export function nodeOf(cells, grid) {
  const tiers = tiersOf(cells, grid);
  if (tiers) return mapOf([["rfm", tiers]]);
  const rows = new Map();
  for (let recency = 1; recency <= grid.recency; recency += 1) {
    const columns = Array.from({ length: grid.frequency }, (_, number) => number + 1).filter((f) => cells.has(String([recency, f])));
    if (columns.length) rows.set(String(columns), [...(rows.get(String(columns)) ?? []), recency]);
  }
  const nodes = [...rows].map(([columns, recencies]) =>
    mapOf([["rfm", digitsOf(recencies, columns.split(",").map(Number), grid)]]),
  );
  return nodes.length === 1 ? nodes[0] : mapOf([["any", nodes]]);
}

function tiersOf(cells, grid) {
  const named = [...new Set(grid.tiers.map((each) => each.tier))];
  const found = named.filter((tier) => cellsOf(grid).some(([r, f]) => tierOf(grid, r, f) === tier && cells.has(String([r, f]))));
  const covered = selected(found, grid);
  return found.length && covered.size === cells.size && [...cells].every((each) => covered.has(each)) ? found : null;
}

function digitsOf(recencies, frequencies, grid) {
  const found = [];
  if (recencies.length < grid.recency) found.push(["recency", digitTest(recencies)]);
  if (frequencies.length < grid.frequency || !found.length) found.push(["frequency", digitTest(frequencies)]);
  return mapOf(found);
}

function digitTest(digits) {
  if (digits.length === 1) return digits[0];
  const [low, high] = [Math.min(...digits), Math.max(...digits)];
  return high - low + 1 === digits.length ? mapOf([["between", [low, high]]]) : mapOf([["in", digits]]);
}
