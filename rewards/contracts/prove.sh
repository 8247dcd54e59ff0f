#!/bin/sh
# Proves every check_ of test/Symbolic.t.sol with halmos, then runs each invariant by 128,000 calls.
# HALMOS names the folder of a virtual environment made from requirements-halmos.txt.
set -eu
cd "$(dirname "$0")"
forge=$(ls "$PWD"/node_modules/@foundry-rs/forge-*/bin/forge 2>/dev/null | head -n 1)
[ -n "$forge" ] || { echo "forge is not installed; run: npm ci --prefix $PWD" >&2; exit 1; }
PATH="$(dirname "$forge"):${HALMOS:?the folder of the virtual environment}/bin:$PATH"
export PATH
halmos --contract Symbolic --solver z3
FOUNDRY_PROFILE=deep ./test.sh --match-path 'test/*nvariants.t.sol'
