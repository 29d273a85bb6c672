// The list of segments: live figures in the rows that are shown.
import { connect, showAsOf } from "./live.js";

const TONES = { live: "good", building: "info", paused: "warn", "left out": "bad", starting: "neutral", retired: "neutral" };
const frame = document.querySelector("[data-stream]");
const rows = new Map([...frame.querySelectorAll("[data-key]")].map((row) => [row.dataset.key, row]));

const written = (value) => value.toLocaleString("en-GB");
const signed = (value) => (value > 0 ? `+${written(value)}` : value < 0 ? `−${written(-value)}` : "0");

function set(row, name, text) {
  const cell = row.querySelector(`[data-cell="${name}"]`);
  if (!cell || cell.textContent === text) return;
  cell.textContent = text;
  if (name === "members") {
    cell.classList.remove("changed");
    requestAnimationFrame(() => cell.classList.add("changed"));
  }
}

function take(data) {
  for (const [key, [members, adds, drops, state]] of Object.entries(data.rows)) {
    const row = rows.get(key);
    if (!row) continue;
    set(row, "members", written(members));
    set(row, "adds", written(adds));
    set(row, "drops", written(drops));
    set(row, "net", signed(adds - drops));
    set(row, "state", state);
    const tag = row.querySelector('[data-cell="state"]');
    for (const tone of new Set(Object.values(TONES))) tag.classList.toggle(tone, tone === TONES[state]);
  }
  if (data.as_of_ms !== null) showAsOf(data.as_of_ms);
}

const stream = connect(frame.dataset.stream, { on: { snapshot: take, delta: take, gone: () => stream.close() } });
