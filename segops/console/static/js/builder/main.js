// The builder's page: one document, shown as a form and as YAML, checked and counted as it changes.

import { getJson } from "../forms.js";
import "./cards.js";
import "./conditions.js";
import "./names.js";
import "./predicates.js";
import "./rfm.js";
import "./scores.js";
import "./sequence.js";
import { card } from "./cards.js";
import { Suggestions } from "./controls.js";
import { fill, focusOn, h, keepFocus } from "./dom.js";
import { Editing } from "./editing.js";
import { parse, same } from "./exact.js";
import * as fragment from "./fragment.js";
import { histogram } from "./histogram.js";
import { History } from "./history.js";
import { showCounts, showMarks } from "./marks.js";
import { showCheck, showEstimate, showNoEstimate, showSamples } from "./panel.js";
import { Publisher } from "./publish.js";
import { CHECK_MS, ESTIMATE_MS, Latest, Refused, check, estimate, fill as fillTemplate } from "./server.js";
import { showNames, showSegments, showSettings, showTemplates } from "./settings.js";
import { pathText } from "./tree.js";
import { YamlPane } from "./yaml.js";

// How often a size that could not be counted is asked for again by itself, and after which pause.
const MOST_ATTEMPTS = 3;
const AGAIN_MS = 3000;

export class Builder {
  #scheduled = false;
  #pressed = false;
  #estimated = null;
  #attempted = null;
  #attempts = 0;

  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.seen = data.seen;
    this.at = (name) => root.querySelector(`[data-part="${name}"]`);
    this.history = new History(parse(data.json));
    this.editing = new Editing(this.history, JSON.parse(data.language), data.catalogue);
    this.editing.announce = (text) => this.announce(text);
    this.editing.refresh = () => this.#schedule();
    this.editing.lists = new Suggestions(this.at("suggestions"));
    this.yaml = new YamlPane(this.at("yaml"), { key: () => this.key, opened: (document, number) => this.open(document, { number }) });
    this.publisher = new Publisher(this.at("published"), {
      draft: () => ({ document: this.history.present, key: this.key, seen: this.seen }),
      rebase: (seen, version) => this.#rebase(seen, version),
      opened: (json, seen, version) => {
        this.#rebase(seen, version);
        this.open(parse(json));
      },
      announce: (text) => this.announce(text),
    });
    this.checks = new Latest(CHECK_MS, (signal) => this.#check(signal));
    this.estimates = new Latest(ESTIMATE_MS, (signal, exact = false) => this.#estimate(signal, exact));
    this.history.subscribe((how) => this.#changed(how));
    this.#listen();
  }

  get key() {
    const { key } = this.editing.segment;
    return typeof key === "string" ? key : "";
  }

  announce(text) {
    const region = document.querySelector("[data-announce]");
    if (region) region.textContent = text;
  }

  /** Begin: with the draft of the address if there is one, else with the published segment. */
  async start() {
    const draft = await fragment.read(location.hash);
    if (draft) {
      this.seen = draft.seen ?? this.seen;
      this.history.edit(draft.document);
      this.announce("Your draft was taken from the address");
    }
    showTemplates(this.at("templates"), this.data.templates, (key, values) => this.#useTemplate(key, values));
    this.render();
    await this.checks.now();
    this.root.dataset.ready = "yes";
  }

  /** Edit another document; the former one can be had back by an undo. */
  open(document, { number = this.editing.number } = {}) {
    this.editing.number = Math.max(0, Math.min(number, document.segments.length - 1));
    this.history.edit(document);
  }

  #rebase(seen, version) {
    this.seen = seen;
    this.data.version = version;
    fill(this.at("version"), version ? `edits version ${version}` : "not published");
    this.#keep();
  }

  // -- views ---------------------------------------------------------------------------------------------

  #listen() {
    this.root.addEventListener("pointerdown", () => {
      this.#pressed = true;
    });
    for (const event of ["pointerup", "pointercancel"]) {
      document.addEventListener(event, () => {
        this.#pressed = false;
        if (this.#scheduled) setTimeout(() => this.#renderSoon(), 0);
      });
    }
    this.root.addEventListener("keydown", (event) => this.#keys(event));
    this.at("undo").addEventListener("click", () => this.history.undo());
    this.at("redo").addEventListener("click", () => this.history.redo());
    this.at("publish")?.addEventListener("click", () => this.publisher.run());
  }

  #keys(event) {
    if (!(event.ctrlKey || event.metaKey) || event.target.matches("textarea")) return;
    const key = event.key.toLowerCase();
    if (key === "z" || key === "y") {
      event.preventDefault();
      if (key === "y" || event.shiftKey) this.history.redo();
      else this.history.undo();
    }
  }

  #changed(how) {
    if (how !== "quiet") this.#schedule();
    this.checks.ask();
    this.estimates.cancel();
    this.#keep();
  }

  /** Make the views again soon: not while a button is held down, whose click would be lost. */
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => this.#renderSoon(), 0);
  }

  #renderSoon() {
    if (!this.#scheduled || this.#pressed) return;
    this.#scheduled = false;
    this.render();
  }

