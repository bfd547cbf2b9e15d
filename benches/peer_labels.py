#!/usr/bin/env python3
"""Puts label errors into a dataset and compares detectors on the same features.

    peer_labels.py sample --images DIR (--size N | --tail RATIO) --out DIR
    peer_labels.py flip --images DIR --kind KIND --rate 0.1 --seed 1 [--votes CSV] [--other RUN] --out LABELS.csv
    peer_labels.py evaluate --run RUN --truth LABELS.csv --case KIND,RATE,SEED,NETWORK [--solver torch|probe] --out RESULTS.csv
    peer_labels.py table RESULTS.csv
needs: pip install cleanlab[datalab]==2.9.0 (which brings numpy, pandas and scikit-learn) torch pyarrow

sample    links N images, evenly from each class; or of the i-th of k classes a fraction RATIO^(-i/(k-1)).
flip      takes each image's folder as its true label and writes `file_name,label,true_label`. A fraction RATE is wrong:
            uniform   any other label
            class     every class has its own rate (0.5 to 1.5 times RATE) and its own skewed distribution of wrong labels
            tail      the same; for a long-tailed folder
            feature   the most probable other class by the table probe of the run OTHER, of another network; images are drawn in
                      proportion to its probability
            votes     the label is that of one person, drawn from the votes; RATE is ignored
            own       the folder's label; it is wrong if most people chose another. RATE is ignored
evaluate  reads the run's tables (features, neighbors, label_scores) and appends each detector's AUROC, average precision and
          precision at 100. Out-of-fold probabilities come from a logistic regression in five stratified folds, C chosen by the
          out-of-fold log-loss on a grid of two values per power of ten (scikit-learn's objective, minimised by L-BFGS in PyTorch).
          With --solver probe they are those of the run's table probe, which are found in the same way, but faster.
            prospect         label_scores.score
            probe            label_scores.self_confidence
            cleanlab         get_label_quality_scores(method="self_confidence")
            cleanlab margin  get_label_quality_scores(method="normalized_margin")
            cleanlab filter  find_label_issues(return_indices_ranked_by="self_confidence"), then all others by self-confidence
            datalab          Datalab.find_issues(features=...), label_score
            kNN              share of the 20 nearest images (the run's table) with the same label
            mistakenness     fiftyone-brain's formula: (m exp(-entropy) + 1) / 2, m = -1 if the prediction is the label, else 1
            selfclean        selfclean 0.0.39's formula: d'^2 / (d^2 + d'^2), the cosine distances to the nearest image of the same
                             class and of another
            dataeval         dataeval 1.1.4's formula: mean distance to the 50 nearest of the same class over that to the 50 nearest
                             of others
table     average precision, averaged over seeds, and the cells where another detector is ahead of Prospect.
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import sys

import numpy as np

GRID = [10.0 ** (power / 2) for power in range(-8, 3)]
FOLDS = 5
COLUMNS = ["kind", "rate", "seed", "network", "detector", "images", "wrong", "auroc", "ap", "p100"]


def listing(folder):
    root = pathlib.Path(folder)
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.parent != root)


def sample(arguments):
    source, out = pathlib.Path(arguments.images).resolve(), pathlib.Path(arguments.out)
    of_class = collections.defaultdict(list)
    for path in listing(source):
        of_class[path.split("/")[0]].append(path)
    k = len(of_class)
    for at, (name, paths) in enumerate(sorted(of_class.items())):
        n = arguments.size // k if arguments.size else round(len(paths) * arguments.tail ** (-at / (k - 1)))
        chosen = np.random.default_rng(at).permutation(paths)[:n]
        (out / name).mkdir(parents=True)
        for path in chosen:
            os.symlink(os.path.realpath(source / path), out / path)


def flip(arguments):
    paths = listing(arguments.images)
    true = [path.split("/")[0] for path in paths]
    classes = sorted(set(true))
    k = len(classes)
    number = np.array([classes.index(name) for name in true])
    kind, rate = arguments.kind, arguments.rate
    random = np.random.default_rng([arguments.seed, int(1000 * rate), sum(map(ord, kind))])
    label, truth = number.copy(), number.copy()
    if kind in ["votes", "own"]:
        by_path = {row["file"]: row for row in csv.DictReader(open(arguments.votes))} if arguments.votes else {}
        votes = np.array([[float(by_path[path][f"h10_{name}"]) for name in classes] if by_path else np.eye(k)[own]
                          for path, own in zip(paths, number)])
        votes /= votes.sum(axis=1, keepdims=True)
        if kind == "votes":
            label = np.array([random.choice(k, p=row) for row in votes])
        else:
            truth = votes.argmax(axis=1)
    elif kind == "feature":
        p, ids, columns = probe(pathlib.Path(arguments.other))
        p = np.array([p[ids[path]] for path in paths])[:, [columns.index(name) for name in classes]]
        p[np.arange(len(p)), number] = 0
        # Weighted order without replacement (Efraimidis and Spirakis 2006).
        order = np.argsort(random.exponential(size=len(p)) / np.maximum(p.max(axis=1), 1e-12))
        wrong = order[:round(rate * len(p))]
        label[wrong] = p[wrong].argmax(axis=1)
    else:
        rates, others = np.full(k, rate), np.full((k, k), 1 / (k - 1))
        if kind != "uniform":
            rates = random.uniform(0.5, 1.5, k)
            rates *= rate / np.average(rates, weights=np.bincount(number, minlength=k))
            for own in range(k):
                others[own, np.arange(k) != own] = random.dirichlet(np.full(k - 1, 0.5))
        for own in range(k):
            others[own, own] = 0
            rows = np.flatnonzero(number == own)
            wrong = random.choice(rows, int(round(rates[own] * len(rows))), replace=False)
            label[wrong] = random.choice(k, len(wrong), p=others[own])
    with open(arguments.out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "label", "true_label"])
        writer.writerows((path, classes[a], classes[b]) for path, a, b in zip(paths, label, truth))


def read(run, table, columns):
    import pyarrow.parquet as parquet
    import pyarrow as arrow
    manifest = json.load(open(run / "manifest.json"))
    files = [file["path"] for stage in manifest["stages"].values() for _, part in sorted(stage["parts"].items(), key=lambda p: int(p[0]))
             for file in part["files"] if file.get("table") == table]
    if not files:
        sys.exit(f"peer_labels.py: {run} has no table {table}")
    return arrow.concat_tables(parquet.read_table(run / file, columns=columns) for file in files)


def vectors(table, column):
    return table[column].combine_chunks().flatten().to_numpy().reshape(len(table), -1)


def probe(run):
    """A run's probabilities `[images, classes]`, the row of each path, and the names of the classes."""
    table = read(run, "probe", ["image_id", "probabilities"])
    row = {id: at for at, id in enumerate(table["image_id"].to_pylist())}
    images = read(run, "images", ["image_id", "path"]).to_pydict()
    rows = {path: row[id] for id, path in zip(images["image_id"], images["path"])}
    return vectors(table, "probabilities").astype(float), rows, read(run, "probe_classes", ["name"])["name"].to_pylist()


