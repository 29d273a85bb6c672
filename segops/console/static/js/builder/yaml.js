// The draft as YAML, with line numbers. What is typed is used as soon as it is valid; until then the form stays as it is.

import { fill, h } from "./dom.js";
import { Latest, read } from "./server.js";
import { parse } from "./exact.js";

const WAIT_MS = 400;

export class YamlPane {
  #written = "";
  #area;
  #numbers;
  #message;

  /** `opened` gets each valid document that was typed, `key` returns that of the segment. */
  constructor(element, { opened, key }) {
    this.#area = h("textarea", { class: "yaml-text", "aria-label": "Segment as YAML", spellcheck: "false", autocomplete: "off", wrap: "off", rows: 16, "data-control": "yaml", "aria-describedby": "yaml-message" });
    this.#numbers = h("pre", { class: "yaml-numbers", "aria-hidden": "true" });
    this.#message = h("p", { class: "small", id: "yaml-message", role: "status" });
    this.key = key;
    this.opened = opened;
    this.reads = new Latest(WAIT_MS, (signal, text) => this.#read(text, signal));
    this.#area.addEventListener("input", () => {
      this.#count();
      this.reads.ask(this.#area.value);
    });
    this.#area.addEventListener("scroll", () => {
      this.#numbers.scrollTop = this.#area.scrollTop;
    });
    this.#area.addEventListener("keydown", (event) => this.#indent(event));
    fill(element, h("div", { class: "yaml" }, this.#numbers, this.#area), this.#message);
  }

  /** Show the document as the server writes it, unless the person is typing here. */
  show(text) {
    if (text === null || this.#area.ownerDocument.activeElement === this.#area) return;
    this.#written = text;
    this.#area.value = text;
    this.#count();
    this.#say("");
  }

  get text() {
    return this.#area.value;
  }

  /** Two blanks for Tab would trap the keyboard, so only Enter is helped: it keeps the indentation. */
  #indent(event) {
    if (event.key !== "Enter" || event.isComposing) return;
    const { value, selectionStart } = this.#area;
    const line = value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
    const indent = /^ */.exec(line)[0] + (line.trimEnd().endsWith(":") ? "  " : "");
    if (!indent) return;
    event.preventDefault();
    this.#area.setRangeText(`\n${indent}`, selectionStart, this.#area.selectionEnd, "end");
    this.#area.dispatchEvent(new Event("input"));
  }

  async #read(text, signal) {
    const found = await read(text, this.key(), signal);
    const wrong = found.definition === null;
    this.#say(wrong ? found.errors.map((each) => each.message).join("; ") : found.errors.length ? `${found.errors.length} mistakes, shown in the form` : "Used in the form", wrong);
    if (!wrong && found.json !== this.#written) {
      this.#written = found.json;
      this.opened(parse(found.json), found.number);
    }
  }

  #say(text, wrong = false) {
    this.#message.textContent = text;
    this.#message.classList.toggle("mistake", wrong);
  }

  #count() {
    const lines = this.#area.value.split("\n").length;
    this.#numbers.textContent = Array.from({ length: lines }, (_, number) => number + 1).join("\n");
    this.#numbers.scrollTop = this.#area.scrollTop;
  }
}
