#!/usr/bin/env bash
# Puts label errors of several kinds into an image folder and compares how well they are found by Prospect's label scores and by
# other tools (benches/peer_labels.py), all on the same features of each network.
#
#   benches/labels.sh IMAGES VOTES.csv MODEL.pt2 MODEL.pt2...
#
#   IMAGES    class folders; their names are the true labels
#   VOTES     people's labels: a column `file` (relative to IMAGES) and a column `h10_CLASS` with the votes for each class
#   MODEL     networks; the errors of kind "feature" come from a probe on the next network's features
#   SIZE      images, evenly from each class (default 5000); kind "tail" takes fewer of each further class, 20 times fewer of the last
#   CASES     kinds and rates (default "uniform:0.1 uniform:0.3 class:0.1 class:0.3 feature:0.1 feature:0.3 tail:0.1 votes:0 own:0")
#   SEEDS     default "1 2 3"
#   PLANTED   [audit] planted (default 0: recall is not calibrated)
#   SOLVER    torch, or probe: the other tools get the probabilities of the run's probe, at the same log-loss (default torch, slow)
#   RUNS      folder for run folders and results.csv, which is continued (default: a temporary folder)
#   PYTHON    a Python with cleanlab[datalab] 2.9.0, scikit-learn, torch and pyarrow (default python3)
#   PROSPECT  the binary (default target/release/prospect)
#
# Every case is an ordinary run with the wrong labels as metadata. Only the first run of a network reads the images; the others
# reuse its rows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 4 ] || { sed -n '2,22s/^# \{0,1\}//p' "$0" >&2; exit 2; }

images=$(realpath "$1")
votes=$(realpath "$2")
shift 2
models=()
for model in "$@"; do models+=("$(realpath "$model")"); done
python=${PYTHON:-python3}
prospect=$(realpath "${PROSPECT:-${CARGO_TARGET_DIR:-target}/release/prospect}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
runs=${RUNS:-$scratch}
mkdir -p "$runs"
runs=$(realpath "$runs")
peer() { "$python" benches/peer_labels.py "$@"; }
[ -d "$runs/images" ] || peer sample --images "$images" --size "${SIZE:-5000}" --out "$runs/images"
[ -d "$runs/tail" ] || peer sample --images "$runs/images" --tail 20 --out "$runs/tail"

# run NAME MODEL IMAGES LABELS.csv STAGE PREVIOUS
run() {
    cat > "$runs/$1.toml" <<TOML
[run]
dir = "$runs/$1"
[images]
dir = "$3"
metadata = "$4"
labels = "metadata"
[model]
path = "$2"
[explain]
layers = []
[audit]
planted = ${PLANTED:-0}
TOML
    "$prospect" run "$5" -q -c "$runs/$1.toml" ${6:+--set "run.previous=\"$6\""}
}

flip() { [ -f "$runs/$1.csv" ] || peer flip --out "$runs/$1.csv" "${@:2}"; }

flip clean --images "$runs/images" --kind own
for model in "${models[@]}"; do
    run "$(basename "$model" .pt2)" "$model" "$runs/images" "$runs/clean.csv" probe ""
done
for at in "${!models[@]}"; do
    model=${models[$at]}
    network=$(basename "$model" .pt2)
    other=$(basename "${models[$(((at + 1) % ${#models[@]}))]}" .pt2)
    for case in ${CASES:-uniform:0.1 uniform:0.3 class:0.1 class:0.3 feature:0.1 feature:0.3 tail:0.1 votes:0 own:0}; do
        kind=${case%:*} rate=${case#*:} folder=$runs/images seeds=${SEEDS:-1 2 3}
        [ "$kind" != tail ] || folder=$runs/tail
        # Labels as they are have no seed.
        [ "$kind" != own ] || seeds=0
        for seed in $seeds; do
            name=$kind-$rate-$seed
            [ "$kind" != feature ] || name=$kind-$rate-$seed-by-$other
            ! grep -q "^$kind,$rate,$seed,$network," "$runs/results.csv" 2>/dev/null || continue
            flip "$name" --images "$folder" --kind "$kind" --rate "$rate" --seed "$seed" --votes "$votes" --other "$runs/$other"
            run "$network-$name" "$model" "$folder" "$runs/$name.csv" labels "$runs/$network"
            peer evaluate --run "$runs/$network-$name" --truth "$runs/$name.csv" --case "$kind,$rate,$seed,$network" \
                --solver "${SOLVER:-torch}" --out "$runs/results.csv"
            rm -rf "${runs:?}/$network-$name"
        done
    done
done
peer table "$runs/results.csv"
