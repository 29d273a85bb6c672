// Times in the reader's zone and words. Without this module pages show them in UTC.
const UNITS = [["year", 31557600e3], ["month", 2629800e3], ["day", 864e5], ["hour", 36e5], ["minute", 6e4], ["second", 1e3]];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const zone = { timeZoneName: "short" };
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const EXACT = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, ...zone });
const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** "3 minutes ago", "in 2 days"; beyond a month the date. */
export function relative(ms, now = Date.now()) {
  const span = ms - now;
  if (Math.abs(span) > 30 * 864e5) return DATE.format(ms);
  if (Math.abs(span) < 2e3) return "just now";
  const [unit, size] = UNITS.find(([, least]) => Math.abs(span) >= least) ?? UNITS.at(-1);
  return RELATIVE.format(Math.round(span / size), unit);
}

const STYLES = { relative, full: (ms) => FULL.format(ms), date: (ms) => DATE.format(ms), clock: (ms) => CLOCK.format(ms) };

/** A <time> element like that of the macro `stamp`. */
export function stamp(ms, style = "relative") {
  const time = document.createElement("time");
  time.dateTime = new Date(ms).toISOString();
  time.dataset.ms = ms;
  time.dataset.style = style;
  write(time);
  return time;
}

function write(time) {
  const ms = Number(time.dataset.ms);
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return;
  const text = (STYLES[time.dataset.style] ?? relative)(ms);
  if (time.textContent !== text) time.textContent = text;
  if (!time.title) time.title = EXACT.format(ms);
}

export function localise(root = document) {
  root.querySelectorAll("time[data-ms]").forEach(write);
}

/** Say as of when a part of the page is true, from now on. */
export function setAsOf(element, ms) {
  element.dataset.asOf = ms;
  let time = element.querySelector("time");
  if (!time) {
    time = stamp(ms);
    element.replaceChildren("As of ", time);
  }
  time.dataset.ms = ms;
  time.dateTime = new Date(ms).toISOString();
  time.removeAttribute("title");
  write(time);
  age(element);
}

// The server's clock decides what is stale; a browser's may be wrong by hours.
let behind = 0;

export function setServerTime(ms) {
  behind = ms - Date.now();
}

function age(element) {
  const ms = Number(element.dataset.asOf || NaN);
  const old = !Number.isFinite(ms) || Date.now() + behind - ms > Number(element.dataset.staleMs || 6e4);
  element.classList.toggle("stale", old);
}

/** Keep relative times and the marks of what is stale true. */
export function watchAges() {
  const refresh = () => {
    document.querySelectorAll('time[data-ms][data-style="relative"]').forEach(write);
    document.querySelectorAll("[data-as-of]").forEach(age);
  };
  setInterval(refresh, 5000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}