def probabilities(features, labels):
    """Out-of-fold probabilities `[rows, classes]` and the chosen C."""
    import torch
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(features, labels))
    k = labels.max() + 1
    x = torch.from_numpy(features)
    x = x - x.mean(0)
    values, basis = torch.linalg.eigh((x.T @ x).double())
    values, basis = values.clamp(min=0).float(), basis.float()
    fits, losses, best = [None] * FOLDS, {}, None
    for c in GRID:
        out = np.zeros((len(labels), k))
        for number, (train, test) in enumerate(folds):
            weights, bias = fits[number] = minimise(x[train], torch.from_numpy(labels[train]), k, c, fits[number], values, basis)
            out[test] = torch.softmax((x[test] @ weights + bias).double(), 1).numpy()
        losses[c] = log_loss(labels, out, labels=np.arange(k))
        if best is None or losses[c] < losses[best[0]]:
            best = (c, out)
        elif losses[c] > 1.02 * losses[best[0]]:
            break
    return best[1], best[0]


def minimise(x, y, k, c, start, values, basis):
    """Minimise LogisticRegression's objective, the summed cross-entropy plus |W|^2 / (2 C), from the weights of the last C."""
    import torch
    # Whitening speeds up L-BFGS; the penalty is on the original weights.
    root = (0.2 * values + 1 / c).sqrt()
    scale = basis / root
    z = x @ scale
    weights, bias = torch.zeros(x.shape[1], k), torch.zeros(k)
    if start is not None:
        weights, bias = root[:, None] * (basis.T @ start[0]), start[1].clone()
    weights.requires_grad_(), bias.requires_grad_()
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=200, tolerance_grad=0.02, tolerance_change=1e-4, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        penalty = ((weights / root[:, None]) ** 2).sum() / (2 * c)
        loss = torch.nn.functional.cross_entropy(z @ weights + bias, y, reduction="sum") + penalty
        loss.backward()
        return loss
    optimiser.step(closure)
    return scale @ weights.detach(), bias.detach()


