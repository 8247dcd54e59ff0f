// data-hotkey="a": the key presses the control. Never while typing, never with a modifier.
const TYPING = "input:not([type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select, [contenteditable]";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
  if (event.target.closest(TYPING)) return;
  const open = document.querySelector("dialog[open]");
  const scope = open ?? document;
  const key = event.key.toLowerCase();
  const control = [...scope.querySelectorAll("[data-hotkey]")].find(
    (candidate) => candidate.dataset.hotkey.toLowerCase() === key && candidate.checkVisibility(),
  );
  if (!control || control.disabled) return;
  event.preventDefault();
  if (control.matches("input, textarea, select")) control.focus();
  else control.click();
});
