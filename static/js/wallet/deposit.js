// OPEN from the wallet into the escrow: one signature and one transaction (permit), or two transactions.
import { ethers, signerFor } from "./chain.js";
import { untilCredited } from "./server.js";
import { wasDeclined } from "./status.js";

const TOKEN_ABI = [
  "function name() view returns (string)",
  "function nonces(address) view returns (uint256)",
  "function balanceOf(address) view returns (uint256)",
  "function allowance(address,address) view returns (uint256)",
  "function approve(address,uint256) returns (bool)",
];
const ESCROW_ABI = [
  "function deposit(uint256 amount)",
  "function depositWithPermit(uint256 amount,uint256 deadline,uint8 v,bytes32 r,bytes32 s)",
];
const PERMIT = ["owner:address", "spender:address", "value:uint256", "nonce:uint256", "deadline:uint256"];
const PERMIT_SECONDS = 1800;

async function permit(signer, token, owner, spender, value, chainId) {
  const { Signature } = await ethers();
  const fields = PERMIT.map((field) => ({ name: field.split(":")[0], type: field.split(":")[1] }));
  const deadline = Math.floor(Date.now() / 1000) + PERMIT_SECONDS;
  const domain = { name: await token.name(), version: "1", chainId, verifyingContract: token.target };
  const message = { owner, spender, value, nonce: await token.nonces(owner), deadline };
  return { deadline, ...Signature.from(await signer.signTypedData(domain, { Permit: fields }, message)).toJSON() };
}

async function send(root, status, signer, address, value) {
  const { Contract } = await ethers();
  const { token: tokenAddress, escrow: escrowAddress, chainId } = root.dataset;
  const token = new Contract(tokenAddress, TOKEN_ABI, signer);
  const escrow = new Contract(escrowAddress, ESCROW_ABI, signer);
  if ((await token.balanceOf(address)) < value) throw new Error("This wallet holds less OPEN than that.");
  if ((await token.allowance(address, escrowAddress)) >= value) return escrow.deposit(value);
  try {
    status.step("wallet", "Sign the permit in your wallet, then confirm the deposit…");
    const signed = await permit(signer, token, address, escrowAddress, value, Number(chainId));
    return await escrow.depositWithPermit(value, signed.deadline, signed.v, signed.r, signed.s);
  } catch (problem) {
    if (wasDeclined(problem) || problem.code === "CALL_EXCEPTION") throw problem;
    status.step("wallet", "This wallet cannot sign permits: approve first, then confirm the deposit…");
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
