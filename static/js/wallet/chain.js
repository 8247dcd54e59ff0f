// Connect a wallet, bring it to the site's chain, and hand out ethers objects.
const UNKNOWN_CHAIN = 4902; // EIP-3085

export async function connect(wallet) {
  const accounts = await wallet.provider.request({ method: "eth_requestAccounts" });
  if (!accounts.length) throw new Error("The wallet shared no account.");
  const { getAddress } = await ethers();
  return getAddress(accounts[0]);
}

export function ethers() {
  return import("../../vendor/ethers-6.17.0/ethers.min.js");
}

export async function onChain(wallet, settings) {
  const chainId = `0x${Number(settings.chainId).toString(16)}`;
  const { provider } = wallet;
  if ((await provider.request({ method: "eth_chainId" })) === chainId) return;
  try {
    await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
  } catch (problem) {
    if (problem.code !== UNKNOWN_CHAIN || !settings.rpcUrl) throw problem;
    await provider.request({ method: "wallet_addEthereumChain", params: [chainEntry(chainId, settings)] });
  }
}

function chainEntry(chainId, settings) {
  const nativeCurrency = { name: "Ether", symbol: "ETH", decimals: 18 };
  return { chainId, chainName: settings.chainName ?? "OpenLedger chain", rpcUrls: [settings.rpcUrl], nativeCurrency };
}

export async function signerFor(wallet, settings) {
  const address = await connect(wallet);
  await onChain(wallet, settings);
  const { BrowserProvider } = await ethers();
  const provider = new BrowserProvider(wallet.provider, Number(settings.chainId));
  return { signer: await provider.getSigner(address), address };
}
