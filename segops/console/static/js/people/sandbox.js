// The sandbox: a list of imaginary events, played by the server, and a clock that moves over what would happen.
import { enhance } from "../main.js";

const form = document.querySelector("[data-sandbox]");
const text = form.querySelector("#f-events");
const byId = (id) => form.querySelector(`#${id}`);
const known = new Map([...form.querySelectorAll("[data-catalogue] [data-event]")].map((item) =>
  [item.dataset.event, [...item.children].map((each) => ({ name: each.textContent, type: each.dataset.type }))]));

/** Return the events of the text; null if it is no JSON list. */
function events() {
  try {
    const found = JSON.parse(text.value || "[]");
    return Array.isArray(found) ? found : null;
  } catch {
    return null;
  }
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function showImagined() {
  const found = events();
  const list = form.querySelector("[data-imagined]");
  list.replaceChildren(...(found ?? []).map((event, number) => {
    const name = event.event ?? event.type ?? "event";
    const when = event.timestamp ?? `day ${event.day ?? 0}`;
    const remove = element("button", { type: "button", class: "link", "aria-label": `Remove event ${number + 1}, ${name}` }, "Remove");
    remove.addEventListener("click", () => {
      write(found.filter((_, other) => other !== number));
      (list.querySelectorAll("button")[Math.max(0, number - 1)] ?? byId("c-name")).focus();
      play();
    });
    const line = element("div", {}, element("span", { dir: "auto" }, `${name}, ${when}${propertiesText(event.properties)}`), remove);
    return element("li", {}, line);
  }));
}

function propertiesText(properties) {
  const parts = Object.entries(properties ?? {}).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`);
  return parts.length ? `: ${parts.join(", ")}` : "";
}

function write(found) {
  text.value = found.length ? JSON.stringify(found) : "";
  showImagined();
}

// -- the form of an event --------------------------------------------------------------------------------

let rows = 0;

function addProperty(name = "", type = "") {
  rows += 1;
  const field = (kind, label, value) => element("div", { class: "field" },
    element("label", { for: `c-${kind}-${rows}` }, label),
    element("input", { id: `c-${kind}-${rows}`, "data-kind": kind, value, autocomplete: "off", dir: "auto" }));
  const remove = element("button", { type: "button", class: "button quiet", "aria-label": "Remove the property" }, "×");
  const row = element("div", { class: "property-row", "data-type": type }, field("name", "Property", name), field("value", "Value", ""), remove);
  remove.addEventListener("click", () => { row.remove(); byId("c-name").focus(); });
  form.querySelector("[data-properties]").append(row);
  return row;
}

/** A value as it was meant: a number or true and false unless the catalogue knows the property as text. */
function meant(written, type) {
  if (type === "string" || type === "text") return written;
  if (written === "true" || written === "false") return written === "true";
  return written.trim() !== "" && Number.isFinite(Number(written)) ? Number(written) : written;
}

function composed() {
  const properties = {};
  for (const row of form.querySelectorAll("[data-properties] .property-row")) {
    const name = row.querySelector('[data-kind="name"]').value.trim();
    const value = row.querySelector('[data-kind="value"]').value;
    const type = (known.get(byId("c-name").value.trim()) ?? []).find((each) => each.name === name)?.type ?? row.dataset.type;
    if (name && value !== "") properties[name] = meant(value, type);
  }
  const event = { event: byId("c-name").value.trim(), day: Number(byId("c-day").value) || 0 };
  return Object.keys(properties).length ? { ...event, properties } : event;
}

function addEvent() {
  const event = composed(), found = events();
  if (!event.event || found === null) {
    (found === null ? text : byId("c-name")).focus();
    return;
  }
  if (found.length >= Number(form.dataset.maxEvents)) return;
  write([...found, event]);
  byId("c-name").value = "";
  form.querySelector("[data-properties]").replaceChildren();
  byId("c-name").focus();
  play();
}

function offerProperties() {
  const offered = known.get(byId("c-name").value.trim());
  if (!offered || form.querySelector("[data-properties]").childElementCount) return;
  for (const each of offered.slice(0, 3)) addProperty(each.name, each.type);
}

// -- play ------------------------------------------------------------------------------------------------

let asked = 0;

async function play() {
  const query = new URLSearchParams(new FormData(form));
  for (const name of [...query.keys()]) if (!query.get(name)) query.delete(name);
  const address = `${form.getAttribute("action")}?${query}`;
  const mine = ++asked;
  const result = document.getElementById("result");
  result.setAttribute("aria-busy", "true");
  const answer = await fetch(address, { credentials: "same-origin" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (mine !== asked) return;
  const made = page.getElementById("result");
  if (!made) {
    location.assign(address); // signed out, or the address is too long: the server's page says so
    return;
  }
  history.replaceState(null, "", address);
  result.replaceWith(document.adoptNode(made));
  enhance(made);
  enhanceClock(made);
}

// -- the clock -------------------------------------------------------------------------------------------

function enhanceClock(root) {
  const box = root.querySelector("[data-clock]");
  const slider = box?.querySelector("[data-clock-slider]");
  if (!slider) return;
  const begin = Number(box.dataset.beginMs), end = Number(box.dataset.endMs);
  const flips = [...root.querySelectorAll(".flips > li")];
  const ends = new Map([...box.querySelectorAll("[data-lane]")].map((lane) => [lane.dataset.lane, lane.querySelector(".lane-state").textContent.trim()]));
  const words = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
  const move = () => {
    const at = begin + ((end - begin) * Number(slider.value)) / 1000;
    box.querySelector("[data-clock-out]").textContent = words.format(at);
    slider.setAttribute("aria-valuetext", words.format(at));
    for (const line of box.querySelectorAll("[data-cursor]")) {
      line.setAttribute("x1", slider.value);
      line.setAttribute("x2", slider.value);
    }
    for (const flip of flips) flip.classList.toggle("future", Number(flip.dataset.at) > at);
    for (const lane of box.querySelectorAll("[data-lane]")) showState(lane, flips, at, ends.get(lane.dataset.lane));
  };
  slider.hidden = false;
  slider.addEventListener("input", move);
}

/** Show whether the person is in a segment at an instant: as after the last flip before it, or against the next one. */
function showState(lane, flips, at, finally_) {
  const own = flips.filter((flip) => flip.dataset.segment === lane.dataset.lane);
  const last = own.filter((flip) => Number(flip.dataset.at) <= at).at(-1);
  const isIn = last ? last.dataset.action === "entered" : own.length ? own[0].dataset.action !== "entered" : finally_ === "in";
  const tag = element("span", { class: `tag ${isIn ? "good" : "neutral"}` }, isIn ? "in" : "out");
  lane.querySelector("[data-lane-state]").replaceChildren(tag);
}

form.querySelector("[data-composer]").hidden = false;
form.querySelector("[data-add-event]").addEventListener("click", addEvent);
form.querySelector("[data-add-property]").addEventListener("click", () => addProperty().querySelector("input").focus());
byId("c-name").addEventListener("change", offerProperties);
text.addEventListener("input", showImagined);
byId("f-days").addEventListener("change", play);
form.querySelector(".composer").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("input")) {
    event.preventDefault();
    addEvent();
  }
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  play();
});
showImagined();
enhanceClock(document);
