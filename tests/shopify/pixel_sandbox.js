// The sandbox of a custom pixel, as far as deploy/shopify/pixel.js uses it (shopify.dev/docs/api/web-pixels-api):
// `analytics.subscribe`, `browser.cookie.get`, `init.data`. Reads {collector, writeKey, init, cookie, events} from stdin.
const fs = require("node:fs");

const given = JSON.parse(fs.readFileSync(0, "utf8"));
const source = fs
  .readFileSync(process.argv[2], "utf8")
  .replace(/const COLLECTOR = "[^"]*"/, `const COLLECTOR = ${JSON.stringify(given.collector)}`)
  .replace(/const WRITE_KEY = "[^"]*"/, `const WRITE_KEY = ${JSON.stringify(given.writeKey)}`);

const subscribers = new Map();
const analytics = { subscribe: (name, callback) => subscribers.set(name, callback) };
const browser = {
  cookie: {
    get: async () => {
      if (given.cookie === null) throw new Error("no cookies here");
      return given.cookie;
    },
  },
};
new Function("analytics", "browser", "init", source)(analytics, browser, given.init);

(async () => {
  for (const event of given.events) await subscribers.get(event.name)(event);
  process.stdout.write(JSON.stringify([...subscribers.keys()]));
})();
