// Earnings from the distributor to the wallet, with the proof that the server gives.
import { ethers, signerFor } from "./chain.js";
import { follow } from "./deposit.js";

const DISTRIBUTOR_ABI = [
  "function claim(address account,uint256 cumulativeAmount,bytes32 root,bytes32[] proof)",
  "error NothingToClaim(address account,uint256 alreadyClaimed)",
  "error RootNotAccepted(bytes32 root)",
  "error InvalidProof()",
];

export async function claim(root, wallet, status) {
  const { Contract } = await ethers();
  const { account, cumulativeWei, distributor, root: merkleRoot, proof = "" } = root.dataset;
  status.step("wallet", "Confirm the claim in your wallet…");
  const { signer } = await signerFor(wallet, root.dataset);
  const contract = new Contract(distributor, DISTRIBUTOR_ABI, signer);
  const steps = proof.split(",").filter(Boolean);
  const claimed = [account, BigInt(cumulativeWei), merkleRoot, steps];
  await contract.claim.staticCall(...claimed); // says why not, before the wallet asks for a fee
  const transaction = await contract.claim(...claimed);
  await follow(root, status, transaction, "Claimed. The OPEN is in your wallet.");
}
