#!/usr/bin/env bash
# Plants marks on the pictures of one class and counts how often `shortcuts` flags that class, by network, mark and share, and how
# often it flags anything on unmarked pictures (benches/shortcuts.py).
#
#   benches/shortcuts.sh IMAGES MODEL.pt2...
#
#   IMAGES    class folders
#   MARKS     default "word square frame cast stamp"
#   SHARES    fractions of the marked class (default "0.3 0.6 0.95"); of all others, 0 and 0.1 in turn
#   SIZES     numbers of classes (default "2 10")
#   CASES     cases per mark, share and number of classes (default 1), and unmarked ones per number of classes times ten
#   WHOLE     true: whole pictures are searched (default false)
#   RUNS      folder for pictures and run folders (default: a temporary folder)
#   PYTHON    a Python with pillow, pyarrow and scikit-learn (default python3)
#   PROSPECT  the binary (default target/release/prospect)
#
# The network runs once on every picture with every mark; the cases reuse its rows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 2 ] || { sed -n '2,18s/^# \{0,1\}//p' "$0" >&2; exit 2; }

images=$(realpath "$1")
shift
python=${PYTHON:-python3}
prospect=$(realpath "${PROSPECT:-${CARGO_TARGET_DIR:-target}/release/prospect}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
runs=${RUNS:-$scratch/runs}
mkdir -p "$runs"
runs=$(realpath "$runs")
results=$runs/results.jsonl
: > "$results"
bench() { "$python" benches/shortcuts.py "$@"; }

[ -d "$runs/pool" ] || bench plant --images "$images" --out "$runs/pool"
for model in "$@"; do
    network=$(basename "$model" .pt2)
    settings() {
        cat <<TOML
[run]
dir = "$runs/$1"
[images]
dir = "$2"
labels = "folder"
[model]
path = "$(realpath "$model")"
[patches]
k = 1
[explain]
layers = []
[audit]
whole = ${WHOLE:-false}
TOML
    }
    settings "$network" "$runs/pool" > "$runs/$network.toml"
    "$prospect" run extract -c "$runs/$network.toml"
    run_case() {
        bench case --pool "$runs/pool" --out "$runs/case" "$@" > "$runs/case.json"
        rm -rf "$runs/case-run"
        settings case-run "$runs/case" > "$runs/case.toml"
        "$prospect" run shortcuts -c "$runs/case.toml" --set "run.previous=\"$runs/$network\"" > /dev/null 2> "$runs/case.log" \
            || { tail -5 "$runs/case.log" >&2; exit 1; }
        bench evaluate --case "$runs/case.json" --run "$runs/case-run" --pool-run "$runs/$network" --network "$network" --out "$results"
    }
    for classes in ${SIZES:-2 10}; do
        for seed in $(seq 1 $((10 * ${CASES:-1}))); do
            run_case --mark clean --share 0 --others 0 --classes "$classes" --seed "$seed"
        done
        for mark in ${MARKS:-word square frame cast stamp}; do
            others=0
            for share in ${SHARES:-0.3 0.6 0.95}; do
                for seed in $(seq 1 "${CASES:-1}"); do
                    run_case --mark "$mark" --share "$share" --others "$others" --classes "$classes" --seed "$seed"
                done
                [ $others = 0 ] && others=0.1 || others=0
            done
        done
    done
done
bench summary --out "$results"
