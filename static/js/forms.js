// data-busy="Sending…": one press per submit. data-autosubmit: filters apply when they change.
function release(button) {
  if (!button.hasAttribute("data-is-busy")) return;
  button.removeAttribute("data-is-busy");
  button.removeAttribute("aria-disabled");
  button.replaceChildren(...button.savedContent);
}

document.addEventListener("submit", (event) => {
  const button = event.submitter?.closest("[data-busy]");
  if (!button) return;
  if (button.hasAttribute("data-is-busy")) return event.preventDefault();
  // After the browser has read the form: a disabled or changed button must still send its value.
  setTimeout(() => {
    if (event.defaultPrevented && !event.target.matches("[hx-post], [hx-get], [hx-put]")) return;
    button.savedContent = [...button.childNodes];
    button.toggleAttribute("data-is-busy", true);
    button.setAttribute("aria-disabled", "true");
    button.replaceChildren(button.dataset.busy);
  });
});

document.addEventListener("htmx:afterRequest", (event) => {
  for (const button of event.target.querySelectorAll?.("[data-is-busy]") ?? []) release(button);
});

// The back button brings the page as it was left: free its buttons.
addEventListener("pageshow", () => document.querySelectorAll("[data-is-busy]").forEach(release));

document.addEventListener("change", (event) => {
  event.target.closest("form[data-autosubmit]")?.requestSubmit();
});
