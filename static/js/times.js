// The server writes times in UTC. Here they become those of the reader's clock; UTC stays in the title.
import { attachOnce } from "./attach.js";

const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
const DAY = { day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit" };

function localise(time) {
  const written = time.textContent.trim();
  const [clock, seconds] = written.match(/\d\d:\d\d(:\d\d)?/) ?? [];
  const at = new Date(time.dateTime);
  if (!clock || Number.isNaN(at.valueOf())) return; // a day is the same day everywhere
  const parts = { ...(written === clock ? {} : DAY), ...CLOCK, ...(seconds && { second: "2-digit" }) };
  time.title = `${written} UTC`;
  time.textContent = at.toLocaleString("en-GB", parts);
}

export function attach(root) {
  if (["UTC", "Etc/UTC"].includes(timeZone)) return;
  attachOnce(root, "time[datetime]", localise);
  attachOnce(root, "[data-time-zone]", (name) => (name.textContent = timeZone.replaceAll("_", " ")));
}
