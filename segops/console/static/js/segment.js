// One segment: its trend, what happens, and the parts that take time, which are loaded when they are asked for.
import { bars } from "./charts/bars.js";
import { line } from "./charts/line.js";
import { connect, showAsOf, showFigures } from "./live.js";
import { getJson, Refused } from "./forms.js";
import { stamp } from "./time.js";
import { announce, enhance } from "./main.js";

const MOST = 40;
const head = document.querySelector("[data-segment]");
const path = head.dataset.segment;
const written = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en-GB"));
const signed = (value) => (value > 0 ? `+${written(value)}` : value < 0 ? `−${written(-value)}` : "0");
const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);

function make(name, attributes = {}, ...below) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...below);
  return element;
}

// -- the trend -----------------------------------------------------------------------------------------------

const figures = JSON.parse(document.querySelector("[data-figures]").dataset.figures);
let trend = null;
if (figures.points.length) {
  trend = line({ label: "Members over time", unit: "members", data: figures });
  document.querySelector('[data-chart="trend"]').replaceChildren(trend.element);
}

// -- what happens --------------------------------------------------------------------------------------------

const list = document.querySelector("[data-happenings]");
let newest = Number(list.firstElementChild?.dataset.number ?? 0);

function happened(found) {
  for (const each of [...found].reverse()) {
    if (each.number <= newest) continue;
    newest = each.number;
    list.prepend(make("li", { "data-number": each.number, class: "changed" }, stamp(each.at_ms, "clock"), make("span", { class: each.member ? "in" : "out" }, each.words), make("span", { class: "muted" }, each.member ? "+1" : "−1")));
  }
  while (list.childElementCount > MOST) list.lastElementChild.remove();
  document.querySelector("[data-quiet]").hidden = list.childElementCount > 0;
}

/** Let the trend go on: the last point is the present until its step is over. */
function follow(points, ms, members) {
  const step = points.length > 2 ? points[1][0] - points[0][0] : 6e4;
  const present = points.at(-1);
  if (ms !== null && ms - (points.at(-2)?.[0] ?? 0) > step) {
    points.push([ms, members]);
    points.shift();
  } else {
    present[0] = Math.max(present[0], ms ?? 0);
    present[1] = members;
  }
}

function hints(now) {
  for (const name of ["hour", "day", "week"]) {
    const hint = document.querySelector(`[data-live="${name}"]`)?.closest(".tile").querySelector(".tile-hint");
    if (hint) hint.textContent = `${written(now[name].adds)} entered, ${written(now[name].drops)} left`;
  }
}

function take(data) {
  const now = data.figures;
  if (now) {
    showFigures({ members: written(now.members), hour: signed(now.hour.net), day: signed(now.day.net), week: signed(now.week.net), progress: now.progress === null ? "100 %" : percent(now.progress) });
    hints(now);
    if (trend && data.as_of_ms !== null && figures.points.length) {
      follow(figures.points, now.clock_ms, now.members);
      trend.set(figures);
    }
  }
  const state = document.querySelector("[data-segment-state]");
  state.textContent = data.state;
  state.className = `tag ${data.tone}`;
  const outdated = data.version === null || data.version !== Number(head.dataset.version);
  document.querySelector("[data-outdated]").hidden = !outdated;
  happened(data.happenings);
  if (data.as_of_ms !== null) showAsOf(data.as_of_ms, head);
}

const stream = connect(head.dataset.stream, { on: { snapshot: take, delta: take, gone: () => stream.close() } });

// -- parts that are loaded -----------------------------------------------------------------------------------

const place = (name) => document.querySelector(`[data-part="${name}"]`);

