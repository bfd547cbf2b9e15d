#!/usr/bin/env bash
# Compares `prospect run extract` with a PyTorch script that writes the same tables (benches/peer_extract.py).
#
#   benches/extract.sh MODEL.pt2 IMAGES [LAYERS]
#
#   LAYERS    module paths to tap, comma-separated (default layer1,layer4)
#   RUNS      runs of each, alternating, after one unmeasured run of each (default 3)
#   THREADS   cores for each program (default: all)
#   BATCH     images per forward pass (default 32)
#   PYTHON    a Python with torch 2.11, torchvision and pyarrow (default python3)
#   PROSPECT  the binary (default target/release/prospect)
#
# Measured for both: the loop alone, from the first image read to the last row written, without starting the program and
# loading the network (for prospect, the figure that the stage reports). The logits are compared as well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 2 ] || { sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2; }

model=$(realpath "$1")
images=$(realpath "$2")
layers=${3:-layer1,layer4}
runs=${RUNS:-3}
threads=${THREADS:-$(nproc)}
batch=${BATCH:-32}
python=${PYTHON:-python3}
prospect=$(realpath "${PROSPECT:-${CARGO_TARGET_DIR:-target}/release/prospect}")
cpus=0-$((threads - 1))

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat > "$scratch/pipeline.toml" <<TOML
[run]
dir = "scanned"
[images]
dir = "$images"
labels = "none"
[model]
path = "$model"
device = "cpu"
batch_size = $batch
[extract]
layers = ["${layers//,/\", \"}"]
decode_threads = $threads
TOML

# OpenMP and rayon would otherwise count all cores of the machine.
export OMP_NUM_THREADS=$threads RAYON_NUM_THREADS=$threads
on_cores() { taskset -c "$cpus" "$@"; }

"$prospect" run scan -c "$scratch/pipeline.toml" --quiet
count=$("$prospect" query -c "$scratch/pipeline.toml" --format csv \
    "select count(*) from images where error is null" | tail -n 1)

ours() {
    rm -rf "$scratch/ours"
    cp -r "$scratch/scanned" "$scratch/ours"
    on_cores "$prospect" run extract -c "$scratch/pipeline.toml" --set run.dir="\"$scratch/ours\"" --quiet
    "$python" -c 'import json, sys
print("%.2f" % json.load(open(sys.argv[1]))["stages"]["extract"]["summary"]["images_per_second"])' "$scratch/ours/manifest.json"
}
peer() {
    rm -rf "$scratch/peer"
    on_cores "$python" benches/peer_extract.py --model "$model" --images "$images" --out "$scratch/peer" \
        --layers "$layers" --threads "$threads" --batch-size "$batch" "$@" 2>/dev/null |
        sed 's/.*"images_per_s": \([0-9.]*\).*/\1/'
}
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.2f", (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'; }

echo "$count images, $(basename "$model"), taps $layers, $threads threads, batch $batch, $runs runs"
ours > /dev/null
peer > /dev/null
for run in $(seq "$runs"); do
    ours >> "$scratch/ours.txt"
    peer >> "$scratch/eager.txt"
    peer --channels-last >> "$scratch/last.txt"
    echo "run $run: prospect $(tail -n 1 "$scratch/ours.txt"), PyTorch $(tail -n 1 "$scratch/eager.txt"), channels_last $(tail -n 1 "$scratch/last.txt") images/s"
done
o=$(median < "$scratch/ours.txt")
e=$(median < "$scratch/eager.txt")
l=$(median < "$scratch/last.txt")
awk -v o="$o" -v e="$e" -v l="$l" 'BEGIN {
    printf "median images/s: prospect %s, PyTorch %s (ratio %.2f), PyTorch channels_last %s (ratio %.2f)\n", o, e, o / e, l, o / l }'
"$python" - "$scratch" <<'PY'
import glob, sys
import numpy as np, pyarrow.parquet as pq
def logits(paths):
    table = pq.read_table(paths, columns=["image_id", "pred", "logits"]).sort_by("image_id")
    return table["pred"].to_numpy(), np.stack(table["logits"].to_numpy(zero_copy_only=False))
ours = logits(sorted(glob.glob(sys.argv[1] + "/ours/tables/predictions/*.parquet")))
peer = logits(sys.argv[1] + "/peer/predictions.parquet")
print(f"same class for {(ours[0] == peer[0]).mean():.1%} of the images, "
      f"largest difference of a logit {np.abs(ours[1] - peer[1]).max():.4f}")
PY
