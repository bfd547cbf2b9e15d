#!/usr/bin/env python3
"""Injects label errors and compares detectors: Prospect, cleanlab, kNN voting and FiftyOne's mistakenness.

    peer_labels.py flip --images DIR --kind random|human --rate 0.1 --seed 1 [--confusion PAIRS.csv] --out LABELS.csv
    peer_labels.py evaluate --run RUN --truth LABELS.csv [--title NAME] [--out RESULTS.jsonl] [--solver sklearn|torch]
    peer_labels.py table RESULTS.jsonl
needs: pip install cleanlab==2.9.0 (which brings numpy, pandas and scikit-learn) pyarrow

flip      takes each image's folder as its true label and writes `file_name,label,true_label`, with a fraction RATE of wrong labels.
          random: every class has its own rate (0.5 to 1.5 times RATE, RATE on average) and its own skewed distribution of wrong
          labels. human: every class has the rate RATE, and wrong labels are drawn with the weights of PAIRS.csv
          (`label,other,weight`: how often people mistake one for the other).
evaluate  reads the run's tables (features, neighbors, label_scores) and prints each detector's AUROC, average precision and
          precision at 100. All detectors use the same features, and all but Prospect's the same out-of-fold probabilities, from
          scikit-learn's LogisticRegression (lbfgs) in five stratified folds, C chosen by the out-of-fold log-loss on a grid of two
          values per power of ten.
            cleanlab             get_label_quality_scores(method="self_confidence")
            cleanlab, margin     get_label_quality_scores(method="normalized_margin")
            kNN voting           share of the 20 nearest images (the run's table) with the same label
            mistakenness         fiftyone-brain's formula: (m exp(-entropy) + 1) / 2, m = -1 if the prediction is the label, else 1
          --solver torch minimises the same function with L-BFGS in PyTorch, many times faster.
table     averages over seeds.
"""

import argparse
import collections
import csv
import json
import pathlib
import sys

import numpy as np

GRID = [10.0 ** (power / 2) for power in range(-8, 3)]
FOLDS = 5
NAMES = {"prospect": "score", "prospect, self-confidence": "self_confidence"}


def flip(arguments):
    root = pathlib.Path(arguments.images)
    paths = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.parent != root)
    true = [path.split("/")[0] for path in paths]
    classes = sorted(set(true))
    k = len(classes)
    number = np.array([classes.index(name) for name in true])
    random = np.random.default_rng([arguments.seed, int(1000 * arguments.rate), arguments.kind == "human"])
    others = np.zeros((k, k))
    if arguments.kind == "human":
        rates = np.full(k, arguments.rate)
        for row in csv.DictReader(open(arguments.confusion)):
            if row["label"] != row["other"]:
                others[classes.index(row["label"]), classes.index(row["other"])] += float(row["weight"])
        others /= others.sum(axis=1, keepdims=True)
    else:
        rates = random.uniform(0.5, 1.5, k)
        rates *= arguments.rate / np.average(rates, weights=np.bincount(number, minlength=k))
        for own in range(k):
            others[own, np.arange(k) != own] = random.dirichlet(np.full(k - 1, 0.5))
    label = number.copy()
    for own in range(k):
        rows = np.flatnonzero(number == own)
        wrong = random.choice(rows, int(round(rates[own] * len(rows))), replace=False)
        label[wrong] = random.choice(k, len(wrong), p=others[own])
    with open(arguments.out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "label", "true_label"])
        writer.writerows((path, classes[a], classes[b]) for path, a, b in zip(paths, label, number))


def read(run, table, columns):
    import pyarrow.parquet as parquet
    import pyarrow as arrow
    manifest = json.load(open(run / "manifest.json"))
    files = [file["path"] for stage in manifest["stages"].values() for _, part in sorted(stage["parts"].items(), key=lambda p: int(p[0]))
             for file in part["files"] if file.get("table") == table]
    if not files:
        sys.exit(f"peer_labels.py: {run} has no table {table}")
    return arrow.concat_tables(parquet.read_table(run / file, columns=columns) for file in files)


def probabilities(features, labels, solver):
    """Out-of-fold probabilities `[rows, classes]`, the chosen C, and the log-loss of each C."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(features, labels))
    k = labels.max() + 1
    tried, best = {}, None
    fits = [None] * FOLDS
    for c in GRID:
        out = np.zeros((len(labels), k))
        for number, (train, test) in enumerate(folds):
            if solver == "torch":
                fits[number] = minimise(features[train], labels[train], k, c, fits[number])
                scores = features[test] @ fits[number][0] + fits[number][1]
                scores = np.exp(scores - scores.max(axis=1, keepdims=True))
                out[test] = scores / scores.sum(axis=1, keepdims=True)
                continue
            fits[number] = fits[number] or LogisticRegression(max_iter=2000, warm_start=True)
            fits[number].set_params(C=c).fit(features[train], labels[train])
            out[test] = fits[number].predict_proba(features[test])
        tried[c] = log_loss(labels, out, labels=np.arange(k))
        if best is None or tried[c] < tried[best[0]]:
            best = (c, out)
        elif tried[c] > 1.02 * tried[best[0]]:
            break
    return best[1], best[0], tried


def minimise(features, labels, k, c, start):
    """Minimise LogisticRegression's objective: the summed cross-entropy plus |W|^2 / (2 C)."""
    import torch
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    mean = x.mean(0)
    x = x - mean
    # Whitening speeds up L-BFGS; the penalty is on the original weights.
    values, vectors = torch.linalg.eigh((x.T @ x).double())
    scale = vectors.float() / (0.2 * values.clamp(min=0).float() + 1 / c).sqrt()
    back = torch.linalg.inv(scale)
    z = x @ scale
    weights, bias = torch.zeros(x.shape[1], k), torch.zeros(k)
    if start is not None:
        weights, bias = back @ torch.from_numpy(start[0]), torch.from_numpy(start[1] + mean.numpy() @ start[0])
    weights.requires_grad_(), bias.requires_grad_()
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=200, tolerance_grad=1e-3, tolerance_change=1e-7, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(z @ weights + bias, y, reduction="sum") + ((scale @ weights) ** 2).sum() / (2 * c)
        loss.backward()
        return loss
    optimiser.step(closure)
    own = (scale @ weights.detach()).numpy()
    return own, bias.detach().numpy() - mean.numpy() @ own


