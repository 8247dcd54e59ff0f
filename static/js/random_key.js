// An Idempotency-Key. crypto.randomUUID exists on https and localhost only; random values always do.
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
