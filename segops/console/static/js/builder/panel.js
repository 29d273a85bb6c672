// Beside the rule: the sentence, the mistakes, the size, and the profiles that are just in and just out.

import { stamp } from "../time.js";
import { button, fill, focusOn, h } from "./dom.js";
import { pathText } from "./tree.js";

/** Show what the last check found. */
export function showCheck(element, found, root) {
  const parts = [h("p", { class: "sentence", dir: "auto" }, found.sentence ?? "The rule is not finished yet.")];
  if (found.errors.length) {
    const items = found.errors.map((each) => h("li", {}, button(`${shortPath(each.at)}: ${each.message}`, { class: "link mistake-link" }, () => focusNear(root, each.at))));
    parts.push(h("div", { class: "issues bad" }, h("p", {}, found.errors.length === 1 ? "One mistake" : `${found.errors.length} mistakes`), h("ul", {}, items)));
  }
  if (found.warnings.length) {
    parts.push(h("div", { class: "issues warn" }, h("p", {}, "Worth a look"), h("ul", {}, found.warnings.map((each) => h("li", {}, `${shortPath(each.at)}: ${each.message}`)))));
  }
  if (found.cost) {
    const { state_bytes: bytes, leaves, timed_leaves: timed } = found.cost;
    parts.push(h("p", { class: "muted small" }, `${leaves} ${leaves === 1 ? "condition" : "conditions"}, ${timed} of them change with time; about ${bytes.toLocaleString("en")} bytes per customer.`));
  }
  fill(element, parts);
}

function shortPath(at) {
  const path = at.slice(at[0] === "segments" ? 2 : 0);
  return path.map((step) => (typeof step === "number" ? step + 1 : step)).join(" › ") || "draft";
}

/** Give the focus to the control of a mistake, or to the nearest one above it. */
export function focusNear(root, at) {
  for (let length = at.length; length > 0; length -= 1) {
    if (focusOn(root, pathText(at.slice(0, length)))) return true;
  }
  return false;
}

function number(value) {
  return value.toLocaleString("en");
}

/** Show the size of the draft. */
export function showEstimate(element, found, { ask, canAsk }) {
  const { members, profiles, sample } = found;
  const exact = sample >= 1;
  const share = profiles.estimate ? (100 * members.estimate) / profiles.estimate : 0;
  const head = h("p", { class: "estimate-figure" }, h("span", { class: "tile-value" }, `${exact ? "" : "≈ "}${number(members.estimate)}`), h("span", { class: "tile-unit" }, ` of ${exact ? "" : "about "}${number(profiles.estimate)} profiles (${share.toFixed(share < 10 ? 1 : 0)} %)`));
  const bar = h("div", { class: "share-bar", css: { "--low": String(bound(members.low, profiles)), "--share": String(share / 100), "--high": String(bound(members.high, profiles)) }, "aria-hidden": "true" }, h("span", {}));
  const error = exact ? "Exact: all profiles were read." : `Between ${number(members.low)} and ${number(members.high)}, with 95 % certainty: ${number(found.evaluated)} profiles were read.`;
  const parts = [head, bar, h("p", { class: "muted small" }, error, " As of ", stamp(found.to_ms, "clock"), ".")];
  if (found.failed) parts.push(h("p", { class: "notice warn small" }, `The rule fails for ${number(found.failed)} profiles.`));
  if (found.incomplete.length) {
    parts.push(h("details", { class: "small" }, h("summary", {}, "Past events are not counted yet"), h("p", {}, "Profiles store what published segments read. Publishing counts past events first; the exact count does so, too."), h("ul", {}, found.incomplete.map((each) => h("li", {}, each)))));
  }
  if (found.counted && found.counted.members === null) parts.push(h("p", { class: "notice warn small" }, `Past events are not counted yet: ${found.counted.reason}`));
  else if (found.counted) parts.push(h("p", { class: "notice good small" }, `With past events: exactly ${number(found.counted.members)} of ${number(found.counted.profiles)} profiles.`));
  if (!exact || (found.incomplete.length && !found.counted?.members)) parts.push(h("p", {}, button("Count exactly", { class: "button small", control: "exact", disabled: canAsk ? null : true }, ask)));
  fill(element, parts);
}

function bound(value, profiles) {
  return profiles.estimate ? Math.min(1, value / profiles.estimate) : 0;
}

/** Show why there is no size; `again`: asks for it once more. */
export function showNoEstimate(element, text, again = null) {
  fill(element, h("p", { class: "muted" }, text), again && h("p", {}, button("Count again", { class: "button small", control: "again" }, again)));
}

// -- samples -----------------------------------------------------------------------------------------------

/** Show the profiles that are just in, and those that are just out. */
export function showSamples(element, found) {
  const kinds = [["Just in", found.just_in, "good"], ["Just out", found.just_out, "neutral"]];
  fill(element, kinds.map(([title, profiles, tone]) => h("div", { class: "samples" }, h("h3", {}, title), profiles.length ? h("ul", {}, profiles.map((each) => sample(each, tone))) : h("p", { class: "muted small" }, "No such profile was found."))));
}

function sample(profile, tone) {
  const away = profile.flips === 1 ? "one condition decides" : `${profile.flips} conditions decide`;
  const link = profile.profile_id ? h("p", { class: "small" }, h("a", { href: `/people/${encodeURIComponent(profile.profile_id)}` }, "Open this profile")) : null;
  const next = profile.flips_at_ms ? h("p", { class: "muted small" }, "changes without another event ", stamp(profile.flips_at_ms)) : null;
  return h("li", {}, h("details", {}, h("summary", {}, h("span", { dir: "auto" }, profile.name), " ", h("span", { class: `tag ${tone}` }, away)), link, next, h("ul", { class: "trace" }, trace(profile.rule))));
}

/** Make the trace of a rule: each node with its verdict and the value that decided it. */
function trace(part) {
  const sign = part.holds === null ? "?" : part.holds ? "✓" : "✗";
  const words = part.holds === null ? "cannot be evaluated" : part.holds ? "holds" : "does not hold";
  const value = part.value === null || part.value === undefined ? null : h("span", { class: "trace-value", dir: "auto" }, ` — ${typeof part.value === "object" ? JSON.stringify(part.value) : part.value}`);
  return h("li", { class: part.holds ? "holds" : "fails" }, h("span", { class: "verdict", "aria-hidden": "true" }, sign), h("span", { class: "sr-only" }, `${words}: `), h("span", { dir: "auto" }, part.label), value, part.note && h("p", { class: "muted small" }, part.note), part.parts.length ? h("ul", {}, part.parts.map(trace)) : null);
}
