// Bars over time, stacked up for entries and down for exits, or single ones beside names.
import { axes, chart, figure, inside, instant, point, scale, svg, ticks, timeTicks, walk } from "./frame.js";

/**
 * `data`: {steps: [{start_ms, up: {name: number}, down: {name: number}}], step_ms, names: [name…]}. Returns
 * {element, set}.
 */
export function bars({ label, height = 220, words = ["entered", "left"], data }) {
  let now = data;
  const view = chart({
    label, height,
    heads: ["From", ...words.map((each) => `All ${each}`), ...now.names.flatMap((name) => words.map((word) => `${name} ${word}`))],
    rows: () => now.steps.map((step) => [{ ms: step.start_ms }, sum(step.up), sum(step.down), ...now.names.flatMap((name) => [step.up[name] ?? 0, step.down[name] ?? 0])]).reverse(),
    summary: () => `${figure(now.steps.reduce((total, step) => total + sum(step.up), 0))} ${words[0]}, ${figure(now.steps.reduce((total, step) => total + sum(step.down), 0))} ${words[1]}.`,
    draw: (picture, width, tall, tip) => draw(picture, width, tall, tip, { now, words }),
  });
  const set = (next) => { now = next; view.update(); };
  set(data);
  return { element: view.element, set };
}

const sum = (counts) => Object.values(counts).reduce((total, each) => total + each, 0);

function draw(picture, width, height, tip, { now, words }) {
  const box = inside(width, height);
  const { steps, step_ms: step, names } = now;
  if (!steps.length) return;
  const high = Math.max(1, ...steps.map((each) => sum(each.up))), low = -Math.max(0, ...steps.map((each) => sum(each.down)));
  const first = steps[0].start_ms, last = steps.at(-1).start_ms + step;
  const x = scale([first, last], [box.left, box.right]), y = scale([low, high], [box.bottom, box.top]);
  axes(picture, { x, y, box, values: ticks(low, high, 5), times: timeTicks(first, last, Math.max(2, Math.floor(width / 110))) });
  picture.append(svg("line", { class: "chart-zero", x1: box.left, x2: box.right, y1: y(0), y2: y(0) }));
  const gap = Math.min(3, (x(first + step) - x(first)) * 0.2);
  const targets = steps.map((each) => {
    const group = picture.appendChild(svg("g", { class: "chart-bar" }));
    const left = x(each.start_ms) + gap / 2, wide = Math.max(1, x(each.start_ms + step) - x(each.start_ms) - gap);
    group.append(svg("rect", { class: "chart-hit", x: left, y: box.top, width: wide, height: box.bottom - box.top }));
    for (const [counts, sign] of [[each.up, 1], [each.down, -1]]) {
      let at = 0;
      names.forEach((name, index) => {
        const number = counts[name] ?? 0;
        if (!number) return;
        const from = y(sign * at), to = y(sign * (at + number));
        group.append(svg("rect", { class: `series-${(index % 6) + 1}${sign < 0 ? " down" : ""}`, x: left, width: wide, y: Math.min(from, to), height: Math.max(0.5, Math.abs(from - to)) }));
        at += number;
      });
    }
    return group;
  });
  const show = (index) => {
    const each = steps[index];
    const part = (counts, word) => names.filter((name) => counts[name]).map((name) => `${figure(counts[name])} ${word}: ${name}`);
    point(tip, [instant(each.start_ms), ...part(each.up, words[0]), ...part(each.down, words[1])], x(each.start_ms + step / 2), box.top + 10, width);
  };
  const hide = () => { tip.hidden = true; };
  walk(picture, targets, { show, hide, label: (index) => `${instant(steps[index].start_ms)}: ${figure(sum(steps[index].up))} ${words[0]}, ${figure(sum(steps[index].down))} ${words[1]}` });
  targets.forEach((target, index) => { target.onpointerenter = () => show(index); });
  picture.onpointerleave = hide;
}
