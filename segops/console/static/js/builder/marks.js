// Mistakes and counts, shown at the rows that they are about without making the rows again.

import { fill, h } from "./dom.js";
import { pathText } from "./tree.js";

/** Show the mistakes and warnings found last at their places. */
export function showMarks(root, editing) {
  const shown = new Set();
  for (const element of root.querySelectorAll("[data-marks]")) {
    const path = JSON.parse(element.dataset.marks);
    const errors = editing.errorsAt(path, element.dataset.below === "true").filter((each) => !shown.has(each));
    errors.forEach((each) => shown.add(each));
    const warnings = editing.warningsAt(path);
    fill(element, errors.map((each) => h("p", { class: "mistake" }, wording(editing, each))), warnings.map((each) => h("p", { class: "warning" }, each.message)));
  }
  showElsewhere(root, editing, shown);
  for (const control of root.querySelectorAll("input[data-control], select[data-control]")) {
    const name = control.getAttribute("data-control");
    const wrong = editing.errors.some((each) => pathText(each.at) === name);
    if (wrong) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  }
}

/** Return a mistake in words: of a field that is still empty, that it is. */
function wording(editing, error) {
  return editing.value(error.at) === "" ? "Fill this in." : error.message;
}

/** Show mistakes that have no row of their own at the nearest card above. */
function showElsewhere(root, editing, shown) {
  for (const error of editing.errors.filter((each) => !shown.has(each))) {
    for (let length = error.at.length; length >= 0; length -= 1) {
      const name = pathText(error.at.slice(0, length));
      const place = [...root.querySelectorAll("[data-marks]")].find((each) => each.dataset.marks === name);
      if (!place) continue;
      const below = error.at.slice(length).join(" › ");
      place.append(h("p", { class: "mistake" }, below ? `${below}: ${error.message}` : error.message));
      break;
    }
  }
}

/** Show how many profiles pass each node. */
export function showCounts(root, editing, estimate) {
  const share = estimate?.sample || 1;
  for (const element of root.querySelectorAll("[data-count]")) {
    const path = JSON.parse(element.dataset.count).slice(2);
    const count = editing.counts.get(pathText(path));
    if (!count || !estimate?.evaluated) {
      fill(element);
      continue;
    }
    const about = share < 1 ? "≈ " : "";
    const number = Math.round(count.holds / share).toLocaleString("en");
    fill(element, h("span", { class: "meter", css: { "--share": String(count.holds / estimate.evaluated) }, "aria-hidden": "true" }), `${about}${number}`);
    element.title = `${number} profiles satisfy this; ${Math.round(count.passes / share).toLocaleString("en")} of them also what stands before it`;
  }
}
