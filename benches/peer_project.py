#!/usr/bin/env python3
"""The peers of `prospect run project`: openTSNE and umap-learn, and one judge for every map.

usage: peer_project.py fit  --run RUN --out FOLDER --method opentsne-bh|opentsne-fft|umap-seeded|umap [--threads N] [--seed N]
       peer_project.py judge --run RUN --maps FOLDER [--perplexity P]

`fit` reduces the run's features to 50 principal components, lays them out with the method's defaults, and prints one
line of JSON: seconds of both together, without starting Python, reading the features and compiling (umap-learn is warmed up
on some of the points first). `judge` compares the maps in FOLDER (NAME.npy, [n, 2], rows by image_id) and those of the
run's table `projection`: trustworthiness on the features (scikit-learn, 15 neighbours), and the divergence of t-SNE from
one and the same P (openTSNE's, of 50 principal components, exact neighbours), summed over all pairs.
Needs: pip install openTSNE==1.0.4 umap-learn==0.5.12 scikit-learn pyarrow
"""
import argparse
import glob
import json
import os
import time
import warnings

import numpy as np

COMPONENTS = 50
NEIGHBORS = 15


def table(run, name, columns):
    import pyarrow.parquet as pq
    rows = pq.read_table(sorted(glob.glob(os.path.join(run, "tables", name, "*.parquet"))), columns=columns)
    return rows.sort_by("image_id")


def features(run):
    column = table(run, "features", ["image_id", "vector"])["vector"].combine_chunks()
    return np.ascontiguousarray(column.flatten().to_numpy().reshape(len(column), -1), np.float32)


def components(points):
    from sklearn.decomposition import PCA
    if points.shape[1] <= COMPONENTS:
        return points
    return PCA(COMPONENTS, random_state=0).fit_transform(points)


def prepared(method, points, threads, seed):
    """What lays the points out by the method's defaults, everything compiled."""
    if method.startswith("opentsne-"):
        import openTSNE
        openTSNE.TSNE(n_jobs=threads, early_exaggeration_iter=1, n_iter=1).fit(points[:200])
        gradient = method.removeprefix("opentsne-")
        whole = openTSNE.TSNE(negative_gradient_method=gradient, n_jobs=threads, random_state=seed)
        return lambda: whole.fit(components(points))
    import umap
    seed = seed if method == "umap-seeded" else None
    umap.UMAP(random_state=seed, n_jobs=threads).fit_transform(components(points)[:1000])
    return lambda: umap.UMAP(random_state=seed, n_jobs=threads).fit_transform(components(points))


def fit(asked):
    points = features(asked.run)
    lay_out = prepared(asked.method, points, asked.threads, asked.seed)
    started = time.monotonic()
    xy = np.asarray(lay_out(), np.float32)
    seconds = time.monotonic() - started
    os.makedirs(asked.out, exist_ok=True)
    np.save(os.path.join(asked.out, f"{asked.method}.npy"), xy)
    print(json.dumps({"method": asked.method, "n": len(points), "seconds": round(seconds, 3)}))


def divergence(joint, xy):
    """Of Q from P, over all pairs, in float64."""
    xy = xy.astype(np.float64)
    total = -float(len(xy))
    for start in range(0, len(xy), 500):
        block = xy[start:start + 500]
        squared = (block[:, 0, None] - xy[None, :, 0]) ** 2 + (block[:, 1, None] - xy[None, :, 1]) ** 2
        total += (1 / (1 + squared)).sum()
    joint = joint.tocoo()
    kept = joint.data > 0
    p, i, j = joint.data[kept], joint.row[kept], joint.col[kept]
    q = 1 / (1 + ((xy[i] - xy[j]) ** 2).sum(1)) / total
    return float((p * np.log(p / q)).sum())


def judge(asked):
    from openTSNE.affinity import PerplexityBasedNN
    from sklearn.manifold import trustworthiness
    points = features(asked.run)
    joint = PerplexityBasedNN(components(points), perplexity=asked.perplexity, method="exact", n_jobs=-1).P
    maps = {os.path.basename(path)[:-4]: np.load(path) for path in sorted(glob.glob(os.path.join(asked.maps, "*.npy")))}
    ours = table(asked.run, "projection", ["image_id", "method", "x", "y"])
    for method in sorted(set(ours["method"].to_pylist())):
        rows = ours.filter(np.array([name == method for name in ours["method"].to_pylist()]))
        maps[f"prospect {method}"] = np.stack([rows["x"].to_numpy(), rows["y"].to_numpy()], 1)
    for name, xy in maps.items():
        trust = trustworthiness(points, xy, n_neighbors=NEIGHBORS)
        print(json.dumps({"map": name, "trustworthiness": round(float(trust), 4), "kl": round(divergence(joint, xy), 4)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    of_fit = commands.add_parser("fit")
    of_fit.set_defaults(call=fit)
    of_fit.add_argument("--method", required=True, choices=["opentsne-bh", "opentsne-fft", "umap-seeded", "umap"])
    of_fit.add_argument("--out", required=True)
    of_fit.add_argument("--threads", type=int, default=os.cpu_count())
    of_fit.add_argument("--seed", type=int, default=42)
    of_judge = commands.add_parser("judge")
    of_judge.set_defaults(call=judge)
    of_judge.add_argument("--maps", required=True)
    of_judge.add_argument("--perplexity", type=float, default=30.0)
    for command in (of_fit, of_judge):
        command.add_argument("--run", required=True, help="a run folder with the tables features and projection")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    asked.call(asked)


if __name__ == "__main__":
    main()
