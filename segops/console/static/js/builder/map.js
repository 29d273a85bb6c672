// Places on a map: a plain graticule with circles, boxes, polygons and points. Nothing is fetched from elsewhere.

import { h, svg } from "./dom.js";
import { editor, entry, marks } from "./editors.js";
import { isMap, mapOf, numberOf } from "./exact.js";
import { keyedField } from "./names.js";
import { registerBody } from "./leaves.js";
import { pathText } from "./tree.js";

const EARTH_M = 6_371_008.8;
const UNIT_M = { m: 1, km: 1000, mi: 1609.344 };
const SIZE = { width: 360, height: 240 };
const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60];

/** Return a length such as `5km` in metres, or null. */
export function metres(text) {
  const found = typeof text === "string" ? /^([0-9]+(?:\.[0-9]+)?)(m|km|mi)$/.exec(text) : null;
  return found ? Number(found[1]) * UNIT_M[found[2]] : null;
}

/** Return a length in the unit of another one, with three digits. */
export function lengthLike(former, length) {
  const unit = /(m|km|mi)$/.exec(former ?? "")?.[1] ?? "km";
  const number = Number((length / UNIT_M[unit]).toPrecision(3));
  return `${number < 1e15 ? String(number).replace(/e.*/, "") : number}${unit}`;
}

function degreesOf(length) {
  return (length / EARTH_M) * (180 / Math.PI);
}

/** A view of the earth around a point: degrees to pixels, east-west shortened by the latitude. */
export function viewOf(lat, lon, spanDegrees) {
  const scale = SIZE.height / spanDegrees;
  const shrink = Math.max(0.05, Math.cos((lat * Math.PI) / 180));
  const around = (degrees) => ((degrees - lon + 540) % 360) - 180;
  return {
    scale,
    shrink,
    x: (degrees) => SIZE.width / 2 + around(degrees) * scale * shrink,
    y: (degrees) => SIZE.height / 2 - (degrees - lat) * scale,
    lat: (y) => Math.max(-90, Math.min(90, lat - (y - SIZE.height / 2) / scale)),
    lon: (x) => ((lon + (x - SIZE.width / 2) / scale / shrink + 540) % 360) - 180,
  };
}

function graticule(view, lat, lon, span) {
  const step = STEPS.find((each) => span / each <= 6) ?? 60;
  const lines = [];
  for (let number = -6; number <= 6; number += 1) {
    const parallel = Math.round(lat / step) * step + number * step;
    const meridian = Math.round(lon / step) * step + number * step;
    if (Math.abs(parallel) <= 90) lines.push(svg("line", { x1: 0, x2: SIZE.width, y1: view.y(parallel), y2: view.y(parallel) }), label(view, 4, view.y(parallel) - 3, degreeText(parallel, "NS", step)));
    lines.push(svg("line", { y1: 0, y2: SIZE.height, x1: view.x(meridian), x2: view.x(meridian) }), label(view, view.x(meridian) + 3, SIZE.height - 4, degreeText((((meridian + 540) % 360) - 180), "EW", step)));
  }
  return svg("g", { class: "graticule", "aria-hidden": "true" }, lines);
}

function label(_view, x, y, text) {
  return svg("text", { x, y }, text);
}

function degreeText(degrees, signs, step) {
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  return `${Math.abs(degrees).toFixed(digits)}°${Math.abs(degrees) < step / 2 ? "" : signs[degrees < 0 ? 1 : 0]}`;
}

function shapeOf(view, area) {
  if (!isMap(area)) return null;
  if ("lat" in area) {
    const radius = degreesOf(metres(area.radius) ?? 0) * view.scale;
    const [cx, cy] = [view.x(Number(area.lon)), view.y(Number(area.lat))];
    return [radius > 0 && svg("circle", { class: "area", cx, cy, r: radius }), svg("circle", { class: "point", cx, cy, r: 3 })].filter(Boolean);
  }
  const corners = Array.isArray(area.polygon) ? area.polygon : "south" in area ? [[area.south, area.west], [area.north, area.west], [area.north, area.east], [area.south, area.east]] : null;
  if (!corners?.every?.(Array.isArray)) return null;
  return svg("polygon", { class: "area", points: corners.map(([lat, lon]) => `${view.x(Number(lon))},${view.y(Number(lat))}`).join(" ") });
}

function pointsOf(areas) {
  return areas.filter(isMap).flatMap((area) => {
    if ("lat" in area) {
      const reach = degreesOf(metres(area.radius) ?? 500);
      return [[Number(area.lat) - reach, Number(area.lon)], [Number(area.lat) + reach, Number(area.lon)]];
    }
    if (Array.isArray(area.polygon)) return area.polygon.filter(Array.isArray).map((each) => each.map(Number));
    return [[Number(area.south), Number(area.west)], [Number(area.north), Number(area.east)]];
  });
}

