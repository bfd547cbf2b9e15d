#!/usr/bin/env bash
# Compares t-SNE and UMAP of `prospect run project` with openTSNE and umap-learn (benches/peer_project.py).
#
#   benches/project.sh MODEL.pt2 IMAGES
#
#   THREADS   cores for each program (default: all)
#   PEERS     peers, each run once (default "opentsne-bh opentsne-fft umap-seeded umap"; seeded, umap-learn uses one core)
#   RUNS      runs of prospect, all of which must give the same map (default 3)
#   KEEP      a folder for the run and the peers' maps, instead of a temporary one
#   PYTHON    a Python with openTSNE 1.0.4, umap-learn 0.5.12, scikit-learn and pyarrow (default python3)
#   PROSPECT  the binary (default target/release/prospect)
#
# Measured for both: neighbour search and optimisation, including the peers' principal components, without starting the
# program, reading the features, evaluating and drawing. All maps are evaluated alike: by scikit-learn's trustworthiness,
# and the KL divergence from openTSNE's affinities, summed over all pairs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -eq 2 ] || { sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2; }

model=$(realpath "$1")
images=$(realpath "$2")
threads=${THREADS:-$(nproc)}
peers=${PEERS:-opentsne-bh opentsne-fft umap-seeded umap}
runs=${RUNS:-3}
python=${PYTHON:-python3}
prospect=$(realpath "${PROSPECT:-${CARGO_TARGET_DIR:-target}/release/prospect}")
cpus=0-$((threads - 1))

if [ -n "${KEEP:-}" ]; then
    mkdir -p "$KEEP"
    scratch=$(realpath "$KEEP")
else
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
fi
cat > "$scratch/pipeline.toml" <<TOML
[run]
dir = "run"
[images]
dir = "$images"
labels = "none"
[model]
path = "$model"
device = "cpu"
[extract]
layers = []
[project]
methods = ["tsne", "umap"]
TOML

# OpenMP, numba and rayon would otherwise count all cores of the machine.
export OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads NUMBA_NUM_THREADS=$threads RAYON_NUM_THREADS=$threads
on_cores() { taskset -c "$cpus" "$@"; }
ours() { on_cores "$prospect" "$@" -c "$scratch/pipeline.toml" --quiet; }

ours run scan extract neighbors
count=$("$prospect" query -c "$scratch/pipeline.toml" --format csv "select count(*) from features" | tail -n 1)
echo "$count images, $(basename "$model"), $threads threads"

for run in $(seq "$runs"); do
    rm -rf "$scratch/run/logs"
    # Another seed and back, so that the stage runs again.
    [ "$run" = 1 ] || ours run project --set project.seed=1 --set 'project.methods=["pca"]'
    rm -rf "$scratch/run/logs"
    ours run project
    cat "$scratch"/run/logs/*.jsonl > "$scratch/log-$run.jsonl"
    cat "$scratch"/run/tables/projection/*.parquet | sha256sum >> "$scratch/sums.txt"
done
for peer in $peers; do
    on_cores "$python" benches/peer_project.py fit --run "$scratch/run" --out "$scratch/maps" --method "$peer" \
        --threads "$threads" 2> /dev/null | tail -n 1 | tee -a "$scratch/peers.jsonl"
done
"$python" benches/peer_project.py evaluate --run "$scratch/run" --maps "$scratch/maps" > "$scratch/quality.jsonl"
"$python" - "$scratch" <<'PY'
import glob, json, statistics, sys
def lines(name):
    return [json.loads(line) for path in sorted(glob.glob(f"{sys.argv[1]}/{name}")) for line in open(path)]
seconds = {}
for line in lines("log-*.jsonl"):
    if line["fields"]["message"] == "fitted":
        seconds.setdefault("prospect " + line["fields"]["method"], []).append(line["fields"]["seconds"])
seconds = {name: statistics.median(times) for name, times in seconds.items()}
seconds |= {line["method"]: line["seconds"] for line in lines("peers.jsonl")}
print(f"{'map':18} {'seconds':>8} {'ratio':>6}  trustworthiness  KL")
for line in lines("quality.jsonl"):
    name = line["map"]
    kind = "umap" if "umap" in name else "tsne" if "tsne" in name else None
    time, own = seconds.get(name), seconds.get(f"prospect {kind}")
    ratio = f"{time / own:.1f}" if time and own else ""
    divergence = f"{line['kl']:.4f}" if kind == "tsne" else ""
    print(f"{name:18} {f'{time:.2f}' if time else '':>8} {ratio:>6}  {line['trustworthiness']:15.4f}  {divergence}")
same = len(set(open(f"{sys.argv[1]}/sums.txt"))) == 1
print("prospect's tables of all runs are", "the same, byte for byte" if same else "NOT the same")
PY
