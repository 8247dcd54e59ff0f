// Votes: delegate, propose, vote, queue, carry out, take back. The page gives the calls, the wallet sends them.
import { ethers, signerFor } from "./chain.js";
import { follow } from "./deposit.js";

const TOKEN_ABI = ["function delegate(address delegatee)"];
const CALLS = "address[] targets,uint256[] values,bytes[] calldatas";
const GOVERNOR_ABI = [
  `function propose(${CALLS},string description) returns (uint256)`,
  `function queue(${CALLS},bytes32 descriptionHash) returns (uint256)`,
  `function execute(${CALLS},bytes32 descriptionHash) payable returns (uint256)`,
  `function cancel(${CALLS},bytes32 descriptionHash) returns (uint256)`,
  "function castVote(uint256 proposalId,uint8 support) returns (uint256)",
  "function getVotes(address account,uint256 timepoint) view returns (uint256)",
  "error GovernorInsufficientProposerVotes(address proposer,uint256 votes,uint256 threshold)",
  "error GovernorAlreadyCastVote(address voter)",
  "error GovernorUnexpectedProposalState(uint256 proposalId,uint8 current,bytes32 expectedStates)",
  "error GovernorUnableToCancel(uint256 proposalId,address account)",
  "error TimelockUnexpectedOperationState(bytes32 operationId,bytes32 expectedStates)",
];
const DONE = "Done. The page shows it now.";
const NO_VOTES = "This wallet had no votes when the vote began, so its vote would count nothing.";

export async function contractFor(root, chosen, status, address, abi) {
  status.step("wallet", "Confirm in your wallet…");
  const { Contract } = await ethers();
  const { signer, address: account } = await signerFor(chosen, root.dataset);
  return { contract: new Contract(address, abi, signer), account };
}

// Against the block to come: time alone moves a proposal on, and a quiet chain makes no block for that.
const NEXT = { blockTag: "pending" };

export async function send(root, status, { contract, account }, name, args, done = DONE) {
  await contract[name].staticCall(...args, NEXT); // says why not, before the wallet asks for a fee
  const { to, data } = await contract[name].populateTransaction(...args);
  const gas = await contract.runner.provider.send("eth_estimateGas", [{ from: account, to, data }, NEXT.blockTag]);
  await follow(root, status, await contract[name](...args, { gasLimit: (BigInt(gas) * 6n) / 5n }), done);
}

const list = (text) => text.split(",").filter(Boolean);
const callsOf = ({ targets, values, calldatas }) => [list(targets), list(values).map(BigInt), list(calldatas)];

export async function delegate(root, chosen, status) {
  const token = await contractFor(root, chosen, status, root.dataset.token, TOKEN_ABI);
  const delegatee = root.querySelector("input[name=delegatee]").value.trim() || token.account;
  await send(root, status, token, "delegate", [delegatee], "Delegated. The votes count from now on.");
}

export async function propose(root, chosen, status) {
  const governor = await contractFor(root, chosen, status, root.dataset.governor, GOVERNOR_ABI);
  // With this ending nobody else can propose the same first and take it back (OpenZeppelin Governor).
  const description = `${root.dataset.description}\n\n#proposer=${governor.account.toLowerCase()}`;
  await send(root, status, governor, "propose", [...callsOf(root.dataset), description], "Proposed.");
}

export async function vote(root, chosen, status) {
  const governor = await contractFor(root, chosen, status, root.dataset.governor, GOVERNOR_ABI);
  const { proposal, snapshot } = root.dataset;
  if ((await governor.contract.getVotes(governor.account, BigInt(snapshot), NEXT)) === 0n) throw new Error(NO_VOTES);
  const support = Number(root.querySelector("input[name=support]:checked").value);
  await send(root, status, governor, "castVote", [BigInt(proposal), support], "Your vote is counted.");
}

function step(name) {
  return async (root, chosen, status) => {
    const governor = await contractFor(root, chosen, status, root.dataset.governor, GOVERNOR_ABI);
    await send(root, status, governor, name, [...callsOf(root.dataset), root.dataset.descriptionHash]);
  };
}

export const queue = step("queue");
export const execute = step("execute");
export const cancel = step("cancel");
