// Publication: what is refused is explained, with both sides if another person was faster; then the wait until it is in force.

import { getJson } from "../forms.js";
import { signInLink } from "../kept.js";
import { button, fill, h } from "./dom.js";
import { Refused, publish } from "./server.js";

const LOOK_MS = 1000;
const LOOKS = 600;

/**
 * Publish a draft. `draft` returns {document, key, seen}; `rebase` takes the fingerprint of what is published now;
 * `open` takes the document that another person published.
 */
export class Publisher {
  constructor(element, { draft, rebase, opened, announce }) {
    Object.assign(this, { element, draft, rebase, opened, announce });
  }

  async run(confirmed = false) {
    if (this.running) return; // one click more, while the answer is on its way
    this.running = true;
    try {
      await this.#publish(confirmed);
    } finally {
      this.running = false;
    }
  }

  async #publish(confirmed) {
    const { document, key, seen } = this.draft();
    this.#say("info", h("p", {}, "Publishing: the workers compute what it changes…"));
    try {
      const done = await publish(document, key, { seen, confirmed });
      this.announce(done.message);
      this.#follow(done);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#refused(error);
    }
  }

  #say(tone, ...children) {
    fill(this.element, h("div", { class: `notice ${tone}`, role: tone === "bad" ? "alert" : "status" }, children));
  }

  #refused(error) {
    this.announce(error.message);
    const reason = error.data?.reason;
    if (reason === "stale") this.#stale(error);
    else if (reason === "limits") this.#limits(error);
    else if (reason === "unknown") this.#say("warn", h("p", {}, error.message), this.#anyway());
    else this.#say("bad", h("p", {}, error.message), error.status === 401 ? h("p", {}, signInLink("Sign in")) : null);
  }

  #anyway() {
    return h("p", {}, button("Publish anyway", { class: "button danger", control: "anyway" }, () => this.run(true)));
  }

  #limits(error) {
    const rows = Object.entries(error.data.segments).map(([key, moved]) => h("li", {}, `${key}: ${moved}`));
    this.#say("warn", h("p", {}, "Nothing was published yet: this moves many customers at once."), h("ul", {}, rows), this.#anyway());
  }

  #stale(error) {
    const { difference, seen, version } = error.data;
    const lines = difference.map((each) => h("div", { class: `diff-${each.kind}` }, h("span", { class: "sr-only" }, { removed: "published only: ", added: "your draft only: ", same: "" }[each.kind]), { removed: "− ", added: "+ ", same: "  " }[each.kind] + each.text));
    const diff = lines.length ? h("pre", { class: "diff", tabindex: 0, "aria-label": "Difference between the published segment and your draft" }, lines) : null;
    const keep = seen && button("Keep my draft, as an edit of that version", { class: "button", control: "rebase" }, () => {
      this.rebase(seen, version);
      this.#say("info", h("p", {}, `Your draft is now an edit of version ${version}. Look it over, then publish again.`));
    });
    const take = error.data.published_json && button("Take theirs", { class: "button", control: "theirs" }, () => {
      this.opened(error.data.published_json, seen, version);
      this.#say("info", h("p", {}, "The published segment is in the form; your draft is one undo away."));
    });
    this.#say("bad", h("p", {}, error.message), diff, h("p", { class: "row" }, take, keep));
  }

  /** Wait until all partitions evaluate by the new version, as `segops apply --wait` does. */
  async #follow(done) {
    const { version, key = this.draft().key } = done.data;
    this.rebase(done.data.seen ?? "", version);
    const link = h("a", { href: done.location }, "Open the segment");
    const progress = h("progress", { max: 1, value: 0, "aria-label": "partitions in which it is in force" });
    const words = h("p", {}, "Waiting until it is in force…");
    this.#say("good", h("p", {}, done.message, ". ", link), words, progress);
    for (let look = 0; look < LOOKS; look += 1) {
      const found = await getJson(`/builder/${encodeURIComponent(key)}/rollout/${version}.json`).catch(() => null);
      if (found?.complete) {
        progress.value = 1;
        words.textContent = `In force in all ${found.partitions} partitions.`;
        this.announce(words.textContent);
        return;
      }
      if (found?.partitions) {
        progress.value = found.in_force / found.partitions;
        words.textContent = progressText(found);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    words.textContent = "Not in force everywhere yet; the workers go on.";
  }
}

function progressText(found) {
  const history = found.progress ? `; past events: ${found.progress.read.toLocaleString("en")} of ${found.progress.total.toLocaleString("en")} read` : "";
  return `In force in ${found.in_force} of ${found.partitions} partitions${history}.`;
}

