// Tables whose headings sort them where the whole table is in the page: <table data-sortable>. Long lists are sorted by
// the server, by links in their headings.

export function enhanceTables(root = document) {
  for (const table of root.querySelectorAll("table[data-sortable]")) {
    if (table.dataset.ready) continue;
    table.dataset.ready = "yes";
    [...table.tHead.rows[0].cells].forEach((cell, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "link";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => sort(table, cell, index));
    });
  }
}

function sort(table, heading, index) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [key(row.cells[index]), row]);
  rows.sort(([a], [b]) => compare(a, b) * (down ? -1 : 1));
  body.append(...rows.map(([, row]) => row));
}

function key(cell) {
  const given = cell.dataset.sort ?? cell.querySelector("time[data-ms]")?.dataset.ms;
  const text = (given ?? cell.textContent).trim();
  const figure = Number(text.replaceAll(",", "").replace(/\s*%$/, ""));
  return text !== "" && Number.isFinite(figure) ? figure : text.toLowerCase();
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return typeof a === typeof b ? a.localeCompare(b) : typeof a === "number" ? -1 : 1;
}
