#!/usr/bin/env bash
# What browser tests need beyond pip: Debian's chromium, and axe-core from npm.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v chromium >/dev/null; then
  [ "$(id -u)" = 0 ] || { echo "Install Debian's chromium first: sudo apt-get install chromium" >&2; exit 1; }
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
if [ ! -f node_modules/axe-core/axe.min.js ]; then
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
fi
