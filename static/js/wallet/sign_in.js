// EIP-4361: the server writes the whole message, the wallet signs it, the server checks it.
import { connect } from "./chain.js";
import { post } from "./server.js";

function hex(text) {
  return `0x${Array.from(new TextEncoder().encode(text), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export async function signIn(root, wallet, status) {
  const { nonceUrl = "/accounts/wallet/nonce/", verifyUrl = "/accounts/wallet/verify/", next = "" } = root.dataset;
  status.say("Waiting for your wallet…");
  const address = await connect(wallet);
  const chainId = Number(await wallet.provider.request({ method: "eth_chainId" }));
  const purpose = root.dataset.wallet;
  const { message } = await post(nonceUrl, { address, chain_id: chainId, purpose });
  status.say("Read the message in your wallet and sign it. It costs nothing.");
  const signature = await wallet.provider.request({ method: "personal_sign", params: [hex(message), address] });
  status.say("Checking the signature…");
  const { redirect } = await post(verifyUrl, { message, signature, purpose, next });
  status.say(purpose === "link" ? "Linked." : "Signed in.", "good");
  location.assign(redirect ?? "/");
}