def distances(features, labels):
    """Quality by SelfClean's and by DataEval's formula."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    norms = (features.astype(float) ** 2).sum(axis=1)
    selfclean, dataeval = np.zeros(len(labels)), np.zeros(len(labels))
    k = min(50, np.bincount(labels)[np.unique(labels)].min() - 1)
    for start in range(0, len(labels), 500):
        rows = np.arange(start, min(start + 500, len(labels)))
        same = labels[rows][:, None] == labels
        same[np.arange(len(rows)), rows] = False
        other = labels[rows][:, None] != labels
        cosine = 1 - unit[rows] @ unit.T
        own, away = (np.where(mask, cosine, np.inf).min(axis=1) for mask in (same, other))
        own = np.where(np.isfinite(own), own, cosine.max(axis=1))
        selfclean[rows] = away ** 2 / np.maximum(own ** 2 + away ** 2, 1e-30)
        euclidean = np.sqrt(np.maximum(norms[rows][:, None] + norms - 2 * features[rows] @ features.T, 0))
        own, away = (np.partition(np.where(mask, euclidean, np.inf), k, axis=1)[:, :k].mean(axis=1) for mask in (same, other))
        dataeval[rows] = -own / away
    return selfclean, dataeval


def evaluate(arguments):
    import contextlib
    import io
    from cleanlab import Datalab
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.metrics import average_precision_score, roc_auc_score
    run = pathlib.Path(arguments.run)
    truth = {row["file_name"]: row for row in csv.DictReader(open(arguments.truth))}
    images = read(run, "images", ["image_id", "path"]).to_pydict()
    path = dict(zip(images["image_id"], images["path"]))
    table = read(run, "features", ["image_id", "vector"])
    ids = table["image_id"].to_numpy()
    features = vectors(table, "vector").astype(np.float32)
    rows = [truth[path[id]] for id in ids]
    names = sorted({row["label"] for row in rows})
    labels = np.array([names.index(row["label"]) for row in rows])
    wrong = np.array([row["label"] != row["true_label"] for row in rows])

    place = {id: row for row, id in enumerate(ids)}
    edges = read(run, "neighbors", ["image_id", "rank", "neighbor_id"]).to_pydict()
    same, known = np.zeros(len(ids)), np.zeros(len(ids))
    for id, rank, other in zip(*edges.values()):
        if rank <= 20:
            known[place[id]] += 1
            same[place[id]] += labels[place[id]] == labels[place[other]]

    if arguments.solver == "probe":
        p, at, classes = probe(run)
        p = p[[at[path[id]] for id in ids]][:, [classes.index(name) for name in names]]
        c = float("nan")
    else:
        p, c = probabilities(features, labels)
    entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1)
    sign = np.where(p.argmax(axis=1) == labels, -1, 1)
    self_confidence = get_label_quality_scores(labels, p, method="self_confidence")
    filtered = 1 + self_confidence
    found = find_label_issues(labels, p, return_indices_ranked_by="self_confidence", n_jobs=1)
    filtered[found] = self_confidence[found]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        lab = Datalab({"label": labels}, label_name="label", verbosity=0)
        lab.find_issues(features=features, issue_types={"label": {}})
    selfclean, dataeval = distances(features, labels)
    fine = {
        "cleanlab": self_confidence,
        "cleanlab margin": get_label_quality_scores(labels, p, method="normalized_margin"),
        "cleanlab filter": filtered,
        "datalab": lab.get_issues("label")["label_score"].to_numpy(),
        "kNN": same / np.maximum(known, 1),
        "mistakenness": -(sign * np.exp(-entropy) + 1) / 2,
        "selfclean": selfclean,
        "dataeval": dataeval,
    }
    scores = read(run, "label_scores", ["image_id", "score", "self_confidence"]).to_pydict()
    if sorted(scores["image_id"]) != sorted(ids):
        sys.exit("peer_labels.py: label_scores does not cover all images")
    order = np.array([place[id] for id in scores["image_id"]])
    for name, column in {"prospect": "score", "probe": "self_confidence"}.items():
        fine[name] = np.empty(len(ids))
        fine[name][order] = scores[column]
    print(f"{arguments.case}: {wrong.sum()} of {len(ids)} wrong, C = {c:.2g}")
    for line in calibration(run, fine["prospect"], wrong):
        print("  {noise}, reviewing {reviewed}: recall {recall_low:.3f} to {recall_high:.3f}, true {true_recall:.3f}".format(**line))
    is_new = not os.path.exists(arguments.out)
    with open(arguments.out, "a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(COLUMNS)
        for name, score in fine.items():
            auroc, ap = roc_auc_score(wrong, -score), average_precision_score(wrong, -score)
            p100 = wrong[np.argsort(score, kind="stable")[:100]].mean()
            writer.writerow([*arguments.case.split(","), name, len(ids), wrong.sum(), f"{auroc:.5f}", f"{ap:.5f}", f"{p100:.2f}"])
            print(f"  {name:<16} AUROC {auroc:.4f}  AP {ap:.4f}  P@100 {p100:.2f}")


def calibration(run, score, wrong):
    """Recall from the table label_calibration, and the true one."""
    order = np.argsort(score, kind="stable")
    lines = read(run, "label_calibration", ["noise", "reviewed", "recall", "recall_low", "recall_high"]).to_pylist()
    for line in lines:
        line["true_recall"] = float(wrong[order[:line["reviewed"]]].sum() / wrong.sum())
    return lines


def table(arguments):
    cells = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in csv.DictReader(open(arguments.results)):
        cells[row["kind"], row["rate"], row["network"]][row["detector"]].append(float(row["ap"]))
    names = ["prospect", *sorted({name for cell in cells.values() for name in cell} - {"prospect"})]
    print("| errors | network | seeds | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 3))
    behind = []
    for (kind, rate, network), cell in cells.items():
        means = {name: np.mean(cell[name]) for name in names}
        seeds = len(cell["prospect"])
        print(f"| {kind} {rate} | {network} | {seeds} | " + " | ".join(f"{means[name]:.3f}" for name in names) + " |")
        ahead = [f"{name} {means[name]:.3f}" for name in names if means[name] > means["prospect"]]
        if ahead:
            behind.append(f"{kind} {rate}, {network}: prospect {means['prospect']:.3f}, {', '.join(ahead)}")
    print(f"\nanother detector is ahead in {len(behind)} of {len(cells)} cells:", *behind, sep="\n  ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("sample")
    command.add_argument("--images", required=True)
    command.add_argument("--size", type=int)
    command.add_argument("--tail", type=float)
    command.add_argument("--out", required=True)
    command.set_defaults(run_command=sample)
    command = commands.add_parser("flip")
    command.add_argument("--images", required=True)
    command.add_argument("--kind", choices=["uniform", "class", "tail", "feature", "votes", "own"], required=True)
    command.add_argument("--rate", type=float, default=0)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--votes")
    command.add_argument("--other")
    command.add_argument("--out", required=True)
    command.set_defaults(run_command=flip)
    command = commands.add_parser("evaluate")
    command.add_argument("--run", required=True)
    command.add_argument("--truth", required=True)
    command.add_argument("--case", required=True)
    command.add_argument("--solver", choices=["torch", "probe"], default="torch")
    command.add_argument("--out", required=True)
    command.set_defaults(run_command=evaluate)
    command = commands.add_parser("table")
    command.add_argument("results")
    command.set_defaults(run_command=table)
    arguments = parser.parse_args()
    arguments.run_command(arguments)


main()
