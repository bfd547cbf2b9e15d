#!/usr/bin/env bash
# Peak memory of `prospect run extract` and `prospect run explain` at two dataset sizes: it must not grow with the number of images.
#
#   benches/explain_memory.sh MODEL.pt2 SMALL_FOLDER LARGE_FOLDER
#
#   SET       more --set options, such as "--set extract.part_size=256"
#   PROSPECT  the binary (default target/release/prospect)
#
# Each command is a separate process; the figure is its maximum resident set size.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -eq 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

model=$(realpath "$1")
prospect=$(realpath "${PROSPECT:-${CARGO_TARGET_DIR:-target}/release/prospect}")
read -ra set <<< "${SET:-}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# peak COMMAND…: MiB.
peak() {
    python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)' "$@"
}

for folder in "$2" "$3"; do
    folder=$(realpath "$folder")
    for maps in stored inline; do
        rm -rf "$scratch/run"
        cat > "$scratch/pipeline.toml" <<TOML
[run]
dir = "run"
[images]
dir = "$folder"
labels = "none"
[model]
path = "$model"
device = "cpu"
[explain]
maps = "$maps"
pictures = 0
TOML
        run() { peak "$prospect" run "$1" -c "$scratch/pipeline.toml" --quiet "${set[@]}"; }
        extract=$(run extract)
        explain=$(run explain)
        images=$("$prospect" query -c "$scratch/pipeline.toml" --format csv "select count(*) from predictions" | tail -n 1)
        echo "$images images, maps $maps: extract $extract MiB, explain $explain MiB"
    done
done
