// Says what happens with a transaction, in words and as steps.
export const STEPS = ["wallet", "sent", "confirmed", "credited"];

const REFUSED = 4001; // EIP-1193: the person said no in the wallet
const PENDING = -32002; // the wallet already shows a question

export function inWords(problem) {
  const code = problem?.info?.error?.code ?? problem?.error?.code ?? problem?.code;
  if (code === REFUSED || code === "ACTION_REJECTED") return "You declined in the wallet. Nothing was sent.";
  if (code === PENDING) return "Your wallet is already asking something. Open it and answer there.";
  if (code === "INSUFFICIENT_FUNDS") return "This account has too little of the chain's own coin to pay the fee of the transaction.";
  if (code === "CALL_EXCEPTION") return `The contract refused: ${problem.reason ?? problem.shortMessage}.`;
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
