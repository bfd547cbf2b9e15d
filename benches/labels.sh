#!/usr/bin/env bash
# Plants label errors in a folder of images and compares who finds them: Prospect's label scores, cleanlab, kNN voting, FiftyOne's
# mistakenness (benches/peer_labels.py), all on the features of one network.
#
#   benches/labels.sh MODEL.pt2 IMAGES [PAIRS.csv]
#
#   IMAGES    class folders; their names are taken for the truth
#   PAIRS     `label,other,weight`: how often people take one class for another; without it errors of kind "human" are left out
#   KINDS     default "random human"
#   RATES     shares of wrong labels (default "0.1 0.3")
#   SEEDS     default "1 2 3"
#   SOLVER    sklearn, or torch: the peers' logistic regression (default sklearn, minutes per run)
#   RUNS      where the run folders go (default: a folder that is removed at the end)
#   PYTHON    a Python with cleanlab 2.9.0, scikit-learn and pyarrow (default python3)
#   PROSPECT  the binary (default target/release/prospect)
#
# Every case is a run with the wrong labels as metadata, as anybody would have them. Images are read and sent through the network
# by the first run alone; the others take its rows.
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
            "$python" benches/peer_labels.py judge --run "$runs/$name" --truth "$runs/$name.csv" \
                --title "$kind errors, $rate, seed $seed" --solver "${SOLVER:-sklearn}" --out "$results"
        done
    done
done
"$python" benches/peer_labels.py table "$results"
