// Make each call that the SDK has, and end when everything is delivered: node node_sdks.js SDK URL KEY
const [sdk, url, key] = process.argv.slice(2);
const when = new Date("2026-03-01T10:00:00Z");
const who = { userId: "ann", timestamp: when };

function calls(client) {
  client.identify({ ...who, traits: { email: "ann@shop.example" } });
  for (let n = 0; n < 120; n++) client.track({ ...who, event: "Product Viewed", properties: { sku: `s${n}` } });
  client.page({ ...who, name: "home", properties: { path: "/" } });
  client.screen({ ...who, name: "start" });
  client.group({ ...who, groupId: "company-1", traits: { plan: "pro" } });
  client.alias({ userId: "ann", previousId: "anonymous-1" });
}

async function segment() {
  const { Analytics } = require("@segment/analytics-node");
  const client = new Analytics({ writeKey: key, host: url });
  client.on("error", (error) => { console.error(error); process.exit(1); });
  calls(client);
  await client.closeAndFlush();
}

async function rudder() {
  const RudderAnalytics = require("@rudderstack/rudder-sdk-node");
  const client = new RudderAnalytics(key, { dataPlaneUrl: url, gzip: true, flushAt: 200, flushInterval: 100 });
  calls(client);
  await client.flush();
}

({ segment, rudder })[sdk]().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
