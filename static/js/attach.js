// Run `start` once for each element that matches, inside `root` or `root` itself.
const started = new WeakMap();

export function attachOnce(root, selector, start) {
  const found = [...root.querySelectorAll(selector)];
  if (root instanceof Element && root.matches(selector)) found.unshift(root);
  for (const element of found) {
    const selectors = started.get(element) ?? new Set();
    if (selectors.has(selector)) continue;
    started.set(element, selectors.add(selector));
    start(element);
  }
}
