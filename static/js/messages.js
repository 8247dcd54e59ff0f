// Messages in the corner: dismiss them, and say in plain words when a request of htmx failed.
const OFFLINE = "The site did not answer. Check the connection and try again.";
const BROKEN = "Something went wrong on our side. Nothing was changed; please try again.";
// Parts that try again by themselves say nothing.
const ASKS_AGAIN = "[data-live], [data-live-url], [hx-trigger*='every']";

export function showMessage(text) {
  const area = document.getElementById("messages");
  if ([...area.querySelectorAll(".message p")].some((said) => said.textContent === text)) return;
  const message = area.querySelector("[data-message-template]").content.cloneNode(true);
  message.querySelector("p").textContent = text;
  area.append(message);
}

export function messageOf(text, status) {
  try {
    const error = JSON.parse(text).error;
    return error.message ?? String(error);
  } catch {
    return status >= 500 ? BROKEN : `The site refused this (${status}). Load the page again and try once more.`;
  }
}

document.addEventListener("click", (event) => {
  event.target.closest("[data-dismiss]")?.closest(".message")?.remove();
});

// A refusal that names its own place (HX-Retarget) is a fragment made for the page: show it.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.detail.xhr.getResponseHeader("HX-Retarget")) return;
  event.detail.shouldSwap = true;
  event.detail.isError = false;
});

document.addEventListener("htmx:responseError", (event) => {
  if (event.target.closest(ASKS_AGAIN)) return;
  showMessage(messageOf(event.detail.xhr.responseText, event.detail.xhr.status));
});

document.addEventListener("htmx:sendError", (event) => {
  if (!event.target.closest(ASKS_AGAIN)) showMessage(OFFLINE);
});
