// The curves of a person's scores.
import { line } from "../charts/line.js";

for (const place of document.querySelectorAll("[data-curve]")) {
  const percent = place.dataset.unit === "%";
  const points = JSON.parse(place.dataset.curve).map(([ms, value]) => [ms, percent && value !== null ? 100 * value : value]);
  place.replaceChildren(line({ label: `${place.dataset.label} in the days to come`, unit: place.dataset.unit, zero: percent, height: 140, data: { points } }).element);
}
