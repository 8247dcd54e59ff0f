#!/bin/sh
# Runs the forge tests: unit, fuzz, invariant, and the gas figures in snapshots/.
# Needs `npm ci` in this folder. The binary is called directly: npm 11 refuses the package's install script.
set -eu
cd "$(dirname "$0")"
forge=$(ls node_modules/@foundry-rs/forge-*/bin/forge 2>/dev/null | head -n 1)
[ -n "$forge" ] || { echo "forge is not installed; run: npm ci --prefix $(pwd)" >&2; exit 1; }
exec "$forge" test "$@"
