// What a grant has unlocked, from its own wallet on chain to its owner. Anyone may send it.
import { contractFor, send } from "./govern.js";

const GRANT_ABI = ["function release(address token)", "function releasable(address token) view returns (uint256)"];

export async function release(root, chosen, status) {
  const { grant, token } = root.dataset;
  const found = await contractFor(root, chosen, status, grant, GRANT_ABI);
  if ((await found.contract.releasable(token)) === 0n) throw new Error("Nothing is unlocked that was not released before.");
  await send(root, status, found, "release", [token], "Released. The OPEN is in the wallet of the grant's owner.");
}
