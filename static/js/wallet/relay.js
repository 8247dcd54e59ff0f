// The network fee in OPEN: the site says what it costs and what to sign, the wallet signs, the site sends.
import { connect, onChain, signerFor } from "./chain.js";
import { post, untilCredited } from "./server.js";

const GIVEN = ["amountWei", "target", "proposal"];
const WAIT_MS = 180_000;

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

export async function hasNoCoin(root, chosen) {
  const account = await connect(chosen);
  await onChain(chosen, root.dataset);
  return BigInt(await chosen.provider.request({ method: "eth_getBalance", params: [account, "latest"] })) === 0n;
}

function fieldsOf(root, account) {
  const fields = { action: root.dataset.wallet, account };
  for (const name of GIVEN) if (root.dataset[name]) fields[snake(name)] = root.dataset[name];
  for (const input of root.querySelectorAll("input[name]")) {
    if (input.type !== "radio" || input.checked) fields[input.name] = input.value.trim();
  }
  return fields;
}

// Shows the fee on a button; what follows happens only when that is pressed.
export async function offer(root, chosen, status) {
  const pay = root.querySelector("[data-relay-pay]");
  pay.hidden = true;
  status.say("Asking what the network fee is…");
  const account = await connect(chosen);
  const { relayUrl } = root.querySelector("[data-relay-start]").dataset;
  const quote = await post(`${relayUrl}quote/`, fieldsOf(root, account));
  pay.textContent = `Pay the network fee in OPEN: ${quote.fee} OPEN`;
  pay.title = quote.fee_full;
  pay.hidden = false;
  pay.focus();
  status.say(quote.words);
  pay.onclick = async () => {
    pay.disabled = true;
    try {
      await order(root, chosen, status, relayUrl, quote);
    } catch (problem) {
      status.fail(problem);
    } finally {
      pay.disabled = false;
      pay.hidden = true;
    }
  };
}

async function order(root, chosen, status, relayUrl, { quote, message }) {
  let signature = "";
  if (message) {
    status.step("wallet", "Sign in your wallet. It sends nothing and costs no ETH…");
    const { signer } = await signerFor(chosen, root.dataset);
    signature = await signer.signTypedData(message.domain, message.types, message.message);
  }
  const { state_url: url } = await post(relayUrl, { quote, signature });
  status.step("sent", "The site sends it and pays the gas…");
  await followOrder(root, status, url);
}

async function followOrder(root, status, url) {
  const deadline = Date.now() + WAIT_MS;
  while (Date.now() < deadline && root.isConnected) {
    const now = await (await fetch(url, { headers: { Accept: "application/json" } })).json();
    if (now.state === "dropped" || now.state === "reverted") throw new Error(now.words);
    if (now.transaction) {
      status.step("confirmed", "Confirmed on chain. Waiting until the site has read it…");
      if (await untilCredited(root, now.transaction, now.block)) return status.finish("Done. The fee is on hold; once the transaction is final, what it really cost stands in your statement.");
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
  status.say("On its way. It appears here once the site has read it.");
}
