// The values that profiles have at a leaf, with the threshold as a line that is dragged or moved by keys.

import { h, svg } from "./dom.js";
import { isMap, isNumber, numberOf } from "./exact.js";
import { pathText } from "./tree.js";

const SIZE = { width: 320, height: 96, foot: 16 };
const BARS = 32;
const SIDES = { enter: "threshold for entering", exit: "threshold for leaving" };
const THRESHOLDS = ["gte", "gt", "lte", "lt", "eq"];

/** Return the bars of some values, up to some limits: from where to where, and how many values each has. */
export function barsOf(values, limits = [], count = BARS) {
  const [low, high] = [Math.min(...values, ...limits), Math.max(...values, ...limits)];
  const width = (high - low || 1) / count;
  const bars = Array.from({ length: count }, (_, number) => ({ from: low + number * width, to: low + (number + 1) * width, count: 0 }));
  for (const value of values) bars[Math.min(count - 1, Math.floor((value - low) / width))].count += 1;
  return bars;
}

/** Return the keys of a leaf's predicate with a number that can be dragged: the path of each. */
function thresholds(leaf) {
  const tests = [["is"], ["enter"], ["exit"], ["ratio", "is"]];
  return tests.flatMap((path) => {
    const test = path.reduce((found, step) => found?.[step], leaf);
    if (!isMap(test)) return [];
    const single = THRESHOLDS.filter((key) => isNumber(test[key])).map((key) => [...path, key]);
    const both = Array.isArray(test.between) && test.between.every(isNumber) ? [[...path, "between", 0], [...path, "between", 1]] : [];
    return [...single, ...both];
  });
}

function holds(test, value) {
  const number = (key) => Number(test[key]);
  return (
    (!("gte" in test) || value >= number("gte")) && (!("gt" in test) || value > number("gt")) && (!("lte" in test) || value <= number("lte")) && (!("lt" in test) || value < number("lt")) && (!("between" in test) || (value >= Number(test.between[0]) && value <= Number(test.between[1])))
  );
}

/** Return what the thresholds of a leaf say of sampled values. */
function counted(leaf, values) {
  const number = (test) => values.filter((each) => holds(test, each)).length;
  const test = leaf.is ?? leaf.ratio?.is;
  if (test) return `${number(test)} of ${values.length} sampled profiles satisfy it`;
  return `${number(leaf.enter ?? {})} of ${values.length} sampled profiles would enter, ${number(leaf.exit ?? {})} would leave`;
}

/** Make the histogram of a leaf; null without values. */
export function histogram(editing, path, values) {
  const leaf = editing.value(path);
  const shown = thresholds(leaf ?? {});
  if (values.length < 2 || !shown.length) return null;
  const range = editing.scores.find((each) => each.name === leaf.score)?.range ?? [];
  const bars = barsOf(values, [...shown.map((each) => Number(editing.value([...path, ...each]))), ...range]);
  const [low, high] = [bars[0].from, bars.at(-1).to];
  const most = Math.max(...bars.map((each) => each.count));
  const x = (value) => ((value - low) / (high - low)) * SIZE.width;
  const columns = bars.map((each) => {
    const height = (each.count / most) * (SIZE.height - SIZE.foot);
    return svg("rect", { class: "column", x: x(each.from), y: SIZE.height - SIZE.foot - height, width: SIZE.width / BARS - 1, height });
  });
  const caption = h("figcaption", {});
  /** Show what some thresholds say, those that are being dragged too. */
  const show = (present) => {
    const test = present.is ?? present.ratio?.is ?? present.enter ?? {};
    bars.forEach((each, number) => columns[number].classList.toggle("in", holds(test, (each.from + each.to) / 2)));
    caption.textContent = counted(present, values);
  };
  show(leaf);
  const ends = [svg("text", { x: 0, y: SIZE.height - 3 }, brief(low)), svg("text", { x: SIZE.width, y: SIZE.height - 3, "text-anchor": "end" }, brief(high))];
  const moving = (each) => (value) => show(editing.tree.set(leaf, each, value));
  const lines = shown.map((each) => threshold(editing, [...path, ...each], { low, high, x, moving: moving(each), label: SIDES[each[0]] ?? "threshold" }));
  return h(
    "figure",
    { class: "histogram" },
    svg("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "group", "aria-label": `Values of ${values.length} profiles, from ${brief(low)} to ${brief(high)}` }, columns, ends, lines),
    caption,
  );
}

export function brief(number) {
  return Number(number.toPrecision(4)).toLocaleString("en");
}

function threshold(editing, path, { low, high, x, moving, label }) {
  const value = Number(editing.value(path));
  const step = (high - low) / 100 || 1;
  const digits = Math.max(0, 1 - Math.floor(Math.log10(step)));
  const name = `${pathText(path)}line`;
  const rounded = (next) => Number(Math.max(low, Math.min(high, next)).toFixed(Math.min(6, digits)));
  const put = (next) => editing.set(path, numberOf(String(rounded(next))), { control: name });
  const along = (fraction) => low + fraction * (high - low);
  const at = Math.max(0, Math.min(SIZE.width, x(value)));
  const line = svg("g", { class: path.includes("exit") ? "threshold exit" : "threshold", tabindex: 0, role: "slider", "aria-label": label, "aria-valuemin": low, "aria-valuemax": high, "aria-valuenow": value, "aria-valuetext": brief(value), "data-control": name }, svg("rect", { class: "grip", x: at - 8, y: 0, width: 16, height: SIZE.height - SIZE.foot }), svg("line", { x1: at, x2: at, y1: 0, y2: SIZE.height - SIZE.foot }));
  line.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10 }[event.key];
    const to = { Home: low, End: high }[event.key];
    if (by === undefined && to === undefined) return;
    event.preventDefault();
    put(to ?? value + by * step);
  });
  line.addEventListener("pointerdown", (event) => drag(event, line, { moved: (fraction) => moving(rounded(along(fraction))), done: (fraction) => put(along(fraction)) }));
  return line;
}

/** Follow a pointer until it is let go: `moved`, and then `done`, get its position, from 0 to 1 across the drawing. */
function drag(event, line, { moved, done }) {
  event.preventDefault();
  line.focus();
  line.setPointerCapture(event.pointerId);
  const box = line.ownerSVGElement.getBoundingClientRect();
  const fraction = (each) => Math.max(0, Math.min(1, (each.clientX - box.left) / box.width));
  const start = fraction(event);
  const follow = (each) => {
    line.setAttribute("transform", `translate(${(fraction(each) - start) * SIZE.width} 0)`);
    moved(fraction(each));
  };
  line.addEventListener("pointermove", follow);
  line.addEventListener("pointerup", (each) => {
    line.removeEventListener("pointermove", follow);
    if (Math.abs(fraction(each) - start) > 0.002) done(fraction(each));
  }, { once: true });
}
