// Live progress. The server's rows are the truth: a socket message is only a hint to fetch them
// again, and without a socket the page asks every few seconds. A reload misses nothing.
import { attachOnce } from "./attach.js";

const POLL_MS = 4000;
const THROTTLE_MS = 300;
const BACKOFF_MAX_MS = 30000;

class LivePart {
  constructor(element) {
    this.element = element;
    this.failures = 0;
    this.refresh = this.refresh.bind(this);
    // Fetching also beside an open socket: a hint can be lost in another process or a dead broker.
    this.poll = setInterval(this.refresh, POLL_MS);
    this.connect();
    this.refresh();
  }

  connect() {
    if (this.ended || !this.element.dataset.live) return;
    const scheme = location.protocol === "https:" ? "wss://" : "ws://";
    this.socket = new WebSocket(scheme + location.host + this.element.dataset.live);
    this.socket.addEventListener("open", () => (this.failures = 0));
    this.socket.addEventListener("message", this.refresh);
    this.socket.addEventListener("close", (event) => {
      if (this.ended || event.code === 4404) return; // 4404: not ours to follow; polling says so too
      const wait = Math.min(1000 * 2 ** this.failures++, BACKOFF_MAX_MS);
      setTimeout(() => this.connect(), wait * (0.5 + Math.random() / 2));
    });
  }

  refresh() {
    if (!this.element.isConnected) return this.end();
    if (this.ended || this.waiting || document.hidden) return;
    this.waiting = setTimeout(async () => {
      const options = { source: this.element, target: this.element, swap: "innerHTML" };
      await htmx.ajax("GET", this.element.dataset.liveUrl, options).catch(() => {}); // the next poll asks again
      this.waiting = null;
      this.endIfDone();
    }, THROTTLE_MS);
  }

  endIfDone() {
    const done = this.element.querySelector("[data-live-done]");
    if (!done) return;
    this.end();
    if (done.dataset.liveRedirect) location.assign(done.dataset.liveRedirect);
  }

  end() {
    this.ended = true;
    clearInterval(this.poll);
    this.socket?.close();
  }
}

const parts = new Set();

export function attach(root) {
  attachOnce(root, "[data-live-url]", (element) => {
    if (!element.querySelector("[data-live-done]")) parts.add(new LivePart(element));
  });
}

document.addEventListener("visibilitychange", () => parts.forEach((part) => part.refresh()));
