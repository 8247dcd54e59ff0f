// One request of the tus protocol, and what its answer means.
export class Refused extends Error {}

const RETRIED = new Set([408, 423, 429, 460, 500, 502, 503, 504]);

// The answer; nothing for an upload that is gone. Throws Refused for what asking again cannot mend,
// and any other error where the server should be asked what it holds.
export async function ask(method, url, { token, signal, headers = {}, body = undefined }) {
  const sent = { "Tus-Resumable": "1.0.0", Accept: "application/json", "X-CSRFToken": token, ...headers };
  // A file that is given up is forgotten even if the page is left at once.
  const keepalive = method === "DELETE";
  const answer = await fetch(url, { method, headers: sent, body, signal, keepalive });
  if (answer.ok) return answer;
  if (answer.status === 404 && method !== "POST") return undefined;
  if (RETRIED.has(answer.status) || answer.headers.has("Upload-Offset")) throw new Error("Ask again.");
  const refusal = await answer.json().catch(() => ({}));
  throw new Refused(refusal.error?.message ?? `The server refused (${answer.status}).`);
}
