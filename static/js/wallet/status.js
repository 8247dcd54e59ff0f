// Says what happens with a transaction, in words and as steps.
export const STEPS = ["wallet", "sent", "confirmed", "credited"];

const REFUSED = 4001; // EIP-1193: the person said no in the wallet
const PENDING = -32002; // the wallet already shows a question

const CONTRACT_REFUSALS = {
  NothingToClaim: "This was claimed already. Your earnings are in your wallet.",
  RootNotAccepted: "This payout is no longer the newest. Reload the page and claim again.",
  GovernorInsufficientProposerVotes: "This wallet has too few votes to propose. Delegate to it first, or wait until a delegation is a second old.",
  GovernorAlreadyCastVote: "This wallet has voted on this already. A vote cannot be changed.",
  GovernorUnexpectedProposalState: "The proposal is not at that step, or the same one was made before. Reload the page.",
  GovernorUnableToCancel: "Only its proposer can take it back, and only before the vote begins.",
  TimelockUnexpectedOperationState: "The waiting time is not over yet. Nothing was moved.",
  StakeTooSmall: "Stake at least 1 OPEN at once.",
  SlashWaits: "A slash of this target is open. Until it is decided nobody enters or leaves.",
  NotEnoughStake: "This wallet has less staked here than that.",
  UnbondingRuns: "The waiting time of this stake is not over yet.",
  UnbondingUnknown: "This wallet has no such stake on its way out, or it was taken out before.",
  NothingToMove: "There is nothing to move for this wallet.",
  InvalidProof: "The proof does not fit this payout. Reload the page and claim again.",
};
const DECLINED = "You declined in the wallet. Nothing was sent.";

// ethers wraps the wallet's own error, so its code may stand at any depth.
function codesOf(problem) {
  return [problem?.code, problem?.info?.error?.code, problem?.error?.code, problem?.cause?.code];
}

export function wasDeclined(problem) {
  const codes = codesOf(problem);
  return codes.includes(REFUSED) || codes.includes("ACTION_REJECTED");
}

export function inWords(problem) {
  const codes = codesOf(problem);
  if (wasDeclined(problem)) return DECLINED;
  if (codes.includes(PENDING)) return "Your wallet is already asking something. Open it and answer there.";
  if (codes.includes("INSUFFICIENT_FUNDS")) return "This wallet has too little ETH for the network fee. Add some, or pay the network fee in OPEN where that is offered.";
  if (codes.includes("CALL_EXCEPTION")) {
    return CONTRACT_REFUSALS[problem.revert?.name] ?? `The contract refused: ${problem.reason ?? "it gave no reason"}. Nothing was moved.`;
  }
  return problem?.shortMessage ?? problem?.message ?? "The wallet did not answer.";
}

export class Status {
  constructor(root) {
    this.line = root.querySelector("[data-wallet-status]");
    this.steps = root.querySelector("[data-wallet-steps]");
  }

  say(text, tone = "") {
    this.line.textContent = text;
    this.line.dataset.tone = tone;
  }

  fail(problem) {
    this.say(inWords(problem), "bad");
    this.steps?.querySelectorAll("[data-state=now]").forEach((step) => (step.dataset.state = ""));
  }

  step(name, text) {
    this.say(text);
    if (!this.steps) return;
    this.steps.hidden = false;
    const reached = STEPS.indexOf(name);
    for (const item of this.steps.querySelectorAll("[data-step]")) {
      const place = STEPS.indexOf(item.dataset.step);
      item.dataset.state = place < reached ? "done" : place === reached ? "now" : "";
    }
  }

  finish(text) {
    this.say(text, "good");
    this.steps?.querySelectorAll("[data-step]").forEach((step) => (step.dataset.state = "done"));
  }
}
