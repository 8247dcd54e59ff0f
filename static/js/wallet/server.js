// POST to our own site and read its JSON; a refusal becomes an Error in the server's words.
import { messageOf } from "../messages.js";
import { randomKey } from "../random_key.js";

function csrfHeaders() {
  return JSON.parse(document.body.getAttribute("hx-headers") ?? "{}");
}

export async function post(url, fields) {
  const headers = { ...csrfHeaders(), Accept: "application/json", "Idempotency-Key": randomKey() };
  const response = await fetch(url, { method: "POST", headers, body: new URLSearchParams(fields) });
  const text = await response.text();
  if (!response.ok) throw new Error(messageOf(text, response.status));
  return JSON.parse(text);
}

// Ask the server until it says that the rows show the transaction.
export async function untilCredited(root, hash, block) {
  const place = root.querySelector("[data-wallet-credits]");
  if (!place || !root.dataset.refreshUrl) return false;
  const url = `${root.dataset.refreshUrl}?transaction=${hash}&block=${block}`;
  const deadline = Date.now() + 180_000;
  while (Date.now() < deadline && root.isConnected) {
    await htmx.ajax("GET", url, { target: place, swap: "innerHTML" }).catch(() => {});
    if (place.querySelector("[data-live-done]")) return true;
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
  return false;
}
