// A line over time with its area, notes at instants (versions, backfills), a tip under the pointer and the keyboard.
import { axes, chart, extent, figure, html, inside, instant, point, scale, svg, ticks, timeTicks, walk } from "./frame.js";

const MOST_STOPS = 60; // points that the keyboard stops at

/**
 * `data`: {points: [[ms, value|null], …], series?: [{name, points}], notes?: [{at_ms, text, tone?}]}. Returns
 * {element, set(data), add(point)}; `most`: points that are kept when more are added.
 */
export function line({ label, unit = "", zero = false, height = 220, most = Infinity, data = { points: [] } }) {
  let now = normal(data);
  const view = chart({
    label, height,
    heads: ["Time", ...now.series.map((each) => each.name || label)],
    rows: () => now.series[0].points.map(([ms], index) => [{ ms }, ...now.series.map((each) => each.points[index]?.[1] ?? null)]).reverse(),
    summary: () => summary(now, unit),
    draw: (picture, width, tall, tip) => draw(picture, width, tall, tip, { now, label, unit, zero }),
  });
  const set = (next) => { now = normal(next); view.update(); };
  set(data);
  return {
    element: view.element,
    set,
    add(added) {
      const points = now.series[0].points;
      if (points.length && points.at(-1)[0] >= added[0]) points[points.length - 1] = added;
      else points.push(added);
      if (points.length > most) points.shift();
      view.update();
    },
  };
}

function normal({ points, series, notes = [] }) {
  return { series: series ?? [{ name: "", points: points ?? [] }], notes };
}

function summary({ series }, unit) {
  const known = series[0].points.filter(([, value]) => value !== null);
  if (!known.length) return "No figures yet.";
  const values = known.map(([, value]) => value);
  return `From ${figure(known[0][1])} to ${figure(known.at(-1)[1])} ${unit}, least ${figure(Math.min(...values))}, most ${figure(Math.max(...values))}.`;
}

function draw(picture, width, height, tip, { now, label, unit, zero }) {
  const box = inside(width, height);
  const all = now.series.flatMap((each) => each.points);
  if (!all.length) {
    picture.append(svg("text", { class: "chart-text", x: width / 2, y: height / 2, "text-anchor": "middle" }, "No figures yet"));
    return;
  }
  const first = Math.min(...all.map(([ms]) => ms)), last = Math.max(...all.map(([ms]) => ms));
  const range = extent(all.map(([, value]) => value), zero);
  const x = scale([first, last], [box.left, box.right]), y = scale(range, [box.bottom, box.top]);
  axes(picture, { x, y, box, values: ticks(...range, 4), times: timeTicks(first, last, Math.max(2, Math.floor(width / 110))) });
  now.series.forEach((each, index) => paths(picture, each.points, { x, y, box, index, area: now.series.length === 1 }));
  notes(picture, now.notes.filter((each) => each.at_ms >= first && each.at_ms <= last), { x, box });
  stops(picture, now, { x, y, box, tip, width, unit, label });
}

function paths(picture, points, { x, y, box, index, area }) {
  const runs = [[]];
  for (const [ms, value] of points) {
    if (value === null) runs.push([]);
    else runs.at(-1).push([x(ms), y(value)]);
  }
  for (const run of runs.filter((each) => each.length)) {
    const path = run.map(([left, top]) => `${left.toFixed(1)},${top.toFixed(1)}`).join("L");
    if (area) picture.append(svg("path", { class: `chart-area series-${index + 1}`, d: `M${run[0][0].toFixed(1)},${box.bottom}L${path}L${run.at(-1)[0].toFixed(1)},${box.bottom}Z` }));
    picture.append(svg("path", { class: `chart-line series-${index + 1}`, d: `M${path}${run.length === 1 ? "h0.1" : ""}` }));
  }
}

function notes(picture, found, { x, box }) {
  found.forEach((note, index) => {
    const at = x(note.at_ms);
    const group = svg("g", { class: `chart-note ${note.tone ?? ""}` });
    group.append(svg("title", {}, `${note.text}, ${instant(note.at_ms)}`));
    group.append(svg("line", { x1: at, x2: at, y1: box.top, y2: box.bottom }));
    const end = at > box.right - 70 ? "end" : "start";
    group.append(svg("text", { class: "chart-text", x: end === "end" ? at - 4 : at + 4, y: box.top + 10 + (index % 3) * 13, "text-anchor": end }, note.short ?? note.text));
    picture.append(group);
  });
}

function stops(picture, now, { x, y, box, tip, width, unit, label }) {
  const points = now.series[0].points;
  const mark = svg("line", { class: "chart-cursor", y1: box.top, y2: box.bottom, x1: 0, x2: 0, visibility: "hidden" });
  picture.append(mark);
  const show = (index) => {
    const [ms, value] = points[index], at = x(ms);
    mark.setAttribute("x1", at);
    mark.setAttribute("x2", at);
    mark.setAttribute("visibility", "visible");
    const lines = now.series.map((each) => `${each.name ? `${each.name}: ` : ""}${figure(each.points[index]?.[1] ?? null)} ${unit}`);
    point(tip, [...lines, instant(ms), ...nearby(now.notes, ms, points, index)], at, value === null ? box.top : y(value), width);
  };
  const hide = () => { tip.hidden = true; mark.setAttribute("visibility", "hidden"); };
  const every = Math.max(1, Math.ceil(points.length / MOST_STOPS));
  const indexes = points.map((_, index) => index).filter((index) => (points.length - 1 - index) % every === 0);
  const targets = indexes.map((index) => {
    const [ms, value] = points[index];
    return picture.appendChild(svg("circle", { class: "chart-stop", cx: x(ms), cy: value === null ? box.bottom : y(value), r: 4 }));
  });
  walk(picture, targets, { show: (stop) => show(indexes[stop]), hide, label: (stop) => `${figure(points[indexes[stop]][1])} ${unit}, ${instant(points[indexes[stop]][0])}` });
  picture.onpointermove = (event) => {
    const left = event.offsetX * (width / picture.clientWidth);
    let best = 0;
    points.forEach(([ms], index) => { if (Math.abs(x(ms) - left) < Math.abs(x(points[best][0]) - left)) best = index; });
    show(best);
  };
  picture.onpointerleave = hide;
}

function nearby(found, ms, points, index) {
  const before = points[index - 1]?.[0] ?? ms;
  return found.filter((each) => each.at_ms > before && each.at_ms <= ms).map((each) => each.text);
}

/** Put a line chart into an element that names its data: <div data-chart="line" data-from="id of a JSON script">. */
export function mount(target, options) {
  const view = line(options);
  target.replaceChildren(view.element);
  if (options.caption) target.append(html("p", { class: "muted small" }, options.caption));
  return view;
}
