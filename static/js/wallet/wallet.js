// data-wallet names one of ACTIONS: finds the wallets, lets the person choose, runs the action.
import { attachOnce } from "../attach.js";
import { ACTIONS } from "./actions.js";
import { onWalletsChange, wallets } from "./discovery.js";
import { Status } from "./status.js";

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
    this.relay = root.querySelector("[data-relay-start]");
    if (this.relay) {
      this.relay.hidden = false;
      this.relay.addEventListener("click", () => this.choose(true));
    }
    root.querySelector("form")?.addEventListener("submit", choose);
    onWalletsChange(() => this.list.hidden || this.choose(this.inOpen));
  }

  choose(inOpen = false) {
    if (this.busy) return;
    this.inOpen = inOpen;
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
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button" });
    // Announced icons are data: URLs by EIP-6963; anything else would call another site.
    if (info.icon?.startsWith("data:image/")) button.append(Object.assign(new Image(), { src: info.icon, alt: "" }));
    button.append(info.name);
    button.addEventListener("click", () => this.run({ info, provider }));
    item.append(button);
    return item;
  }

  // Asked for, or because the wallet has nothing to pay gas with.
  async paysInOpen(wallet) {
    if (!this.relay) return false;
    return this.inOpen || (await import("./relay.js")).hasNoCoin(this.root, wallet);
  }

  async run(wallet) {
    this.busy = true;
    this.list.hidden = true;
    this.start.disabled = true;
    try {
      const action = (await this.paysInOpen(wallet)) ? (await import("./relay.js")).offer : await ACTIONS[this.root.dataset.wallet]();
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
