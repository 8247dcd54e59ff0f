// Writes test vectors of OpenZeppelin's own library: roots and proofs that rewards/merkle.py must repeat.
// Run: node scripts/merkle_vectors.cjs > ../tests/merkle_vectors.json
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");
const { keccak256 } = require("ethereum-cryptography/keccak");

const hex = (bytes) => "0x" + Buffer.from(bytes).toString("hex");
const hash = (text) => keccak256(Buffer.from(text));
const chainId = 31337;
const distributor = hex(hash("distributor").slice(0, 20));
const types = ["uint256", "address", "address", "uint256"];

const vectors = [1, 2, 3, 5, 8, 33].map((count) => {
  const amounts = Array.from({ length: count }, (_, index) => ({
    account: hex(hash(`account ${index}`).slice(0, 20)),
    wei: BigInt(hex(hash(`amount ${index}`).slice(0, 1 + (index % 28)))).toString(),
  })).map((entry) => ({ ...entry, wei: entry.wei === "0" ? "1" : entry.wei }));
  const tree = StandardMerkleTree.of(
    amounts.map(({ account, wei }) => [chainId, distributor, account, wei]),
    types,
  );
  const entries = amounts.map((entry, index) => ({ ...entry, proof: tree.getProof(index) }));
  return { root: tree.root, entries };
});
console.log(JSON.stringify({ chainId, distributor, vectors }, null, 1));
