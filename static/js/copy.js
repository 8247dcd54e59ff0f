// data-copy="text", data-copy-from="#id", or data-copy-code inside [data-code].
const SHOWN_MS = 1600;

function textFor(button) {
  if (button.dataset.copy) return button.dataset.copy;
  if (button.dataset.copyFrom) {
    const source = document.querySelector(button.dataset.copyFrom);
    return source?.value ?? source?.textContent ?? "";
  }
  return button.closest("[data-code]")?.querySelector("code").textContent ?? "";
}

async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Plain http on another machine has no clipboard API.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from], [data-copy-code]");
  if (!button) return;
  const label = button.querySelector("[data-copy-label], .visually-hidden");
  const use = button.querySelector("use");
  const before = { label: label?.textContent, icon: use?.getAttribute("href") };
  if (button.hasAttribute("data-copied")) return;
  await write(textFor(button));
  button.toggleAttribute("data-copied", true);
  if (label) label.textContent = "Copied";
  use?.setAttribute("href", before.icon.replace(/#.*/, "#check"));
  setTimeout(() => {
    button.toggleAttribute("data-copied", false);
    if (label) label.textContent = before.label;
    use?.setAttribute("href", before.icon);
  }, SHOWN_MS);
});
