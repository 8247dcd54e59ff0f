// What a person sees of an upload: its state in words, bytes, speed, time left, and the bar.
import { sizeInWords } from "./sizes.js";

export const WORDS = {
  waiting: "Asking what the server has…",
  sending: "Sending.",
  paused: "Paused. Nothing is lost.",
  retrying: "No connection. Trying again by itself.",
  queued: "Goes to review as soon as the file has arrived.",
  complete: "The whole file has arrived, byte for byte.",
};

function timeInWords(seconds) {
  if (!Number.isFinite(seconds)) return "";
  return seconds < 90 ? ` · ${Math.ceil(seconds)} s left` : ` · ${Math.ceil(seconds / 60)} min left`;
}

export class UploadView {
  constructor(box) {
    this.box = box;
  }

  part(name) {
    return this.box.querySelector(`[data-upload-${name}]`);
  }

  // Only a change is written: a screen reader says it each time.
  say(words) {
    if (this.part("state").textContent !== words) this.part("state").replaceChildren(words);
  }

  begin(size) {
    Object.assign(this, { size, began: performance.now(), first: undefined });
    this.part("pause").replaceChildren("Pause");
  }

  // Speed counts from the first answer of this run: what was there before it is no speed.
  progress(bytes) {
    this.first ??= bytes;
    const speed = (bytes - this.first) / ((performance.now() - this.began) / 1000);
    const left = timeInWords((this.size - bytes) / speed);
    const rest = speed > 0 && bytes < this.size ? ` · ${sizeInWords(speed)}/s${left}` : "";
    this.part("numbers").replaceChildren(`${sizeInWords(bytes)} of ${sizeInWords(this.size)}${rest}`);
    this.part("bar").value = bytes / this.size;
  }
}
