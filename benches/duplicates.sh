#!/usr/bin/env bash
# Injects copies of photos, runs `prospect run duplicates`, and compares it with common methods (benches/peer_duplicates.py).
#
#   benches/duplicates.sh MODEL.pt2 IMAGES
#
#   PHOTOS    number of photos to copy (default 100)
#   SEED      seed of the copies (default 1)
#   KEEP      a new folder for the photos and the run, instead of a temporary one
#   PYTHON    a Python with ImageHash, pillow, pyarrow and scipy (default python3)
#   PROSPECT  the binary (default target/release/prospect)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -eq 2 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }

model=$(realpath "$1")
images=$(realpath "$2")
python=${PYTHON:-python3}
prospect=$(realpath "${PROSPECT:-${CARGO_TARGET_DIR:-target}/release/prospect}")

if [ -n "${KEEP:-}" ]; then
    mkdir "$KEEP"
    scratch=$(realpath "$KEEP")
else
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
fi
"$python" benches/peer_duplicates.py inject "$images" "$scratch" --photos "${PHOTOS:-100}" --seed "${SEED:-1}"
cat > "$scratch/pipeline.toml" <<TOML
[run]
dir = "run"
[images]
dir = "images"
[model]
path = "$model"
[extract]
layers = []
[explain]
layers = []
TOML
"$prospect" run duplicates -c "$scratch/pipeline.toml"
"$python" benches/peer_duplicates.py evaluate "$scratch" --run "$scratch/run"
