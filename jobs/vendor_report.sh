#!/usr/bin/env bash
# Bundles src/stages/report/assets/vendor/deck.js, which draws the report's map, with its licences. The versions in
# jobs/vendor_report/package-lock.json make the output reproducible. It is committed, so building Prospect needs no Node.js.
# --check only compares the committed files with a fresh bundle.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/vendor_report"
assets=../../src/stages/report/assets/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp package.json package-lock.json deck.js bundle.mjs "$work"
(cd "$work" && npm ci --silent --no-audit --no-fund && mkdir out && node bundle.mjs out)
if [ "${1:-}" = --check ]; then
  diff -q "$work/out" "$assets"
else
  mkdir -p "$assets"
  cp "$work"/out/* "$assets"
fi
