// OPEN from the wallet into the escrow: one signature and one transaction (permit), or two transactions.
import { ethers, signerFor } from "./chain.js";
import { TOKEN_ABI, permit } from "./permit.js";
import { untilCredited } from "./server.js";
import { wasDeclined } from "./status.js";

const ESCROW_ABI = [
  "function deposit(uint256 amount)",
  "function depositWithPermit(uint256 amount,uint256 deadline,uint8 v,bytes32 r,bytes32 s)",
];

async function send(root, status, signer, address, value) {
  const { Contract } = await ethers();
  const { token: tokenAddress, escrow: escrowAddress, chainId } = root.dataset;
  const token = new Contract(tokenAddress, TOKEN_ABI, signer);
  const escrow = new Contract(escrowAddress, ESCROW_ABI, signer);
  if ((await token.balanceOf(address)) < value) throw new Error("This wallet holds less OPEN than that.");
  if ((await token.allowance(address, escrowAddress)) >= value) return escrow.deposit(value);
  try {
    status.step("wallet", "Allow the amount in your wallet, then confirm the deposit…");
    const signed = await permit(signer, token, escrowAddress, value, Number(chainId));
    return await escrow.depositWithPermit(value, signed.deadline, signed.v, signed.r, signed.s);
  } catch (problem) {
    if (wasDeclined(problem) || problem.code === "CALL_EXCEPTION") throw problem;
    status.step("wallet", "Your wallet asks twice: allow the amount, then confirm the deposit…");
    await (await token.approve(escrowAddress, value)).wait();
    return escrow.deposit(value);
  }
}

async function amountOf(root) {
  const { parseEther } = await ethers();
  const text = root.querySelector("input[name=amount]").value.trim();
  if (!/^(?=.*[1-9])\d+(\.\d{1,18})?$/.test(text)) throw new Error("Write an amount of OPEN such as 12 or 0.5.");
  return parseEther(text);
}

export async function deposit(root, wallet, status) {
  const value = await amountOf(root);
  status.step("wallet", "Waiting for your wallet…");
  const { signer, address } = await signerFor(wallet, root.dataset);
  await follow(root, status, await send(root, status, signer, address, value));
}

export async function follow(root, status, transaction, done = "Credited. It is in your balance.") {
  status.step("sent", `Sent: ${transaction.hash}`);
  const { blockNumber } = await transaction.wait();
  status.step("confirmed", "Confirmed on chain. Waiting until the site has read it…");
  if (await untilCredited(root, transaction.hash, blockNumber)) status.finish(done);
  else status.say("Confirmed on chain. It appears here once the site has read it.");
}
