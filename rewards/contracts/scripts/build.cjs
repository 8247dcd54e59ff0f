// Compiles src/*.sol with solc-js and writes one artifact per contract: ABI, bytecode, hash of the sources.
// With --check it writes nothing and fails when a committed artifact differs from what compiles here.
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const root = path.dirname(__dirname);
const read = (file) => fs.readFileSync(path.join(root, file), "utf8");
const settings = JSON.parse(read("compiler.json"));
const versions = JSON.parse(read("package.json")).devDependencies;
const sourceNames = fs.readdirSync(path.join(root, "src")).filter((name) => name.endsWith(".sol")).sort();

// The same hash is computed in Python by rewards/chain/artifacts.py; keep both in step.
function sourceHash() {
  const hash = crypto.createHash("sha256");
  for (const file of ["compiler.json", ...sourceNames.map((name) => `src/${name}`)]) {
    hash.update(`${file}\n${crypto.createHash("sha256").update(read(file)).digest("hex")}\n`);
  }
  for (const name of ["@openzeppelin/contracts", "solc"]) hash.update(`${name}\n${versions[name]}\n`);
  return hash.digest("hex");
}

function compile() {
  const sources = Object.fromEntries(sourceNames.map((name) => [`src/${name}`, { content: read(`src/${name}`) }]));
  const outputSelection = { "*": { "*": ["abi", "evm.bytecode.object"] } };
  const input = { language: "Solidity", sources, settings: { ...settings, outputSelection } };
  const findImport = (name) => ({ contents: read(path.join("node_modules", name)) });
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  // Warnings inside OpenZeppelin are theirs; in our own sources a warning is an error.
  const ours = (problem) => problem.severity === "error" || problem.sourceLocation?.file.startsWith("src/");
  const problems = (output.errors ?? []).filter(ours);
  for (const problem of problems) console.error(problem.formattedMessage);
  if (problems.length > 0) process.exit(1);
  return output.contracts;
}

function artifact(name, contract, hash) {
  const content = {
    contractName: name,
    compiler: solc.version(),
    sourceHash: hash,
    abi: contract.abi,
    bytecode: "0x" + contract.evm.bytecode.object,
  };
  return JSON.stringify(content, null, 1) + "\n";
}

const check = process.argv.includes("--check");
const hash = sourceHash();
const contracts = compile();
let stale = 0;
for (const source of sourceNames) {
  const name = path.basename(source, ".sol");
  const text = artifact(name, contracts[`src/${source}`][name], hash);
  const file = path.join("artifacts", `${name}.json`);
  if (!check) fs.writeFileSync(path.join(root, file), text);
  else if (!fs.existsSync(path.join(root, file)) || read(file) !== text) {
    console.error(`${file} differs from its sources; run build.sh`);
    stale += 1;
  }
}
console.log(`${check ? "checked" : "wrote"} ${sourceNames.length} artifacts, sources ${hash.slice(0, 16)}`);
process.exit(stale > 0 ? 1 : 0);
