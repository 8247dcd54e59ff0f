// The next part of a file: as large as about two seconds of this connection carry.
import { checksum } from "./file_hash.js";

const SMALLEST = 1 << 20;
const LARGEST = 32 << 20; // the server takes 64 MB
const SECONDS = 2;
const TYPE = "application/offset+octet-stream";

export class Parts {
  constructor(file) {
    this.file = file;
    this.size = SMALLEST;
  }

  // `send(headers, part)` is timed, and decides how large the next part is.
  async next(offset, hash, signal, send) {
    const part = this.file.slice(offset, offset + this.size);
    await hash.upTo(offset + part.size, () => signal.aborted);
    const headers = { "Content-Type": TYPE, "Upload-Offset": offset };
    const sum = await checksum(part);
    if (sum) headers["Upload-Checksum"] = `sha256 ${sum}`;
    signal.throwIfAborted();
    const began = performance.now();
    await send(headers, part);
    const wanted = (part.size * SECONDS * 1000) / (performance.now() - began);
    this.size = Math.max(SMALLEST, Math.min(LARGEST, Math.round(wanted)));
  }
}
