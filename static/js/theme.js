// The toggle in the header: light ↔ dark, remembered on this device.
const system = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

function remember(theme) {
  try {
    localStorage.setItem("theme", theme);
  } catch { /* a private window keeps the choice for this page only */ }
}

for (const button of document.querySelectorAll("[data-theme-toggle]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    remember(theme);
  });
}

addEventListener("storage", (event) => {
  if (event.key === "theme" && event.newValue) document.documentElement.dataset.theme = event.newValue;
});
