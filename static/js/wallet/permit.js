// An approval by signature (ERC-2612): nothing is sent, so it costs nothing.
import { ethers } from "./chain.js";

export const TOKEN_ABI = [
  "function name() view returns (string)",
  "function nonces(address) view returns (uint256)",
  "function balanceOf(address) view returns (uint256)",
  "function allowance(address,address) view returns (uint256)",
  "function approve(address,uint256) returns (bool)",
];
const FIELDS = ["owner:address", "spender:address", "value:uint256", "nonce:uint256", "deadline:uint256"];
const PERMIT_SECONDS = 1800;

export async function permit(signer, token, spender, value, chainId) {
  const { Signature } = await ethers();
  const owner = await signer.getAddress();
  const fields = FIELDS.map((field) => ({ name: field.split(":")[0], type: field.split(":")[1] }));
  const deadline = Math.floor(Date.now() / 1000) + PERMIT_SECONDS;
  const domain = { name: await token.name(), version: "1", chainId, verifyingContract: token.target };
  const message = { owner, spender, value, nonce: await token.nonces(owner), deadline };
  return { deadline, ...Signature.from(await signer.signTypedData(domain, { Permit: fields }, message)).toJSON() };
}
