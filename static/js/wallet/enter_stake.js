// OPEN from the wallet onto a target: one signature and one transaction (permit), or two transactions.
import { ethers } from "./chain.js";
import { contractFor, send } from "./govern.js";
import { TOKEN_ABI, permit } from "./permit.js";
import { wasDeclined } from "./status.js";

const STAKING_ABI = [
  "function stake(bytes32 target,uint256 amount)",
  "function stakeWithPermit(bytes32 target,uint256 amount,uint256 deadline,uint8 v,bytes32 r,bytes32 s)",
  "error StakeTooSmall(uint256 amount)",
  "error SlashWaits(bytes32 target)",
];

// One signature and one transaction. The second way is for wallets that cannot sign permits, and for a staking
// contract from before there were any: that one knows no such function and refuses without a reason.
async function permitted(root, status, { contract }, token, value) {
  try {
    status.step("wallet", "Sign the permit in your wallet, then confirm the stake…");
    const { deadline, v, r, s } = await permit(contract.runner, token, contract.target, value, Number(root.dataset.chainId));
    const args = [root.dataset.target, value, deadline, v, r, s];
    await contract.stakeWithPermit.staticCall(...args, { blockTag: "pending" });
    return ["stakeWithPermit", args];
  } catch (problem) {
    if (wasDeclined(problem) || problem.revert) throw problem;
    status.step("wallet", "Approve the amount in your wallet, then confirm the stake…");
    await (await token.approve(contract.target, value)).wait();
    return ["stake", [root.dataset.target, value]];
  }
}

export async function stake(root, chosen, status) {
  const found = await contractFor(root, chosen, status, root.dataset.staking, STAKING_ABI);
  const { Contract } = await ethers();
  const [value, token] = [BigInt(root.dataset.amountWei), new Contract(root.dataset.token, TOKEN_ABI, found.contract.runner)];
  if ((await token.balanceOf(found.account)) < value) throw new Error("This wallet holds less OPEN than that.");
  const isApproved = (await token.allowance(found.account, found.contract.target)) >= value;
  const [name, args] = isApproved ? ["stake", [root.dataset.target, value]] : await permitted(root, status, found, token, value);
  await send(root, status, found, name, args, "Staked. It earns from the next payment on.");
}