/** Make a drawing of some areas. */
export function areasMap(areas, text) {
  const points = pointsOf(areas).filter((each) => each.every(Number.isFinite));
  if (!points.length) return null;
  const [lats, lons] = [points.map((each) => each[0]), points.map((each) => each[1])];
  const middle = (list) => (Math.min(...list) + Math.max(...list)) / 2;
  const [lat, lon] = [middle(lats), middle(lons)];
  const span = Math.min(180, Math.max(0.01, (Math.max(...lats) - Math.min(...lats)) * 1.3, (Math.max(...lons) - Math.min(...lons))));
  const view = viewOf(lat, lon, span);
  return svg("svg", { class: "map", viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": text }, graticule(view, lat, lon, span), areas.map((each) => shapeOf(view, each)));
}

/** Make a map of a circle that can be moved, and made larger and smaller. */
function circleMap(editing, path, circle) {
  const [lat, lon] = [Number(circle.lat), Number(circle.lon)];
  const radius = metres(circle.radius);
  if (![lat, lon].every(Number.isFinite) || Math.abs(lat) > 90 || !radius) return null;
  const span = Math.min(180, Math.max(0.002, degreesOf(radius) * 3));
  const view = viewOf(lat, lon, span);
  const edge = view.x(lon) + degreesOf(radius) * view.scale;
  const put = (changes, focus) => {
    const entries = Object.entries(circle).map(([key, value]) => [key, changes[key] ?? value]);
    editing.change((document) => editing.tree.set(document, path, mapOf(entries)), { focus, say: `${changes.lat ? `at ${changes.lat}, ${changes.lon}` : `radius ${changes.radius}`}` });
  };
  const at = (number) => numberOf(String(Number(number.toFixed(5))));
  const centre = handle({ cx: view.x(lon), cy: view.y(lat), label: `Centre at ${lat}, ${lon}: arrow keys move it`, name: `${pathText(path)}centre` }, (x, y, name) => put({ lat: at(view.lat(y)), lon: at(view.lon(x)) }, name));
  const rim = handle({ cx: edge, cy: view.y(lat), label: `Radius ${circle.radius}: arrow keys change it`, name: `${pathText(path)}rim` }, (x, _, name) => put({ radius: lengthLike(circle.radius, (Math.max(2, x - view.x(lon)) / view.scale) * (Math.PI / 180) * EARTH_M) }, name));
  return svg("svg", { class: "map", viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "group", "aria-label": "Map of the circle" }, graticule(view, lat, lon, span), shapeOf(view, circle), centre, rim);
}

const ARROWS = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] };

/** Make a point that is dragged, or moved by the arrow keys; `moved` gets its new position in the drawing. */
function handle({ cx, cy, label: text, name }, moved) {
  const inDrawing = (event, element) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(element.ownerSVGElement.getScreenCTM().inverse());
    return [point.x, point.y];
  };
  const element = svg("circle", { class: "handle", cx, cy, r: 8, tabindex: 0, role: "button", "aria-label": text, "data-control": name });
  element.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    element.focus();
    element.setPointerCapture(event.pointerId);
    const follow = (each) => {
      const [x, y] = inDrawing(each, element);
      element.setAttribute("cx", x);
      element.setAttribute("cy", y);
    };
    element.addEventListener("pointermove", follow);
    element.addEventListener("pointerup", (each) => {
      element.removeEventListener("pointermove", follow);
      const [x, y] = inDrawing(each, element);
      if (Math.hypot(x - cx, y - cy) > 1) moved(x, y, name);
    }, { once: true });
  });
  element.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    moved(cx + arrow[0] * (event.shiftKey ? 5 : 1), cy + arrow[1] * (event.shiftKey ? 5 : 1), name);
  });
  return element;
}

function areasOf(editing, name) {
  if (typeof name !== "string") return [];
  const found = editing.document.places?.[name];
  return found === undefined ? [] : [found].flat();
}

function placeField(editing, path, label) {
  const names = editing.namesIn("places").map((each) => [each, "place of this file"]);
  return keyedField(editing, path, names, { label, unknown: "define it below" });
}

registerBody(["near"], (editing, schema, path, label) => {
  const value = editing.value(path);
  const map = isMap(value) && "lat" in value ? circleMap(editing, path, value) : areasMap(areasOf(editing, isMap(value) ? value.places : value), "The named place");
  const form = isMap(value) && "places" in value ? h("div", { class: "map-fields" }, placeField(editing, [...path, "places"], "place"), marks([...path, "places"]), entry(editing, { type: "string", pattern: "(m|km|mi)$" }, [...path, "radius"], { removable: false })) : typeof value === "string" ? placeField(editing, path, "place") : null;
  return h("div", { class: "places" }, h("div", {}, form, h("details", { class: "exact", open: form ? null : true }, h("summary", {}, "Values"), editor(editing, schema, path, { label }))), map);
});

registerBody(["inside", "distance_to"], (editing, schema, path, label) => {
  const value = editing.value(path);
  if (isMap(value)) return h("div", { class: "places" }, h("div", {}, editor(editing, schema, path, { label })), areasMap([value], "Map of the point"));
  return h("div", { class: "places" }, placeField(editing, path, label), areasMap(areasOf(editing, value), `Map of ${value}`));
});
