// One file in parts by tus 1.0.0. What the server holds counts: after any trouble it is asked.
import { FileHash } from "./file_hash.js";
import { Parts } from "./tus_part.js";
import { ask, Refused } from "./tus_request.js";

const RETRY_MAX_SECONDS = 30;

export class TusUpload {
  // `on` hears "waiting", "sending" or "retrying"; `progress` the bytes that the server holds.
  constructor(file, { create, token, on, progress }) {
    Object.assign(this, { file, create, on, progress });
    this.ask = (method, url, options) => ask(method, url, { token, ...options });
    this.key = `upload ${create} ${file.name} ${file.size} ${file.lastModified}`;
    this.hash = new FileHash(file);
    this.parts = new Parts(file);
    this.failures = 0;
  }

  // The digest once the server has all of it; nothing when it was paused. Throws Refused.
  async run() {
    this.stopper = new AbortController();
    const { signal } = this.stopper;
    while (!signal.aborted) {
      try {
        return await this.send(signal);
      } catch (trouble) {
        if (trouble instanceof Refused) throw trouble;
        if (signal.aborted) break;
        this.on("retrying");
        const seconds = Math.min(2 ** this.failures++, RETRY_MAX_SECONDS);
        await new Promise((done) => setTimeout(done, seconds * 1000));
      }
    }
    return undefined;
  }

  async send(signal) {
    this.on("waiting");
    await this.find(signal);
    while (!this.digest) {
      this.on("sending");
      await this.parts.next(this.offset, this.hash, signal, async (headers, body) => {
        this.note(await this.ask("PATCH", this.url, { signal, headers, body }));
      });
      this.failures = 0;
    }
    await this.hash.upTo(this.file.size, () => false);
    if (this.hash.digest() === this.digest) return this.digest;
    throw new Refused("The file changed while it was sent. Cancel, and choose it again.");
  }

  // Go on with what was begun, before a reload perhaps; otherwise begin.
  async find(signal) {
    this.url ??= localStorage.getItem(this.key);
    const held = this.url && (await this.ask("HEAD", this.url, { signal }));
    if (held) return this.note(held);
    const name = btoa(String.fromCharCode(...new TextEncoder().encode(this.file.name)));
    const headers = { "Upload-Length": this.file.size, "Upload-Metadata": `filename ${name}` };
    const begun = await this.ask("POST", this.create, { signal, headers });
    localStorage.setItem(this.key, (this.url = begun.headers.get("Location")));
    return this.note(begun);
  }

  note(answer) {
    if (!answer) throw new Error("Gone: begin again.");
    this.offset = Number(answer.headers.get("Upload-Offset"));
    this.digest = answer.headers.get("Upload-Digest");
    this.progress(this.offset);
  }

  pause() {
    this.stopper?.abort();
  }

  discard() {
    this.pause();
    localStorage.removeItem(this.key);
    if (this.url) this.ask("DELETE", this.url, {}).catch(() => {}); // or it expires by itself
  }
}
