// How often values fall into ranges; with `threshold` a line that can be dragged, or moved with the arrow keys.
import { axes, chart, figure, inside, point, scale, short, svg, ticks, walk } from "./frame.js";

/**
 * `data`: {bins: [{from, to, count}…]}. `threshold`: a value; `onThreshold(value)` is called as it moves, in steps of
 * `step`. Returns {element, set, setThreshold}.
 */
export function histogram({ label, height = 180, unit = "", data, threshold = null, step = 0, onThreshold = () => {} }) {
  let now = data, at = threshold;
  const view = chart({
    label, height,
    heads: ["From", "to", "Number"],
    rows: () => now.bins.map((bin) => [figure(bin.from), bin.to, bin.count]),
    summary: () => `${figure(now.bins.reduce((total, bin) => total + bin.count, 0))} in all.`,
    draw: (picture, width, tall, tip) => draw(picture, width, tall, tip),
  });
  const move = (value, tell = true) => {
    const low = now.bins[0].from, high = now.bins.at(-1).to;
    const size = step || (high - low) / 100;
    at = Math.max(low, Math.min(high, Number((Math.round(value / size) * size).toPrecision(12))));
    view.update();
    if (tell) onThreshold(at);
  };

  function draw(picture, width, tall, tip) {
    if (!now.bins.length) return;
    const box = inside(width, tall);
    const low = now.bins[0].from, high = now.bins.at(-1).to, most = Math.max(1, ...now.bins.map((bin) => bin.count));
    const x = scale([low, high], [box.left, box.right]), y = scale([0, most], [box.bottom, box.top]);
    axes(picture, { x, y, box, values: ticks(0, most, 4), times: ticks(low, high, 6).map((value) => [value, short(value)]) });
    const targets = now.bins.map((bin) => picture.appendChild(svg("rect", { class: `series-1 chart-bin${at !== null && bin.to <= at ? " below" : ""}`, x: x(bin.from) + 0.5, width: Math.max(1, x(bin.to) - x(bin.from) - 1), y: y(bin.count), height: box.bottom - y(bin.count) })));
    const show = (index) => {
      const bin = now.bins[index];
      point(tip, [`${figure(bin.from)} to ${figure(bin.to)} ${unit}`, figure(bin.count)], x(bin.from), y(bin.count), width);
    };
    const hide = () => { tip.hidden = true; };
    walk(picture, targets, { show, hide, label: (index) => `${figure(now.bins[index].from)} to ${figure(now.bins[index].to)} ${unit}: ${figure(now.bins[index].count)}` });
    targets.forEach((target, index) => { target.onpointerenter = () => show(index); });
    picture.onpointerleave = hide;
    if (at !== null) slider(picture, { x, box, low, high, width });
  }

  function slider(picture, { x, box, low, high, width }) {
    const group = svg("g", { class: "chart-threshold", role: "slider", tabindex: "0", "aria-label": `Threshold of ${label}`, "aria-valuemin": low, "aria-valuemax": high, "aria-valuenow": at, "aria-valuetext": `${figure(at)} ${unit}` });
    group.dataset.index = "threshold";
    group.append(svg("line", { x1: x(at), x2: x(at), y1: box.top, y2: box.bottom }), svg("circle", { cx: x(at), cy: box.top, r: 7 }));
    const value = (event) => low + ((event.offsetX * (width / picture.clientWidth) - box.left) / (box.right - box.left)) * (high - low);
    group.onpointerdown = (event) => {
      event.preventDefault();
      const drag = (moved) => move(value(moved));
      picture.addEventListener("pointermove", drag);
      addEventListener("pointerup", () => picture.removeEventListener("pointermove", drag), { once: true });
    };
    const size = step || (high - low) / 100;
    const steps = { ArrowRight: size, ArrowUp: size, ArrowLeft: -size, ArrowDown: -size, PageUp: 10 * size, PageDown: -10 * size, Home: -Infinity, End: Infinity };
    group.onkeydown = (event) => {
      if (steps[event.key] === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      const next = at + steps[event.key];
      move(Number.isFinite(next) ? next : next < 0 ? low : high);
    };
    picture.append(group);
  }

  view.update();
  return { element: view.element, set(next) { now = next; view.update(); }, setThreshold: (value) => move(value, false) };
}
