// Elements of the builder. Data become text and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "css") {
      for (const [variable, each] of Object.entries(value)) element.style.setProperty(variable, each);
    } else if (name === "value") {
      element.value = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

/** Make an element; children are nodes or texts. */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** Make an element of a drawing. */
export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

/** Make a button. `label` is read aloud where `text` alone would not do. */
export function button(text, { label = null, control = null, ...attributes }, click) {
  return h("button", { type: "button", "aria-label": label, title: label, "data-control": control, ...attributes, on: { click } }, text);
}

const ICONS = {
  up: "M8 13V4M4 8l4-4 4 4",
  down: "M8 3v9M4 8l4 4 4-4",
  out: "M13 3v10M10 8H3M6 5L3 8l3 3",
  group: "M5 3H3v10h2M11 3h2v10h-2M6 8h4M8 6v4",
  ungroup: "M5 3H3v10h2M11 3h2v10h-2M6 8h4",
  copy: "M6 6h7v7H6zM10 3H3v7",
  remove: "M4 4l8 8M12 4l-8 8",
};

/** Make a small drawing that stands in a button; its meaning is the button's label. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

/** Make a list of options; `groups`: [label, [[value, text], …]] or [[value, text], …]. */
export function select({ value, options, ...attributes }, change) {
  const option = ([each, text]) => h("option", { value: each, selected: each === value }, text);
  const items = options.map((each) => (Array.isArray(each[1]) ? h("optgroup", { label: each[0] }, each[1].map(option)) : option(each)));
  const element = h("select", attributes, items);
  element.value = value;
  whenChosen(element, () => element.value !== value && change(element.value));
  return element;
}

const TYPING_MS = 600;

/** Call a function when a choice is made. One that is typed is made once the person pauses, or leaves the control. */
function whenChosen(element, chosen) {
  let typed = 0;
  let timer = null;
  const make = () => {
    clearTimeout(timer);
    timer = null;
    chosen();
  };
  element.addEventListener("keydown", (event) => {
    typed = event.key.length === 1 ? event.timeStamp : -Infinity;
    if (timer !== null && event.key === "Enter") make();
  });
  element.addEventListener("change", (event) => {
    clearTimeout(timer);
    if (typed && event.timeStamp - typed < TYPING_MS) timer = setTimeout(make, TYPING_MS);
    else make();
  });
  element.addEventListener("blur", () => timer !== null && make());
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

let numbers = 0;

/** Return an id that no other element has. */
export function uniqueId(prefix) {
  numbers += 1;
  return `${prefix}-${numbers}`;
}

/** Remember the control with the focus, and return a function that gives it back after the views were made again. */
export function keepFocus(root) {
  const active = root.ownerDocument.activeElement;
  if (!active || !root.contains(active)) return () => false;
  const name = active.getAttribute("data-control");
  const range = selectionOf(active);
  return () => focusOn(root, name, range);
}

function selectionOf(element) {
  try {
    return [element.selectionStart, element.selectionEnd];
  } catch {
    return null; // not a text field
  }
}

/**
 * Give the focus to the control with a name, else to the first one at or below its place, else at or below the
 * places above it; return whether there is one.
 */
export function focusOn(root, name, range = null) {
  const controls = name ? [...root.querySelectorAll("[data-control]")] : [];
  const called = (each) => each.getAttribute("data-control");
  let found = controls.find((each) => called(each) === name);
  for (let place = placeOf(name); !found && place !== null && place.length > LEAST; place = place.slice(0, -1)) {
    const below = JSON.stringify(place).replace(/\]$/, ",");
    found = controls.find((each) => called(each).startsWith(below));
  }
  if (!found) return false;
  found.focus();
  if (range && range[0] !== null) {
    try {
      found.setSelectionRange(...range);
    } catch {
      return true; // not a text field
    }
  }
  return true;
}

/** Places above a rule's root hold everything: the focus goes nowhere rather than there. */
const LEAST = 2;

/** Return the place in the document that a control's name begins with, or null. */
function placeOf(name) {
  try {
    return JSON.parse(name.slice(0, name.lastIndexOf("]") + 1));
  } catch {
    return null;
  }
}
