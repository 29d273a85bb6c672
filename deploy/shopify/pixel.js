// segops: a custom pixel for Shopify. Paste it into Settings > Customer events > Add custom pixel, and set both constants.
// Shopify runs it in a sandbox with `analytics`, `browser` and `init`; it loads nothing from elsewhere and sets no cookie.
// It sends the visitor's standard events to the collector in Segment's form. Orders come from webhooks, not from here.

const COLLECTOR = "https://collector.example.com"; // the address of `segops collect`, without a path
const WRITE_KEY = "wk-pixel-change-me"; // the write key of a source of its own, limited to the shop's origins

const LIBRARY = { name: "segops-shopify-pixel" };
const STEPS = {
  checkout_contact_info_submitted: "contact",
  checkout_address_info_submitted: "address",
  checkout_shipping_info_submitted: "shipping",
};

/** Return an id without the prefix of Shopify's global ids: gid://shopify/Order/1 is 1. */
function plainId(id) {
  return id === undefined || id === null || id === "" ? undefined : String(id).split("/").pop().split("?")[0];
}

function product(variant, quantity) {
  const item = variant || {};
  const parent = item.product || {};
  return {
    product_id: plainId(parent.id),
    variant_id: plainId(item.id),
    sku: item.sku || undefined,
    name: parent.title || item.title,
    variant: item.title,
    brand: parent.vendor,
    category: parent.type,
    price: item.price && item.price.amount,
    currency: item.price && item.price.currencyCode,
    quantity,
  };
}

function ofLine(line) {
  return product(line && line.merchandise, line && line.quantity);
}

function ofCart(cart) {
  const total = cart && cart.cost && cart.cost.totalAmount;
  return {
    cart_id: plainId(cart && cart.id),
    value: total && total.amount,
    currency: total && total.currencyCode,
    products: ((cart && cart.lines) || []).map(ofLine),
  };
}

function ofCheckout(checkout) {
  const found = checkout || {};
  return {
    checkout_id: found.token,
    order_id: plainId(found.order && found.order.id),
    value: found.totalPrice && found.totalPrice.amount,
    currency: found.currencyCode,
    products: (found.lineItems || []).map((item) => ({ ...product(item.variant, item.quantity), name: item.title })),
  };
}

/** Standard event of Shopify -> the fields of a call of Segment's specification. */
const CALLS = {
  page_viewed: () => ({ type: "page" }),
  product_viewed: (data) => track("Product Viewed", product(data.productVariant)),
  collection_viewed: ({ collection }) =>
    track("Product List Viewed", {
      list_id: plainId(collection && collection.id),
      category: collection && collection.title,
      products: ((collection && collection.productVariants) || []).map((each) => product(each)),
    }),
  search_submitted: ({ searchResult }) => track("Products Searched", { query: searchResult && searchResult.query }),
  product_added_to_cart: (data) => track("Product Added", ofLine(data.cartLine)),
  product_removed_from_cart: (data) => track("Product Removed", ofLine(data.cartLine)),
  cart_viewed: (data) => track("Cart Viewed", ofCart(data.cart)),
  checkout_started: ({ checkout }) => ({
    ...track("Checkout Started", ofCheckout(checkout)),
    // That of the webhook checkouts/create: where both arrive, the checkout counts once.
    ...(checkout && checkout.token ? { messageId: `shopify:checkout:${checkout.token}:started` } : {}),
  }),
  checkout_contact_info_submitted: step,
  checkout_address_info_submitted: step,
  checkout_shipping_info_submitted: step,
  payment_info_submitted: ({ checkout }) => track("Payment Info Entered", ofCheckout(checkout)),
  // The order itself is the webhook orders/create, whose amount is the shop's. This event joins visitor and buyer.
  checkout_completed: ({ checkout }) => track("Checkout Completed", ofCheckout(checkout)),
};

function track(event, properties) {
  return { type: "track", event, properties };
}

function step({ checkout }, name) {
  return track("Checkout Step Completed", { ...ofCheckout(checkout), step: STEPS[name] });
}

function page(event) {
  const { document: page, navigator } = event.context || {};
  const location = (page && page.location) || {};
  return {
    userAgent: navigator && navigator.userAgent,
    locale: navigator && navigator.language,
    page: { url: location.href, path: location.pathname, search: location.search, title: page && page.title, referrer: page && page.referrer },
  };
}

/** Return the token of the visitor's cart, by which webhooks of orders and carts name it too. */
async function cartToken(data) {
  let cookie;
  try {
    cookie = await browser.cookie.get("cart");
  } catch {
    // Some sandboxes have no cookies.
  }
  const cart = data.cart || (init.data && init.data.cart);
  return plainId(cookie && decodeURIComponent(cookie)) || plainId(cart && cart.id);
}

async function callOf(event) {
  const data = event.data || {};
  const call = CALLS[event.name](data, event.name);
  const checkout = data.checkout || {};
  const customer = (checkout.order && checkout.order.customer) || (init.data && init.data.customer) || {};
  const tokens = { cart_token: await cartToken(data), checkout_token: checkout.token };
  const externalIds = Object.entries(tokens)
    .filter(([, id]) => id)
    .map(([type, id]) => ({ type, id, collection: "users" }));
  const email = checkout.email || customer.email || undefined;
  const described = page(event);
  return {
    messageId: `shopify:pixel:${event.id}`,
    ...call,
    ...(call.type === "page" ? { name: described.page.title, properties: described.page } : {}),
    anonymousId: event.clientId,
    userId: plainId(customer.id),
    timestamp: event.timestamp,
    context: { ...described, library: LIBRARY, externalIds, traits: email ? { email } : {} },
  };
}

/** Send a call, and again after a pause while the collector cannot take it; it counts once however often it arrives. */
async function send(call, attempts = 4, pause = 1000) {
  const body = JSON.stringify({ batch: [call], sentAt: new Date().toISOString(), writeKey: WRITE_KEY });
  try {
    // text/plain: a browser asks nothing in advance. keepalive: the request survives the page.
    const headers = { "Content-Type": "text/plain" };
    const answer = await fetch(`${COLLECTOR}/v1/batch`, { method: "POST", keepalive: true, headers, body });
    if (answer.status < 500 && answer.status !== 429 && answer.status !== 408) return;
  } catch {
    // Offline: try again.
  }
  if (attempts > 1) setTimeout(() => send(call, attempts - 1, 2 * pause), pause);
}

for (const name of Object.keys(CALLS)) {
  analytics.subscribe(name, async (event) => send(await callOf(event)));
}
