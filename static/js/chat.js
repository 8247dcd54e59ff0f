// Streams an answer as NDJSON. Without this file the form posts normally.
import { attachOnce } from "./attach.js";
import { messageOf } from "./messages.js";
import { randomKey } from "./random_key.js";

function bubble(log, role, text) {
  const template = document.querySelector(`[data-chat-template="${role}"]`);
  const item = template.content.firstElementChild.cloneNode(true);
  item.querySelector(".chat-text").textContent = text;
  log.append(item);
  item.scrollIntoView({ block: "nearest" });
  return item;
}

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const pieces = (rest + part.value).split("\n");
    rest = pieces.pop();
    for (const piece of pieces) if (piece.trim()) yield JSON.parse(piece);
  }
}

function fail(item, text) {
  item.classList.add("chat-error");
  item.querySelector(".chat-text").append(text);
}

async function handle(item, event) {
  if (event.type === "token") item.querySelector(".chat-text").append(event.text);
  if (event.type === "error") fail(item, event.message);
  if (event.html_url) await htmx.ajax("GET", event.html_url, { target: item, swap: "outerHTML" });
}

async function wasAnswered(form, log, signal) {
  bubble(log, "user", form.elements.prompt.value);
  const item = bubble(log, "assistant", "");
  item.toggleAttribute("data-streaming", true);
  try {
    const headers = { Accept: "application/x-ndjson", "Idempotency-Key": randomKey() };
    const response = await fetch(form.action, { method: "POST", body: new FormData(form), headers, signal });
    if (!response.ok) fail(item, messageOf(await response.text(), response.status));
    else for await (const event of lines(response)) await handle(item, event);
  } catch (problem) {
    fail(item, problem.name === "AbortError" ? " (stopped)" : "The connection broke. You pay only for what was answered.");
  } finally {
    item.toggleAttribute("data-streaming", false);
  }
  return !item.classList.contains("chat-error");
}

function start(form) {
  const log = form.closest(".chat").querySelector("[data-chat-log]");
  log.lastElementChild?.scrollIntoView({ block: "nearest" });
  const field = form.elements.prompt;
  const stop = form.querySelector("[data-chat-stop]");
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = field.value;
    if (form.hasAttribute("data-sending") || !asked.trim()) return;
    const controller = new AbortController();
    form.toggleAttribute("data-sending", true);
    if (stop) Object.assign(stop, { hidden: false, onclick: () => controller.abort() });
    const answered = wasAnswered(form, log, controller.signal);
    field.value = "";
    if (!(await answered)) field.value ||= asked; // nobody types a question twice
    log.lastElementChild.scrollIntoView({ block: "nearest" });
    form.toggleAttribute("data-sending", false);
    if (stop) stop.hidden = true;
    field.focus();
  });
}

export const attach = (root) => attachOnce(root, "form[data-chat]", start);
