// What the server says of a draft: its mistakes at once, its size a little later. A newer draft cancels the former requests.

import { Refused, post } from "../forms.js";
import { stringify } from "./exact.js";

export const CHECK_MS = 150;
export const ESTIMATE_MS = 500;

/** Calls an asynchronous function some time after the last request for it, and cancels the call before. */
export class Latest {
  #timer = null;
  #running = null;

  constructor(wait, call) {
    this.wait = wait;
    this.call = call;
  }

  /** Ask for a call with some arguments; `now`: without waiting. */
  ask(...args) {
    this.cancel();
    this.#timer = setTimeout(() => this.#run(args), this.wait);
  }

  now(...args) {
    this.cancel();
    return this.#run(args);
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.#running = null;
  }

  async #run(args) {
    const own = new AbortController();
    this.#running = own;
    try {
      await this.call(own.signal, ...args);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      if (this.#running === own) this.#running = null;
    }
  }
}

function draft(document, key) {
  return { text: stringify(document), as_json: true, key };
}

/** Check a document; returns mistakes, warnings, sentence, cost, YAML. */
export async function check(document, key, signal) {
  return (await post("/builder/check.json", draft(document, key), { signal })).data;
}

/** Read a text in YAML: a segment file, a segment or a rule. */
export async function read(text, key, signal) {
  return (await post("/builder/check.json", { text, as_json: false, key }, { signal })).data;
}

export async function estimate(document, key, exact, signal) {
  return (await post("/builder/estimate.json", { ...draft(document, key), exact }, { signal })).data;
}

export async function fill(template, values, signal) {
  return (await post("/builder/template.json", { template, values }, { signal })).data;
}

/** Publish a document. Throws Refused, with what differs in `data` if another person was faster. */
export async function publish(document, key, { seen, confirmed }) {
  return post("/builder/publish", { ...draft(document, key), seen, confirmed });
}

export { Refused };
