#!/usr/bin/env bash
# Injects label errors into an image folder and compares how well they are found by Prospect's label scores, cleanlab, kNN voting
# and FiftyOne's mistakenness (benches/peer_labels.py), all on the features of one network.
#
#   benches/labels.sh MODEL.pt2 IMAGES [PAIRS.csv]
#
#   IMAGES    class folders; their names are the true labels
#   PAIRS     `label,other,weight`: how often people mistake one class for another; without it, kind "human" is skipped
#   KINDS     default "random human"
#   RATES     fractions of wrong labels (default "0.1 0.3")
#   SEEDS     default "1 2 3"
#   SOLVER    sklearn, or torch: the peers' logistic regression (default sklearn, minutes per run)
#   RUNS      folder for the run folders (default: a temporary folder)
#   PYTHON    a Python with cleanlab 2.9.0, scikit-learn and pyarrow (default python3)
#   PROSPECT  the binary (default target/release/prospect)
#
# Every case is an ordinary run with the wrong labels as metadata. Only the first run reads the images and runs the network; the
# others reuse its rows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 2 ] || { sed -n '2,18s/^# \{0,1\}//p' "$0" >&2; exit 2; }

model=$(realpath "$1")
images=$(realpath "$2")
pairs=${3:+$(realpath "$3")}
python=${PYTHON:-python3}
prospect=$(realpath "${PROSPECT:-${CARGO_TARGET_DIR:-target}/release/prospect}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
runs=${RUNS:-$scratch/runs}
mkdir -p "$runs"
runs=$(realpath "$runs")
results=$runs/results.jsonl
: > "$results"

previous=()
for kind in ${KINDS:-random human}; do
    if [ "$kind" = human ] && [ -z "$pairs" ]; then continue; fi
    for rate in ${RATES:-0.1 0.3}; do
        for seed in ${SEEDS:-1 2 3}; do
            name=$kind-$rate-$seed
            "$python" benches/peer_labels.py flip --images "$images" --kind "$kind" --rate "$rate" --seed "$seed" \
                ${pairs:+--confusion "$pairs"} --out "$runs/$name.csv"
            cat > "$runs/$name.toml" <<TOML
[run]
dir = "$runs/$name"
[images]
dir = "$images"
metadata = "$runs/$name.csv"
labels = "metadata"
[model]
path = "$model"
[explain]
layers = []
TOML
            "$prospect" run labels -c "$runs/$name.toml" "${previous[@]}"
            [ ${#previous[@]} -gt 0 ] || previous=(--set "run.previous=\"$runs/$name\"")
            "$python" benches/peer_labels.py evaluate --run "$runs/$name" --truth "$runs/$name.csv" \
                --title "$kind errors, $rate, seed $seed" --solver "${SOLVER:-sklearn}" --out "$results"
        done
    done
done
"$python" benches/peer_labels.py table "$results"
