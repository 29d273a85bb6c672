// Forms posted by fetch: errors stand beside their fields, and nothing that was written is lost. Without this module
// the browser posts them, and the server shows the page again with the errors.

import { signInLink } from "./kept.js";

/** The token that every POST carries. */
export function token() {
  return document.querySelector('meta[name="csrf"]')?.content ?? "";
}

/** Take the token of the present sign-in; false if there is none, or it is the one that the page has. */
async function renewed() {
  const response = await request("/session.json", { headers: { Accept: "application/json" } });
  const found = response.ok ? (await response.json()).csrf : "";
  if (!found || found === token()) return false;
  document.querySelector('meta[name="csrf"]').content = found;
  return true;
}

/** A refused request: `status`, and what the server says of it (`error`, `fields`). */
export class Refused extends Error {
  constructor(status, body) {
    super(body.error ?? "The request failed.");
    this.status = status;
    this.fields = body.fields ?? {};
    this.data = body.data ?? {};
  }
}

/** Read a page's JSON, or any address of the console. Throws Refused. */
export async function getJson(url, options = {}) {
  return answer(await request(url, { headers: { Accept: "application/json" }, ...options }));
}

/** Post a plain object or FormData to an action; returns {location, message, data}. Throws Refused. */
export async function post(url, data, options = {}) {
  const form = data instanceof FormData;
  const body = form ? new URLSearchParams(data) : JSON.stringify(data);
  const send = () => {
    const headers = { Accept: "application/json", "X-CSRF-Token": token() };
    if (!form) headers["Content-Type"] = "application/json";
    return request(url, { method: "POST", headers, body, ...options });
  };
  const response = await send();
  // The person may have signed in again in another tab: nothing was done yet, and the page has the token of before.
  if ((response.status === 401 || response.status === 403) && (await renewed())) return answer(await send());
  return answer(response);
}

async function request(url, options) {
  try {
    return await fetch(url, { credentials: "same-origin", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { error: "The console cannot be reached. Nothing was lost: try again." });
  }
}

async function answer(response) {
  let body = {};
  try { body = await response.json(); } catch { /* a proxy's page, or an empty answer */ }
  if (response.ok) return body;
  if (response.status === 401) {
    body.error = "You are signed out. Nothing was changed. Sign in, then try again: what you wrote is kept.";
    document.dispatchEvent(new CustomEvent("signed-out"));
  }
  throw new Refused(response.status, body);
}

/** Show what was wrong with a form. */
export function showErrors(form, { message, fields = {}, status = 0 }) {
  const unplaced = [];
  for (const element of form.querySelectorAll("[data-error]")) {
    const reason = fields[element.dataset.error] ?? "";
    element.textContent = reason;
    element.hidden = !reason;
    const input = form.elements[element.dataset.error];
    if (input instanceof HTMLElement) {
      if (reason) input.setAttribute("aria-invalid", "true");
      input.closest(".field")?.classList.toggle("wrong", Boolean(reason));
    }
  }
  for (const [name, reason] of Object.entries(fields)) {
    if (!form.querySelector(`[data-error="${CSS.escape(name)}"]`)) unplaced.push(`${name.replaceAll("_", " ")}: ${reason}`);
  }
  const summary = errorBox(form);
  summary.replaceChildren(...[message, ...unplaced].filter(Boolean).map((text) => {
    const line = document.createElement("p");
    line.textContent = text;
    return line;
  }));
  if (status === 401) summary.append(signInLink("Sign in"));
  summary.hidden = !summary.childElementCount;
  const first = form.querySelector(".wrong input, .wrong select, .wrong textarea");
  (first ?? summary).focus();
}

function errorBox(form) {
  let box = form.querySelector("[data-form-errors]");
  if (!box) {
    box = document.createElement("div");
    box.className = "form-errors";
    box.dataset.formErrors = "";
    box.setAttribute("role", "alert");
    form.prepend(box);
  }
  box.tabIndex = -1;
  return box;
}

function clearErrors(form) {
  form.querySelectorAll("[data-error]").forEach((element) => { element.hidden = true; });
  form.querySelectorAll(".wrong").forEach((element) => element.classList.remove("wrong"));
  form.querySelectorAll("[aria-invalid]").forEach((element) => element.removeAttribute("aria-invalid"));
  const box = form.querySelector("[data-form-errors]");
  if (box) box.hidden = true;
}

/** Post a form. Fires `done` on it with the answer; unless that is prevented, goes on where the answer says. */
export async function submit(form, submitter) {
  if (form.dataset.busy) return;
  form.dataset.busy = "yes";
  submitter?.setAttribute("aria-busy", "true");
  clearErrors(form);
  try {
    const done = await post(form.getAttribute("action"), new FormData(form, submitter));
    const event = new CustomEvent("done", { detail: done, bubbles: true, cancelable: true });
    if (form.dispatchEvent(event)) location.assign(done.location);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (!form.dispatchEvent(new CustomEvent("refused", { detail: error, bubbles: true, cancelable: true }))) return;
    showErrors(form, error);
  } finally {
    delete form.dataset.busy;
    submitter?.removeAttribute("aria-busy");
  }
}

export function enhanceForms(root = document) {
  for (const form of root.querySelectorAll("form[data-form]")) {
    if (form.dataset.ready) continue;
    form.dataset.ready = "yes";
    form.addEventListener("submit", (event) => {
      if (event.defaultPrevented) return; // it is to be confirmed first
      event.preventDefault();
      submit(form, event.submitter);
    });
  }
}
