// Painting on the grid of RFM: dragging across cells chooses them as their checkboxes do; arrow keys move between cells.

const form = document.querySelector("[data-paint]");
const boxes = form ? [...form.querySelectorAll('input[type="checkbox"]')] : [];
const said = form?.querySelector("[data-painted]");
const MOVES = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
let painting = null;

const cellOf = (box) => box.name.slice(1).split("-").map(Number);
const number = (value) => value.toLocaleString("en-GB");

/** Mark the chosen cells, and say how many people they hold. */
function show() {
  const chosen = boxes.filter((each) => each.checked);
  for (const each of boxes) each.closest("td").classList.toggle("chosen", each.checked);
  const people = chosen.reduce((sum, each) => sum + Number(each.closest("td").dataset.count), 0);
  said.textContent = chosen.length ? `${number(people)} people in ${chosen.length} ${chosen.length === 1 ? "cell" : "cells"}` : "Choose cells, one by one or by dragging across them.";
}

function paint(target) {
  const box = target?.closest("td")?.querySelector('input[type="checkbox"]');
  if (!box || box.checked === painting) return;
  box.checked = painting;
  show();
}

function begin(event) {
  if (event.target.closest("a, input") || event.button !== 0) return;
  const box = event.target.closest("td")?.querySelector('input[type="checkbox"]');
  if (!box) return;
  event.preventDefault();
  painting = !box.checked;
  paint(box);
  box.focus();
}

function move(event) {
  const by = MOVES[event.key];
  if (!by || !event.target.matches('input[type="checkbox"]')) return;
  const [recency, frequency] = cellOf(event.target);
  const next = boxes.find((each) => each.name === `c${recency + by[0]}-${frequency + by[1]}`);
  event.preventDefault();
  next?.focus();
}

if (form) {
  form.querySelector("table").addEventListener("pointerdown", begin);
  form.querySelector("table").addEventListener("pointerover", (event) => painting !== null && paint(event.target));
  document.addEventListener("pointerup", () => { painting = null; });
  form.addEventListener("keydown", move);
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => {
    if (boxes.some((each) => each.checked)) return;
    event.preventDefault();
    said.textContent = "Choose at least one cell first.";
    boxes[0].focus();
  });
  show();
}
