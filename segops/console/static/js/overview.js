// The overview: its charts, and the live stream.
import { bars } from "./charts/bars.js";
import { line } from "./charts/line.js";
import { connect, showAsOf, showFigures } from "./live.js";

const TONES = ["good", "warn", "bad"];
const figures = JSON.parse(document.querySelector("[data-figures]").dataset.figures);

const place = (name) => document.querySelector(`[data-chart="${name}"]`);
const events = line({ label: "Events per second", unit: "events per second", zero: true, most: 1800, data: { points: figures.series } });
place("events").replaceChildren(events.element);
if (place("changes")) place("changes").replaceChildren(bars({ label: "Entered and left, by reason", data: figures.changes }).element);

function take(data) {
  showFigures(data.figures);
  for (const tag of document.querySelectorAll("[data-tone]")) {
    const tone = data.tones[tag.dataset.tone];
    if (tone) TONES.forEach((each) => tag.classList.toggle(each, each === tone));
  }
  const workers = new Set(document.querySelectorAll(".panel [data-as-of]"));
  document.querySelectorAll("[data-as-of]").forEach((element) => showAsOfOf(element, workers.has(element) ? data.vitals_ms : data.as_of_ms));
  if (data.series) events.set({ points: data.series });
  else if (data.point) events.add(data.point);
  movers(data.movers);
}

function showAsOfOf(element, ms) {
  if (ms !== null) showAsOf(ms, { querySelectorAll: () => [element] });
}

function movers(rows) {
  const body = document.querySelector("[data-movers] tbody");
  if (!body) return;
  body.replaceChildren(...rows.map((each) => {
    const row = document.createElement("tr");
    const link = document.createElement("a");
    link.href = `/segments/${encodeURIComponent(each.key)}`;
    link.dir = "auto";
    link.textContent = each.name.length > 60 ? `${each.name.slice(0, 57)}...` : each.name;
    const name = document.createElement("td");
    name.append(link);
    row.append(name, ...[each.adds, each.drops].map((value) => {
      const cell = document.createElement("td");
      cell.className = "number";
      cell.textContent = value.toLocaleString("en-GB");
      return cell;
    }));
    return row;
  }));
}

connect("/live?page=overview", { on: { snapshot: take, delta: take } });
