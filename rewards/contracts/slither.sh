#!/bin/sh
# Static analysis of src/: anything of medium or high impact fails. What was looked at and is right says
# so beside its line. SLITHER names the folder of a virtual environment made from requirements-slither.txt.
set -eu
cd "$(dirname "$0")"
forge=$(ls "$PWD"/node_modules/@foundry-rs/forge-*/bin/forge 2>/dev/null | head -n 1)
[ -n "$forge" ] || { echo "forge is not installed; run: npm ci --prefix $PWD" >&2; exit 1; }
PATH="$(dirname "$forge"):${SLITHER:?the folder of the virtual environment}/bin:$PATH"
export PATH
slither . --filter-paths 'node_modules|test' --foundry-out-directory out \
  --exclude-informational --exclude-optimization --fail-medium
