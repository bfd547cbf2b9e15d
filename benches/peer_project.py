#!/usr/bin/env python3
"""The peers of `prospect run project`: openTSNE and umap-learn, and one evaluation of all maps.

usage: peer_project.py fit  --run RUN --out FOLDER --method opentsne-bh|opentsne-fft|umap-seeded|umap [--threads N] [--seed N]
       peer_project.py evaluate --run RUN --maps FOLDER [--perplexity P]

`fit` reduces the run's features to 50 principal components, projects them with the method's defaults, and prints one line of
JSON: the seconds of both, without starting Python, reading the features and compiling (umap-learn is warmed up on some of the
points first). `evaluate` compares the maps in FOLDER (NAME.npy, [n, 2], rows by image_id) and those of the run's table
`projection`: trustworthiness on the features (scikit-learn, 15 neighbours), and the KL divergence of t-SNE from the same P
(openTSNE's, of 50 principal components, exact neighbours), summed over all pairs.
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
    """A function that projects the points with the method's defaults, already compiled."""
    if method.startswith("opentsne-"):
        import openTSNE
        openTSNE.TSNE(n_jobs=threads, early_exaggeration_iter=1, n_iter=1).fit(points[:200])
        gradient = method.removeprefix("opentsne-")
        tsne = openTSNE.TSNE(negative_gradient_method=gradient, n_jobs=threads, random_state=seed)
        return lambda: tsne.fit(components(points))
    import umap
    seed = seed if method == "umap-seeded" else None
    umap.UMAP(random_state=seed, n_jobs=threads).fit_transform(components(points)[:1000])
    return lambda: umap.UMAP(random_state=seed, n_jobs=threads).fit_transform(components(points))


def fit(options):
    points = features(options.run)
    project = prepared(options.method, points, options.threads, options.seed)
    started = time.monotonic()
    xy = np.asarray(project(), np.float32)
    seconds = time.monotonic() - started
    os.makedirs(options.out, exist_ok=True)
    np.save(os.path.join(options.out, f"{options.method}.npy"), xy)
    print(json.dumps({"method": options.method, "n": len(points), "seconds": round(seconds, 3)}))


def divergence(joint, xy):
    """KL divergence of Q from P over all pairs, in float64."""
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


def evaluate(options):
    from openTSNE.affinity import PerplexityBasedNN
    from sklearn.manifold import trustworthiness
    points = features(options.run)
    joint = PerplexityBasedNN(components(points), perplexity=options.perplexity, method="exact", n_jobs=-1).P
    maps = {os.path.basename(path)[:-4]: np.load(path) for path in sorted(glob.glob(os.path.join(options.maps, "*.npy")))}
    ours = table(options.run, "projection", ["image_id", "method", "x", "y"])
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
    of_evaluate = commands.add_parser("evaluate")
    of_evaluate.set_defaults(call=evaluate)
    of_evaluate.add_argument("--maps", required=True)
    of_evaluate.add_argument("--perplexity", type=float, default=30.0)
    for command in (of_fit, of_evaluate):
        command.add_argument("--run", required=True, help="a run folder with the tables features and projection")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    options.call(options)


if __name__ == "__main__":
    main()
