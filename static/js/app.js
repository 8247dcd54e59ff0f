// The only entry point. Each module attaches itself by data attribute, now and to what htmx brings in.
import "./theme.js";
import "./copy.js";
import "./messages.js";
import "./dialog.js";
import "./menu.js";
import "./hotkeys.js";
import "./forms.js";
import "./tabs.js";
import { attach as attachDropzone } from "./dropzone.js";
import { attach as attachUpload } from "./upload.js";
import { attach as attachLive } from "./live.js";
import { attach as attachChat } from "./chat.js";
import { attach as attachTimes } from "./times.js";
import { attach as attachWallet } from "./wallet/wallet.js";

function attachAll(root) {
  attachDropzone(root);
  attachUpload(root);
  attachLive(root);
  attachChat(root);
  attachTimes(root);
  attachWallet(root);
}

attachAll(document);
document.addEventListener("htmx:load", (event) => attachAll(event.target));
document.documentElement.dataset.ready = "";