async function load(name, address, show) {
  const target = place(name);
  target.replaceChildren(make("div", { class: "skeleton", "aria-label": "Loading" }));
  target.setAttribute("aria-busy", "true");
  try {
    const data = await getJson(address);
    if (data.missing) target.replaceChildren(make("div", { class: "notice warn" }, `Not there yet: ${data.missing}`));
    else {
      target.replaceChildren(...show(data), asOf(data.as_of_ms));
      enhance(target);
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    target.replaceChildren(make("div", { class: "notice bad", role: "alert" }, error.message));
  } finally {
    target.removeAttribute("aria-busy");
  }
}

const asOf = (ms) => make("p", { class: "as-of" }, "As of ", stamp(ms));
const fact = (label, value, hint = "") => make("div", { class: "tile" }, make("p", { class: "tile-label" }, label), make("p", { class: "tile-value" }, value), make("p", { class: "tile-hint" }, hint));
const tiles = (...found) => make("div", { class: "tiles" }, ...found);

function forecast(data) {
  const chart = bars({ label: "Who enters and leaves by time alone", data: { step_ms: 864e5, names: ["time"], steps: data.days.map(([start_ms, up, down]) => ({ start_ms, up: { time: up }, down: { time: down } })) } });
  const points = [];
  let members = data.members;
  for (const [ms, up, down] of data.days) { members += up - down; points.push([ms + 864e5, members]); }
  return [tiles(fact("Now", written(data.members)), fact("In 24 hours", written(data.in_24h), signed(data.in_24h - data.members)), fact("In 30 days", written(data.in_30d), signed(data.in_30d - data.members))), line({ label: "Members in the next 30 days", unit: "members", height: 180, data: { points } }).element, chart.element];
}

function overlap(data) {
  announce(`${written(data.both)} people are in both`);
  return [tiles(fact("In both", written(data.both)), fact("Only here", written(data.only_this), `${percent(data.of_this)} of it are in both`), fact(`Only in ${data.name}`.slice(0, 60), written(data.only_other), `${percent(data.of_other)} of it are in both`))];
}

function funnel(data) {
  const all = (count) => `${data.sample < 1 ? "≈ " : ""}${written(Math.round(count / data.sample))}`;
  data.nodes.forEach((node, number) => {
    const mark = document.querySelector(`[data-node="${number}"]`);
    if (!mark) return;
    mark.textContent = `${all(node.holds)} (${percent(data.evaluated ? node.holds / data.evaluated : null)})${node.passes !== node.holds ? `, ${all(node.passes)} with those before` : ""}`;
  });
  const sampled = data.sample < 1 ? `of a sample of ${percent(data.sample)} of all profiles: about ${written(data.members.estimate)} members (${written(data.members.low)} to ${written(data.members.high)})` : "of all profiles";
  return [make("p", { class: "muted small" }, `${written(data.evaluated)} profiles were judged, ${sampled}.`)];
}

function members(data) {
  if (!data.members.length) return [make("p", { class: "muted" }, "Nobody is in it at present.")];
  const rows = data.members.slice(0, 8).map((each) => make("tr", {}, make("td", { dir: "auto" }, each.href ? make("a", { href: each.href }, each.name) : each.name), make("td", {}, each.why || "–"), make("td", {}, each.since_ms === null ? "–" : stamp(each.since_ms)), make("td", {}, each.until_ms === null ? "no end" : stamp(each.until_ms))));
  const names = ["Person", "Why", "Since", "Until"].map((text) => make("th", { scope: "col" }, text));
  return [make("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": "Members who entered last" }, make("table", {}, make("thead", {}, make("tr", {}, ...names)), make("tbody", {}, ...rows))), make("p", { class: "muted small" }, data.masked ? "Who they are is shown to editors. " : "", make("a", { href: `${path}/members` }, `All ${written(data.total)} members`))];
}

const PARTS = { forecast, funnel, members };
for (const button of document.querySelectorAll("[data-load]")) {
  button.hidden = false;
  button.addEventListener("click", () => load(button.dataset.load, `${path}/${button.dataset.load}.json`, PARTS[button.dataset.load]));
}
document.querySelector("[data-overlap]").addEventListener("submit", (event) => {
  event.preventDefault();
  load("overlap", `${path}/overlap.json?with=${encodeURIComponent(event.target.elements.with.value.trim())}`, overlap);
});

// -- another person was first --------------------------------------------------------------------------------

head.addEventListener("refused", (event) => {
  const { status, message, data } = event.detail;
  if (status !== 409) return;
  event.preventDefault();
  const target = document.querySelector("[data-conflict]");
  const lines = (data.difference ?? []).filter((each) => each.kind !== "same").map((each) => make("div", { class: each.kind }, `${each.kind === "added" ? "+" : "−"} ${each.text}`));
  target.replaceChildren(make("div", { class: "notice bad", role: "alert", tabindex: "-1" }, make("p", {}, message), ...(lines.length ? [make("div", { class: "diff" }, ...lines)] : []), make("p", {}, make("a", { href: path }, "Show it as it is now"))));
  target.hidden = false;
  target.firstElementChild.focus();
});
