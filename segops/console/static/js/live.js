// The live stream: one connection per page, opened again with growing pauses, and a mark in the page's head that says
// whether what is shown is live. Without it pages show what they held when they were made, with their age.
import { signInLink } from "./kept.js";
import { setAsOf } from "./time.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30000;
const SILENCE_MS = 40000; // the server says something at least every 15 seconds

/**
 * Listen to a stream. `on` maps names of events to functions of their parsed data and id. Returns {close}.
 *
 *   connect("/live?page=segments", { on: { delta: (data) => … } });
 */
export function connect(url, { on = {}, onState = () => {} } = {}) {
  let source = null, last = "", pause = FIRST_PAUSE_MS, timer = 0, silence = 0, closed = false, out = false;

  const state = (name) => { show(name); onState(name); };
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => retry("stale"), SILENCE_MS);
  };
  const heard = () => {
    listen();
    if (pause !== FIRST_PAUSE_MS) pause = FIRST_PAUSE_MS;
    out = false;
    state("live");
  };
  const retry = (name) => {
    source?.close();
    clearTimeout(silence);
    clearTimeout(timer);
    if (closed) return;
    state(out ? "signed-out" : name);
    timer = setTimeout(open, pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    signedIn().then((known) => { out = !known; if (out && source?.readyState !== EventSource.OPEN) state("signed-out"); });
  };
  const open = () => {
    const target = new URL(url, location.href);
    if (last) target.searchParams.set("last", last);
    source = new EventSource(target);
    source.onopen = listen; // a console that has just started has nothing to say yet
    source.onerror = () => retry("reconnecting");
    source.addEventListener("beat", heard);
    for (const [name, take] of Object.entries(on)) {
      source.addEventListener(name, (event) => {
        heard();
        if (event.lastEventId) last = event.lastEventId;
        take(JSON.parse(event.data), event.lastEventId);
      });
    }
  };
  addEventListener("online", () => { if (!closed && source?.readyState === EventSource.CLOSED) { pause = FIRST_PAUSE_MS; retry("reconnecting"); } });
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => { if (event.persisted && !closed) open(); });
  open();
  return { close() { closed = true; source?.close(); clearTimeout(timer); clearTimeout(silence); } };
}

async function signedIn() {
  try { return (await fetch("/session.json", { credentials: "same-origin" })).status !== 401; } catch { return true; }
}

const WORDS = { live: "Live", reconnecting: "Reconnecting", stale: "Not live" };

/** Say in the page's head whether what is shown is live: by a name in WORDS, or "signed-out". */
export function show(name) {
  const mark = document.querySelector("[data-live-state]");
  if (!mark || mark.dataset.state === name) return;
  mark.hidden = false;
  mark.dataset.state = name;
  mark.classList.toggle("stale", name !== "live");
  mark.replaceChildren(name === "signed-out" ? signInLink("Signed out: sign in") : WORDS[name]);
}

/** Write figures into the elements that name them: {"events_per_second": "1,234"} into [data-live="events_per_second"]. */
export function showFigures(figures, root = document) {
  for (const element of root.querySelectorAll("[data-live]")) {
    const text = figures[element.dataset.live];
    if (text === undefined || element.textContent === String(text)) continue;
    element.textContent = text;
    element.classList.remove("changed");
    requestAnimationFrame(() => element.classList.add("changed"));
  }
}

/** Mark all parts of the page as true as of an instant. */
export function showAsOf(ms, root = document) {
  root.querySelectorAll("[data-as-of]").forEach((element) => setAsOf(element, ms));
}