  /** Make the views of the document, and give the focus back to the control that had it. */
  render() {
    const { editing } = this;
    editing.number = Math.max(0, Math.min(editing.number, (editing.document.segments ?? []).length - 1));
    const next = editing.takeFocus();
    const focus = keepFocus(this.root);
    editing.lists.clear();
    showSegments(this.at("segments"), editing, (number) => {
      editing.number = number;
      this.#changed("edit");
    });
    showNames(this.at("names"), editing, { published: this.data.version > 0 });
    fill(this.at("rule"), card(editing, null, [...editing.segmentPath, "when"]));
    showSettings(this.at("settings"), editing);
    this.at("undo").disabled = !this.history.canUndo;
    this.at("redo").disabled = !this.history.canRedo;
    this.#mark();
    if (!next || !focusOn(this.root, next)) focus();
  }

  #mark() {
    showMarks(this.root, this.editing);
    showCounts(this.at("rule"), this.editing, this.#estimated);
    const focus = this.root.querySelector(".histogram :focus") ? keepFocus(this.root) : () => {};
    for (const leaf of this.at("rule").querySelectorAll(".leaf-node")) {
      if (leaf.querySelector('[role="slider"]:active')) continue; // it is being dragged
      const path = JSON.parse(leaf.dataset.at);
      const values = this.editing.values.get(pathText(path.slice(2)));
      leaf.querySelector(":scope > .histogram")?.remove();
      const figure = values && histogram(this.editing, path, values);
      if (figure) leaf.append(figure);
    }
    focus();
  }

  // -- the server ----------------------------------------------------------------------------------------

  async #check(signal) {
    const draft = this.history.present;
    let found;
    try {
      found = await check(draft, this.key, signal);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      showNoEstimate(this.at("check"), error.message);
      return;
    }
    if (this.history.present !== draft) return;
    const before = this.editing.errors.length;
    this.editing.errors = found.errors;
    this.editing.warnings = found.warnings;
    showCheck(this.at("check"), found, this.root);
    this.yaml.show(found.yaml);
    this.#mark();
    if (found.errors.length !== before) this.announce(found.errors.length ? `${found.errors.length} mistakes: ${found.errors[0].message}` : "No mistakes");
    if (found.errors.length) {
      showNoEstimate(this.at("estimate"), "The size is shown once the mistakes are mended.");
      fill(this.at("samples"));
    } else this.estimates.ask();
  }

  async #estimate(signal, exact) {
    const draft = this.history.present;
    this.at("estimate").setAttribute("aria-busy", "true");
    try {
      const found = await estimate(draft, this.key, exact, signal);
      if (!same(this.history.present, draft)) return;
      this.#estimated = found;
      this.editing.counts = new Map(found.nodes.map((each) => [pathText(each.at), each]));
      this.editing.values = new Map(found.values.map((each) => [pathText(each.at), each.values]));
      showEstimate(this.at("estimate"), found, { canAsk: true, ask: () => this.estimates.now(true) });
      showSamples(this.at("samples"), found);
      this.#mark();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      showNoEstimate(this.at("estimate"), error.message, () => this.estimates.now(exact));
      fill(this.at("samples"));
      this.#countLater(draft, exact);
    } finally {
      this.at("estimate").removeAttribute("aria-busy");
    }
  }

  /** Count once more in a while, unless the draft is another by then: workers that are busy do not stay so. */
  #countLater(draft, exact) {
    if (this.#attempted !== draft) [this.#attempted, this.#attempts] = [draft, 0];
    this.#attempts += 1;
    if (exact || this.#attempts > MOST_ATTEMPTS) return;
    setTimeout(() => { if (this.history.present === draft) this.estimates.now(exact); }, AGAIN_MS);
  }

  async #useTemplate(key, values) {
    try {
      const found = await fillTemplate(key, values);
      const document = parse(found.json);
      if (this.data.version > 0) document.segments[0].key = this.key;
      this.open(document, { number: 0 });
      this.announce("The template is in the form");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.announce(error.message);
      fill(this.at("published"), h("div", { class: "notice bad", role: "alert" }, error.message));
    }
  }

  /** Keep the draft in the address, so that a reload, or a colleague, has it. */
  async #keep() {
    const draft = this.history.present;
    const written = await fragment.written(draft, this.seen);
    if (this.history.present !== draft) return;
    history.replaceState(history.state, "", written || location.pathname + location.search);
  }
}

export async function begin(root) {
  try {
    const path = location.pathname.replace(/\/$/, "");
    const data = await getJson(`${path}.json${location.search}`);
    const builder = new Builder(root, data);
    await builder.start();
    return builder;
  } catch (error) {
    const text = error instanceof Refused ? error.message : "The builder could not start.";
    fill(root.querySelector('[data-part="check"]'), h("p", { class: "notice bad", role: "alert" }, text));
    throw error;
  }
}

const root = document.querySelector("[data-builder]");
/** The builder of this page, once it has begun. */
export const started = root ? begin(root) : null;
