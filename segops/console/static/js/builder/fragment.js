// The draft in the address: compressed in the fragment, which is not sent to the server.

import { parse, stringify } from "./exact.js";

const NAME = "draft=";
/** Beyond this length, browsers and chats begin to cut addresses. */
const MOST = 30_000;

async function through(stream, bytes) {
  const piped = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

/** Return a document as a fragment; "" if it is too long for an address. */
export async function written(document, seen) {
  const text = stringify({ document, seen });
  const packed = await through(new CompressionStream("deflate-raw"), new TextEncoder().encode(text));
  let binary = "";
  for (const byte of packed) binary += String.fromCharCode(byte);
  const found = `#${NAME}${btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
  return found.length > MOST ? "" : found;
}

/** Return the draft of a fragment, {document, seen}; null if it has none, or a broken one. */
export async function read(fragment) {
  const found = fragment.replace(/^#/, "");
  if (!found.startsWith(NAME)) return null;
  try {
    const binary = atob(found.slice(NAME.length).replaceAll("-", "+").replaceAll("_", "/"));
    const packed = Uint8Array.from(binary, (each) => each.charCodeAt(0));
    const text = new TextDecoder().decode(await through(new DecompressionStream("deflate-raw"), packed));
    const draft = parse(text);
    return Array.isArray(draft.document?.segments) ? draft : null;
  } catch {
    return null;
  }
}
