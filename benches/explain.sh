#!/usr/bin/env bash
# Compares `prospect run explain` with two Grad-CAM libraries for PyTorch (benches/peer_explain.py).
#
#   benches/explain.sh MODEL.pt2 IMAGES [LAYER]
#
#   LAYER     module path to explain at (default: the explanation layer of `prospect model inspect`)
#   RUNS      runs of each, alternating, after one unmeasured run of prospect and of grad-cam (default 3)
#   THREADS   cores for each program (default: all)
#   BATCH     images per forward pass (default 32)
#   PEERS     libraries of peer_explain.py (default "grad-cam captum captum-once")
#   OPTIONS   more options for the peers, such as --channels-last
#   PYTHON    a Python with torch 2.11, torchvision, pyarrow, captum 0.9.0 and grad-cam 1.5.7 (default python3)
#   PROSPECT  the binary (default target/release/prospect)
#
# Measured for prospect: the complete command from an empty run folder (start, listing and hashing the images, loading the network,
# extract with its default tables, explain with Grad-CAM of the predicted class), with stored maps and inline; and the seconds of
# the stages alone. For the peers: the loop alone, from the first image read to the last map computed, without starting Python and
# loading the network. Finally, the maps are compared.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 2 ] || { sed -n '2,19s/^# \{0,1\}//p' "$0" >&2; exit 2; }

model=$(realpath "$1")
images=$(realpath "$2")
runs=${RUNS:-3}
threads=${THREADS:-$(nproc)}
batch=${BATCH:-32}
read -ra peers <<< "${PEERS:-grad-cam captum captum-once}"
read -ra options <<< "${OPTIONS:-}"
python=${PYTHON:-python3}
prospect=$(realpath "${PROSPECT:-${CARGO_TARGET_DIR:-target}/release/prospect}")
layer=${3:-$("$prospect" model inspect "$model" | sed -n 's/^explanation layer: \([^ ]*\) .*/\1/p')}
[ -n "$layer" ] || { echo "explain.sh: $1 has no explanation layer; choose one" >&2; exit 2; }
cpus=0-$((threads - 1))

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat > "$scratch/pipeline.toml" <<TOML
[run]
dir = "ours"
[images]
dir = "$images"
labels = "none"
[model]
path = "$model"
device = "cpu"
batch_size = $batch
[extract]
decode_threads = $threads
[explain]
layers = ["$layer"]
methods = ["gradcam"]
classes = ["predicted"]
pictures = 0
TOML

# OpenMP and rayon would otherwise count all cores of the machine.
export OMP_NUM_THREADS=$threads RAYON_NUM_THREADS=$threads
on_cores() { taskset -c "$cpus" "$@"; }

# ours stored|inline: "images/s of the command, seconds of extract, seconds of explain".
ours() {
    rm -rf "$scratch/ours"
    local started ended
    started=$(date +%s.%N)
    on_cores "$prospect" run explain -c "$scratch/pipeline.toml" --set explain.maps="\"$1\"" --quiet
    ended=$(date +%s.%N)
    "$python" - "$scratch/ours" "$started" "$ended" <<'PY'
import glob, json, sys
images = json.load(open(sys.argv[1] + "/manifest.json"))["stages"]["extract"]["summary"]["images"]
fields = [json.loads(line)["fields"] for path in glob.glob(sys.argv[1] + "/logs/*") for line in open(path)]
seconds = {field["stage"]: field["seconds"] for field in fields if field.get("message") == "finished"}
print("%.2f %.2f %.3f" % (images / (float(sys.argv[3]) - float(sys.argv[2])), seconds["extract"], seconds["explain"]))
PY
}
peer() {
    on_cores "$python" benches/peer_explain.py --model "$model" --images "$images" --library "$1" --layer "$layer" \
        --threads "$threads" --batch-size "$batch" --out "$scratch/$1.safetensors" "${options[@]}" 2>/dev/null |
        sed 's/.*"images_per_s": \([0-9.]*\).*/\1/'
}
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.3f", (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

echo "$(basename "$model") at $layer, $threads threads, batch $batch, $runs runs${OPTIONS:+, peers with $OPTIONS}; images/s"
ours stored > /dev/null
peer "${peers[0]}" > /dev/null
for run in $(seq "$runs"); do
    line="run $run:"
    for maps in inline stored; do
        ours "$maps" >> "$scratch/$maps.txt"
        line+=" prospect $maps $(tail -n 1 "$scratch/$maps.txt" | cut -d ' ' -f 1),"
    done
    for name in "${peers[@]}"; do
        peer "$name" >> "$scratch/$name.txt"
        line+=" $name $(tail -n 1 "$scratch/$name.txt"),"
    done
    echo "${line%,}"
done
for maps in inline stored; do
    o=$(cut -d ' ' -f 1 "$scratch/$maps.txt" | median)
    extract=$(cut -d ' ' -f 2 "$scratch/$maps.txt" | median)
    explain=$(cut -d ' ' -f 3 "$scratch/$maps.txt" | median)
    echo "prospect $maps: median $o images/s; extract $extract s, explain $explain s ($(ratio "$explain" "$extract") of extract)"
    for name in "${peers[@]}"; do
        p=$(median < "$scratch/$name.txt")
        echo "    $name: median $p images/s, prospect is $(ratio "$o" "$p") times as fast"
    done
done
"$python" - "$scratch" <<'PY'
import glob, os, sys
import numpy as np, pyarrow.parquet as pq
from safetensors.numpy import load_file
table = pq.read_table(sorted(glob.glob(sys.argv[1] + "/ours/tables/explanations/*.parquet"))).sort_by("image_id")
maps = np.stack(table["map"].to_numpy()).astype(np.float32) * table["map_scale"].to_numpy()[:, None]
classes = table["class"].to_numpy()
for name in ("captum", "captum-once"):
    path = f"{sys.argv[1]}/{name}.safetensors"
    if os.path.exists(path):
        theirs = load_file(path)
        same = theirs["class"] == classes
        raw = theirs["map"].reshape(len(maps), -1)
        worst = (np.abs(raw - maps).max(1) / np.abs(raw).max(1))[same].max()
        print(f"same class as {name} for {same.mean():.1%} of the images; their raw maps (half precision, another JPEG decoder) "
              f"differ by at most {worst:.1e} of their largest value")
PY
