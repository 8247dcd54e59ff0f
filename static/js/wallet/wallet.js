// data-wallet="sign-in|link|deposit|claim|delegate|propose|vote|queue|execute|cancel-vote|stake|leave-stake|take-out|collect-income": finds the wallets, lets the person choose, runs the action.
import { attachOnce } from "../attach.js";
import { onWalletsChange, wallets } from "./discovery.js";
import { Status } from "./status.js";

const ACTIONS = {
  "sign-in": () => import("./sign_in.js").then((module) => module.signIn),
  link: () => import("./sign_in.js").then((module) => module.signIn),
  deposit: () => import("./deposit.js").then((module) => module.deposit),
  claim: () => import("./claim.js").then((module) => module.claim),
  delegate: () => import("./govern.js").then((module) => module.delegate),
  propose: () => import("./govern.js").then((module) => module.propose),
  vote: () => import("./govern.js").then((module) => module.vote),
  queue: () => import("./govern.js").then((module) => module.queue),
  execute: () => import("./govern.js").then((module) => module.execute),
  "cancel-vote": () => import("./govern.js").then((module) => module.cancel),
  stake: () => import("./stake.js").then((module) => module.stake),
  "leave-stake": () => import("./stake.js").then((module) => module.leave),
  "take-out": () => import("./stake.js").then((module) => module.takeOut),
  "collect-income": () => import("./stake.js").then((module) => module.collect),
};
const NONE = "No wallet was found in this browser. Install one, then reload this page.";

class WalletAction {
  constructor(root) {
    this.root = root;
    this.status = new Status(root);
    this.list = root.querySelector("[data-wallet-list]");
    this.start = root.querySelector("[data-wallet-start]");
    this.start.hidden = false;
    const choose = (event) => {
      event.preventDefault();
      this.choose();
    };
    this.start.addEventListener("click", choose);
    root.querySelector("form")?.addEventListener("submit", choose);
    onWalletsChange(() => this.list.hidden || this.choose());
  }

  choose() {
    if (this.busy) return;
    const form = this.root.querySelector("form");
    if (form && !form.reportValidity()) return;
    const found = wallets();
    if (!found.length) return this.status.say(NONE, "bad");
    if (found.length === 1) return this.run(found[0]);
    this.list.hidden = false;
    this.list.replaceChildren(...found.map((wallet) => this.entry(wallet)));
    this.list.querySelector("button").focus();
  }

  entry({ info, provider }) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    // Announced icons are data: URLs by EIP-6963; anything else would call another site.
    if (info.icon?.startsWith("data:image/")) button.append(Object.assign(new Image(), { src: info.icon, alt: "" }));
    button.append(info.name);
    button.addEventListener("click", () => this.run({ info, provider }));
    item.append(button);
    return item;
  }

  async run(wallet) {
    this.busy = true;
    this.list.hidden = true;
    this.start.disabled = true;
    try {
      const action = await ACTIONS[this.root.dataset.wallet]();
      await action(this.root, wallet, this.status);
    } catch (problem) {
      this.status.fail(problem);
    } finally {
      this.busy = false;
      this.start.disabled = false;
    }
  }
}

export function attach(root) {
  attachOnce(root, "[data-wallet]", (element) => new WalletAction(element));
}
