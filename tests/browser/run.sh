#!/usr/bin/env bash
# Tests the report in a browser: bash tests/browser/run.sh [RUN]
#
# Generates a run (unless RUN is a finished one, with pipeline.toml in its parent folder) and another with hostile names, and opens
# their reports from disk in Debian's Chromium. Screenshots go to target/browser (or $SHOTS). Needs node, Chromium (or $CHROMIUM),
# Python and a built target/release/prospect (or $PROSPECT). If $PYTHON has numpy and pyarrow, also measures the map with 100,000
# images, and with a million, of which it draws a part.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PROSPECT=${PROSPECT:-$here/../../target/release/prospect}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SHOTS=${SHOTS:-$here/../../target/browser}

make_run() {
  local folder=$1
  shift
  "$python" "$here/make_run.py" "$folder" "$@"
  "$PROSPECT" run -q -c "$folder/pipeline.toml"
}

cd "$here"
npm ci --silent --no-audit --no-fund
if [ $# -gt 0 ]; then
  RUN=$(cd "$1" && pwd)
else
  make_run "$work/small"
  RUN=$work/small/run
fi
make_run "$work/hostile" --hostile
RUN=$RUN HOSTILE=$work/hostile/run node --test report.test.mjs

if "$python" -c 'import numpy, pyarrow' 2>/dev/null; then
  [ -d "$work/small" ] || make_run "$work/small"
  for images in 100000 1000000; do
    cp -a "$work/small/run" "$work/$images"
    "$python" swell.py "$work/$images" "$images"
    "$PROSPECT" run -q report -c "$work/small/pipeline.toml" --set "run.dir=$work/$images" --set report.images=400
  done
  node speed.mjs "$work/100000" "$work/1000000"
else
  echo "skipped the benchmark: $python lacks numpy or pyarrow"
fi
