#!/usr/bin/env bash
# Makes src/stages/report/assets/vendor/deck.js, the library that draws the map of the report, and the licences of what is in it. The
# versions are those of jobs/vendor_report/package-lock.json, so the same files come out again; they are committed, and building
# Prospect needs no node. --check only says whether the committed files are those.
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
