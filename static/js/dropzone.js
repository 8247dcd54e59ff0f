// A file field that also takes dropped and pasted files, and shows what was chosen.
import { attachOnce } from "./attach.js";
import { sizeInWords } from "./sizes.js";

function row(file) {
  const item = document.createElement("li");
  const name = document.createElement("span");
  const size = document.createElement("span");
  name.textContent = file.name;
  size.textContent = sizeInWords(file.size);
  size.className = "muted nowrap";
  item.append(name, size);
  return item;
}

function start(zone) {
  const input = zone.querySelector("input[type=file]");
  const list = zone.querySelector("[data-dropzone-files]");
  zone.querySelector("[data-dropzone-hint]").hidden = false;
  const show = () => list.replaceChildren(...[...input.files].map(row));

  function take(files) {
    if (!files.length) return;
    const chosen = new DataTransfer();
    for (const file of input.multiple ? files : [...files].slice(0, 1)) chosen.items.add(file);
    input.files = chosen.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  input.addEventListener("change", show);
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.toggleAttribute("data-over", true);
  });
  zone.addEventListener("dragleave", (event) => {
    if (!zone.contains(event.relatedTarget)) zone.toggleAttribute("data-over", false);
  });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.toggleAttribute("data-over", false);
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    if (zone.isConnected && event.clipboardData?.files.length) take(event.clipboardData.files);
  });
}

export function attach(root) {
  attachOnce(root, "[data-dropzone]", start);
}
