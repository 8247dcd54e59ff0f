// SHA-256 of a file, taken as the file is sent; it never lies in memory as a whole.
import { Sha256 } from "./sha256.js";

const READ = 1 << 20;

export class FileHash {
  constructor(file) {
    this.file = file;
    this.sha256 = new Sha256();
    this.done = 0;
  }

  // What was hashed before is not read again. `stopped()` is asked between pieces.
  async upTo(end, stopped) {
    while (this.done < end && !stopped()) {
      const piece = this.file.slice(this.done, Math.min(this.done + READ, end));
      this.sha256.update(new Uint8Array(await piece.arrayBuffer()));
      this.done += piece.size;
    }
  }

  digest() {
    return (this.hex ??= this.sha256.digest());
  }
}

// Base64 of the SHA-256 of one part; empty on a plain-http site, where browsers offer none.
export async function checksum(part) {
  if (!crypto.subtle) return "";
  const digest = await crypto.subtle.digest("SHA-256", await part.arrayBuffer());
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}
