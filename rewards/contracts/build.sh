#!/bin/sh
# Compiles the contracts with solc-js and writes artifacts/*.json; with --check, only compares.
# Needs `npm ci` in this folder. The site itself never needs a compiler.
set -eu
cd "$(dirname "$0")"
exec node scripts/build.cjs "$@"