def evaluate(arguments):
    from cleanlab.rank import get_label_quality_scores
    from sklearn.metrics import average_precision_score, roc_auc_score
    run = pathlib.Path(arguments.run)
    truth = {row["file_name"]: row for row in csv.DictReader(open(arguments.truth))}
    images = read(run, "images", ["image_id", "path"]).to_pydict()
    path = dict(zip(images["image_id"], images["path"]))
    vectors = read(run, "features", ["image_id", "vector"])
    ids = vectors["image_id"].to_numpy()
    features = vectors["vector"].combine_chunks().flatten().to_numpy().reshape(len(ids), -1).astype(np.float32)
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

    p, c, tried = probabilities(features, labels, arguments.solver)
    entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1)
    sign = np.where(p.argmax(axis=1) == labels, -1, 1)
    fine = {
        "cleanlab": get_label_quality_scores(labels, p, method="self_confidence"),
        "cleanlab, margin": get_label_quality_scores(labels, p, method="normalized_margin"),
        "kNN voting": same / np.maximum(known, 1),
        "mistakenness": -(sign * np.exp(-entropy) + 1) / 2,
    }
    scores = read(run, "label_scores", ["image_id", *NAMES.values()]).to_pydict()
    if sorted(scores["image_id"]) != sorted(ids):
        sys.exit("peer_labels.py: label_scores does not cover all images")
    order = np.array([place[id] for id in scores["image_id"]])
    for name, column in NAMES.items():
        fine[name] = np.empty(len(ids))
        fine[name][order] = scores[column]
    result = {"title": arguments.title, "images": len(ids), "wrong": int(wrong.sum()), "C": c, "log_loss": tried, "detectors": {}}
    for name, score in fine.items():
        first = np.argsort(score, kind="stable")[:100]
        result["detectors"][name] = {"auroc": roc_auc_score(wrong, -score), "ap": average_precision_score(wrong, -score),
                                     "p100": float(wrong[first].mean())}
    result["calibration"] = calibration(run, fine["prospect"], wrong)
    show(result["title"], result["detectors"])
    for line in result["calibration"]:
        print("  {noise}, reviewing {reviewed}: recall {recall_low:.3f} to {recall_high:.3f}, true {true_recall:.3f}".format(**line))
    if arguments.out:
        with open(arguments.out, "a") as file:
            print(json.dumps(result), file=file)


def calibration(run, score, wrong):
    """Recall from the table label_calibration, and the true one."""
    order = np.argsort(score, kind="stable")
    lines = read(run, "label_calibration", ["noise", "reviewed", "recall", "recall_low", "recall_high"]).to_pylist()
    for line in lines:
        found = wrong[order[:line["reviewed"]]].sum()
        line["true_recall"] = float(found / wrong.sum())
    return lines


def show(title, detectors):
    print(f"{title}\n  {'detector':<28} AUROC     AP  P@100")
    for name, figures in detectors.items():
        print(f"  {name:<28} {figures['auroc']:.4f} {figures['ap']:.4f}  {figures['p100']:.2f}")


def table(arguments):
    cells = collections.defaultdict(list)
    for line in open(arguments.results):
        result = json.loads(line)
        cells[result["title"].rsplit(", seed ", 1)[0]].append(result)
    for title, results in cells.items():
        means = {name: {key: np.mean([result["detectors"][name][key] for result in results]) for key in ["auroc", "ap", "p100"]}
                 for name in results[0]["detectors"]}
        show(f"{title}, mean of {len(results)}", means)
        holds = []
        for result in results:
            of_size = collections.defaultdict(list)
            for line in result["calibration"]:
                of_size[line["reviewed"]].append(line)
            for lines in of_size.values():
                low, high = min(line["recall_low"] for line in lines), max(line["recall_high"] for line in lines)
                holds.append(low <= lines[0]["true_recall"] <= high)
        if holds:
            print(f"  calibration: the range over all kinds of noise holds the true recall in {sum(holds)} of {len(holds)} cases")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("flip")
    command.add_argument("--images", required=True)
    command.add_argument("--kind", choices=["random", "human"], required=True)
    command.add_argument("--rate", type=float, required=True)
    command.add_argument("--seed", type=int, required=True)
    command.add_argument("--confusion")
    command.add_argument("--out", required=True)
    command.set_defaults(run_command=flip)
    command = commands.add_parser("evaluate")
    command.add_argument("--run", required=True)
    command.add_argument("--truth", required=True)
    command.add_argument("--title", default="labels")
    command.add_argument("--out")
    command.add_argument("--solver", choices=["sklearn", "torch"], default="sklearn")
    command.set_defaults(run_command=evaluate)
    command = commands.add_parser("table")
    command.add_argument("results")
    command.set_defaults(run_command=table)
    arguments = parser.parse_args()
    arguments.run_command(arguments)


main()
