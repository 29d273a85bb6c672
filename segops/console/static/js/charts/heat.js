// A grid of cells whose shade says how much there is; each has its figure as text, too.
import { chart, figure, point, svg, walk } from "./frame.js";

/** `data`: {columns: [name…], rows: [{name, values: [number|null…]}]}; `low`: what the palest cell stands for. */
export function heat({ label, cell = 44, unit = "", data, text = figure }) {
  let now = data;
  const height = () => 28 + now.rows.length * cell;
  const view = chart({
    label, height: height(),
    heads: ["", ...now.columns],
    rows: () => now.rows.map((row) => [row.name, ...row.values]),
    draw: (picture, width, tall, tip) => draw(picture, width, tip, { now, cell, unit, text }),
  });
  const set = (next) => { now = next; view.update(); };
  set(data);
  return { element: view.element, set };
}

function draw(picture, width, tip, { now, cell, unit, text }) {
  const left = Math.min(140, width * 0.3), wide = (width - left) / now.columns.length;
  const most = Math.max(1, ...now.rows.flatMap((row) => row.values.filter((each) => each !== null)));
  now.columns.forEach((name, index) => picture.append(svg("text", { class: "chart-text", x: left + (index + 0.5) * wide, y: 16, "text-anchor": "middle" }, clipped(name, wide))));
  const targets = [], places = [];
  now.rows.forEach((row, line) => {
    picture.append(svg("text", { class: "chart-text", x: left - 8, y: 28 + (line + 0.5) * cell + 4, "text-anchor": "end" }, clipped(row.name, left)));
    row.values.forEach((value, index) => {
      const group = picture.appendChild(svg("g", { class: "chart-cell" }));
      const shade = value === null ? 0 : value / most;
      group.append(svg("rect", { class: "series-1", x: left + index * wide + 1, y: 28 + line * cell + 1, width: Math.max(1, wide - 2), height: cell - 2, rx: 3, "fill-opacity": (0.06 + 0.5 * shade).toFixed(3) }));
      group.append(svg("text", { class: "chart-value", x: left + (index + 0.5) * wide, y: 28 + (line + 0.5) * cell + 4, "text-anchor": "middle" }, value === null ? "–" : text(value)));
      targets.push(group);
      places.push([row.name, now.columns[index], value, left + (index + 0.5) * wide, 28 + line * cell]);
    });
  });
  const show = (index) => {
    const [row, column, value, x, y] = places[index];
    point(tip, [`${row}, ${column}`, `${value === null ? "–" : text(value)} ${unit}`], x, y, width);
  };
  const hide = () => { tip.hidden = true; };
  walk(picture, targets, { show, hide, label: (index) => `${places[index][0]}, ${places[index][1]}: ${places[index][2] === null ? "unknown" : text(places[index][2])} ${unit}` });
  targets.forEach((target, index) => { target.onpointerenter = () => show(index); });
  picture.onpointerleave = hide;
}

/** A name as long as there is room for; the table and the tip have all of it. */
function clipped(name, room) {
  const most = Math.max(2, Math.floor(room / 7.5));
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}
