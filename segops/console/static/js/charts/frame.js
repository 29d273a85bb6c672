// What all charts share: an SVG that follows its box, scales and their ticks, and the same figures as a table behind a
// toggle. Colours come from the CSS variables of the page, so that light and dark need nothing here.
import { stamp } from "../time.js";

const NS = "http://www.w3.org/2000/svg";
const FIGURE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 2 });
const SHORT = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** An SVG element with attributes; `text` becomes its text. */
export function svg(name, attributes = {}, text) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

export function html(name, attributes = {}, text) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

export const figure = (value) => (value === null || value === undefined ? "–" : FIGURE.format(value));
export const short = (value) => (Math.abs(value) < 1e4 ? FIGURE : SHORT).format(value);
export const instant = (ms) => FULL.format(ms);

/** A function from values to pixels. */
export function scale([low, high], [from, to]) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

/** At most `most` round values from low to high. */
export function ticks(low, high, most = 5) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = span / Math.max(1, most - 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

const STEPS = [60e3, 300e3, 900e3, 3600e3, 7200e3, 14400e3, 21600e3, 43200e3, 864e5, 1728e5, 6048e5, 12096e5, 25920e5];

/** Instants for an axis of time, at local midnight, hours or minutes. */
export function timeTicks(low, high, most = 6) {
  const step = STEPS.find((each) => (high - low) / each <= most) ?? (high - low) / most;
  const zone = new Date(low).getTimezoneOffset() * 60e3;
  const found = [];
  for (let ms = Math.ceil((low - zone) / step) * step + zone; ms <= high; ms += step) found.push(ms);
  return found.map((ms) => [ms, step >= 864e5 ? DAY.format(ms) : CLOCK.format(ms)]);
}

/** The range of values with some room; `zero`: it includes 0. */
export function extent(values, zero = false) {
  const known = values.filter((each) => each !== null && each !== undefined);
  let low = Math.min(...known), high = Math.max(...known);
  if (!known.length) [low, high] = [0, 1];
  if (zero || low >= 0 && low < (high - low) * 2) low = Math.min(0, low);
  if (low === high) high = low + 1;
  const room = (high - low) * 0.06;
  return [low < 0 || low === 0 ? low : low - room, high + room];
}

/**
 * A figure with an SVG that `draw(svg, width, height)` fills, again when its box changes, and a table of
 * `rows()` under `heads` behind a toggle. Returns {element, update}.
 */
export function chart({ label, height = 220, heads, rows, draw, summary = () => "" }) {
  const element = html("figure", { class: "chart" });
  const picture = svg("svg", { class: "chart-svg", role: "group", "aria-label": label, height });
  const tip = html("div", { class: "chart-tip", "aria-hidden": "true" });
  tip.hidden = true;
  const caption = html("figcaption", { class: "sr-only" });
  const details = html("details", { class: "chart-table" });
  details.append(html("summary", {}, "Figures as a table"));
  const box = html("div", { class: "chart-box" });
  box.append(picture, tip);
  element.append(caption, box, details);
  let width = 0;
  const render = () => {
    if (!width) return;
    const focused = picture.contains(document.activeElement) ? document.activeElement.dataset.index : null;
    picture.replaceChildren();
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    draw(picture, width, height, tip);
    if (focused !== null) picture.querySelector(`[data-index="${focused}"]`)?.focus();
  };
  const fill = () => {
    caption.textContent = `${label}. ${summary()}`;
    if (details.open) details.replaceChildren(details.firstChild, table(label, heads, rows()));
  };
  details.addEventListener("toggle", fill);
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now && now !== width) { width = now; render(); }
  }).observe(box);
  return { element, update() { render(); fill(); } };
}

function table(label, heads, rows) {
  const frame = html("div", { class: "table-frame tall", tabindex: "0", role: "region", "aria-label": `Figures: ${label}` });
  const element = html("table");
  const head = html("thead"), line = html("tr"), body = html("tbody");
  heads.forEach((text, index) => line.append(html("th", { scope: "col", ...(index ? { class: "number" } : {}) }, text)));
  head.append(line);
  for (const row of rows) {
    const cells = html("tr");
    row.forEach((value, index) => cells.append(cell(value, index)));
    body.append(cells);
  }
  element.append(head, body);
  frame.append(element);
  return frame;
}

function cell(value, index) {
  const element = html("td", index ? { class: "number" } : { dir: "auto" });
  if (value && typeof value === "object") element.append(stamp(value.ms, "full"));
  else element.textContent = typeof value === "number" || value === null ? figure(value) : value;
  return element;
}

/** Points that one reaches with Tab and walks along with the arrow keys; `show(index)` says what is there. */
export function walk(picture, targets, { show, hide, label }) {
  targets.forEach((target, index) => {
    target.dataset.index = index;
    target.setAttribute("tabindex", index === targets.length - 1 ? "0" : "-1");
    target.setAttribute("role", "img");
    target.setAttribute("aria-label", label(index));
    target.addEventListener("focus", () => show(index));
    target.addEventListener("blur", hide);
  });
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -Infinity, End: Infinity };
  picture.onkeydown = (event) => {
    const step = steps[event.key];
    const now = Number(document.activeElement?.dataset.index);
    if (step === undefined || !Number.isFinite(now)) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(targets.length - 1, now + step));
    targets[now]?.setAttribute("tabindex", "-1");
    targets[next].setAttribute("tabindex", "0");
    targets[next].focus();
  };
}

/** Show a tip at x, within the width of the chart. */
export function point(tip, lines, x, y, width) {
  tip.replaceChildren(...lines.map((text) => html("div", {}, text)));
  tip.hidden = false;
  const own = tip.offsetWidth;
  tip.style.setProperty("--x", `${Math.max(0, Math.min(width - own, x + 12 + own > width ? x - own - 12 : x + 12))}px`);
  tip.style.setProperty("--y", `${Math.max(0, y - 12)}px`);
}

/** The axes: values at the left with lines across, instants below. */
export function axes(picture, { x, y, box, values, times }) {
  const fine = values.length > 1 && Math.abs(values[1] - values[0]) < Math.abs(values.at(-1)) / 100;
  for (const value of values) {
    const at = y(value);
    picture.append(svg("line", { class: "chart-grid", x1: box.left, x2: box.right, y1: at, y2: at }));
    picture.append(svg("text", { class: "chart-text", x: box.left - 6, y: at + 4, "text-anchor": "end" }, fine ? figure(value) : short(value)));
  }
  for (const [ms, text] of times) {
    const at = x(ms);
    if (at < box.left + 12 || at > box.right - 8) continue;
    picture.append(svg("text", { class: "chart-text", x: at, y: box.bottom + 16, "text-anchor": "middle" }, text));
  }
}

/** The place for the drawing within the axes. */
export function inside(width, height) {
  return { left: 52, right: width - 10, top: 14, bottom: height - 24 };
}
