// Stakes: leave, take out, collect income. The page gives target and contract, the wallet sends.
import { ethers } from "./chain.js";
import { contractFor, send } from "./govern.js";

const STAKING_ABI = [
  "function startUnbonding(bytes32 target,uint256 shares) returns (uint256)",
  "function withdraw(uint256 id)",
  "function collectIncome(bytes32 target) returns (uint256)",
  "function bonded(bytes32) view returns (uint256 amount,uint256 shares)",
  "function positions(bytes32,address) view returns (uint256 shares,uint256 incomeIndex,uint256 incomeOwed)",
  "error NothingToMove()",
  "error NotEnoughStake(uint256 shares)",
  "error UnbondingUnknown(uint256 id)",
  "error UnbondingRuns(uint256 releasableAt)",
  "error SlashWaits(bytes32 target)",
];

function staking(root, chosen, status) {
  return contractFor(root, chosen, status, root.dataset.staking, STAKING_ABI);
}

// Shares for an amount; no amount means all of them.
async function sharesOf(root, { contract, account }, target) {
  const { parseEther } = await ethers();
  const text = root.querySelector("input[name=amount]").value.trim();
  const { shares: all } = await contract.positions(target, account);
  if (!text) return all;
  if (!/^(?=.*[1-9])\d+(\.\d{1,18})?$/.test(text)) throw new Error("Write an amount of OPEN such as 12 or 0.5, or nothing for all.");
  const { amount, shares } = await contract.bonded(target);
  const wanted = (parseEther(text) * (shares + 1n)) / (amount + 1n);
  if (wanted > all) throw new Error("This wallet has less staked here than that.");
  return wanted;
}

export async function leave(root, chosen, status) {
  const { target } = root.dataset;
  const found = await staking(root, chosen, status);
  const shares = await sharesOf(root, found, target);
  if (shares === 0n) throw new Error("This wallet has nothing staked here.");
  await send(root, status, found, "startUnbonding", [target, shares], "On its way out. It can be taken out when the waiting time is over.");
}

export async function takeOut(root, chosen, status) {
  const found = await staking(root, chosen, status);
  await send(root, status, found, "withdraw", [BigInt(root.dataset.number)], "Taken out. It is in your wallet.");
}

export async function collect(root, chosen, status) {
  const found = await staking(root, chosen, status);
  await send(root, status, found, "collectIncome", [root.dataset.target], "Collected. It is in your wallet.");
}
