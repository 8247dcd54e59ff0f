// A strip of links that is wider than the window begins where the current one can be seen.
for (const current of document.querySelectorAll(":is(.tabs, .site-nav) > [aria-current]")) {
  const strip = current.parentElement;
  const begins = current.offsetLeft - strip.offsetLeft;
  strip.scrollLeft = begins - (strip.clientWidth - current.offsetWidth) / 2;
}
