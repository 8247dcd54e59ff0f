// EIP-6963: wallets announce themselves by event, so several can live side by side.
const known = new Map();
const listeners = new Set();

addEventListener("eip6963:announceProvider", ({ detail }) => {
  if (!detail?.info?.uuid || !detail.provider) return;
  known.set(detail.info.uuid, detail);
  listeners.forEach((listener) => listener());
});

export function wallets() {
  const found = [...known.values()];
  // Before EIP-6963 a wallet only set window.ethereum.
  if (!found.length && window.ethereum) {
    found.push({ info: { uuid: "window.ethereum", name: "Browser wallet", icon: "" }, provider: window.ethereum });
  }
  return found;
}

export function onWalletsChange(listener) {
  listeners.add(listener);
  dispatchEvent(new Event("eip6963:requestProvider"));
}
