#!/usr/bin/env python3
"""Make the golden values for confident learning: the counts of cleanlab for ten random problems.

usage: python tests/golden/make_label_issues.py      (rewrites label_issues.json beside this script, which records the versions)
needs: pip install cleanlab==2.9.0

Probabilities are integer multiples of 1 / `parts`, so they are the same in every float format. With few parts there are ties:
between a row's classes, between rows, and with thresholds. In some problems, no row is labelled with some of the classes.
When cleanlab sorts, numpy does not define the order of equal values: the sort is replaced with a stable one here.

Per problem: `labels`, `counts` [rows, classes] of parts, and from cleanlab
    thresholds          get_confident_thresholds
    joint, calibrated   compute_confident_joint [label, true class], without and with calibration
    off_diagonal, noise_rate, by_class, both    rows that find_label_issues finds by confident_learning, prune_by_noise_rate,
                                                prune_by_class, both
    argmax              rows whose label is not the most probable class (find_predicted_neq_given)
    self_confidence, normalized_margin          get_label_quality_scores
"""
import json
import os
import warnings

import cleanlab
import numpy as np
from cleanlab import count, filter as issues, rank

SEED = 7
# rows, classes, parts, fraction of wrong labels, classes without labelled rows
PROBLEMS = [
    (60, 2, 1000, 0.1, []),
    (80, 3, 1000, 0.2, []),
    (120, 5, 1000, 0.3, []),
    (100, 4, 8, 0.2, []),
    (90, 3, 4, 0.3, []),
    (70, 6, 1000, 0.2, [2, 5]),
    (60, 5, 10, 0.3, [0]),
    (40, 10, 100, 0.1, [3]),
    (12, 3, 6, 0.5, []),
    (150, 7, 20, 0.4, [6]),
]


def in_order():
    """A stable numpy.argsort."""
    unordered = np.argsort
    np.argsort = lambda values, *args, **options: unordered(values, *args, **{**options, "kind": "stable"})


def problem(random, rows, classes, parts, wrong, missing):
    there = [c for c in range(classes) if c not in missing]
    true = random.choice(there, rows)
    labels = np.where(random.random(rows) < wrong, random.choice(there, rows), true)
    # Every class that is not deliberately missing has a row.
    labels[:len(there)] = there
    sharp = random.uniform(0.5, 4, rows)
    mean = np.full((rows, classes), 0.4)
    mean[np.arange(rows), true] += sharp
    counts = np.stack([random.multinomial(parts, random.dirichlet(alpha)) for alpha in mean])
    return labels, counts


def answers(labels, probabilities):
    found = {}
    for name, by in [("off_diagonal", "confident_learning"), ("noise_rate", "prune_by_noise_rate"), ("by_class", "prune_by_class"),
                     ("both", "both")]:
        mask = issues.find_label_issues(labels, probabilities, filter_by=by, n_jobs=1)
        found[name] = np.flatnonzero(mask).tolist()
    found["argmax"] = np.flatnonzero(issues.find_predicted_neq_given(labels, probabilities)).tolist()
    assert len(found["off_diagonal"]) == count.num_label_issues(labels, probabilities)
    scores = {name: rank.get_label_quality_scores(labels, probabilities, method=name).tolist()
              for name in ["self_confidence", "normalized_margin"]}
    return {
        "thresholds": count.get_confident_thresholds(labels, probabilities).tolist(),
        "joint": count.compute_confident_joint(labels, probabilities, calibrate=False).tolist(),
        "calibrated": count.compute_confident_joint(labels, probabilities, calibrate=True).tolist(),
        **found, **scores,
    }


def main():
    in_order()
    warnings.simplefilter("ignore")
    random = np.random.default_rng(SEED)
    problems = []
    for rows, classes, parts, wrong, missing in PROBLEMS:
        labels, counts = problem(random, rows, classes, parts, wrong, missing)
        # Prospect stores f32.
        probabilities = (counts / parts).astype(np.float32).astype(np.float64)
        problems.append({"classes": classes, "parts": parts, "labels": labels.tolist(), "counts": counts.tolist(),
                         **answers(labels, probabilities)})
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "label_issues.json")
    with open(path, "w") as file:
        json.dump({"cleanlab": cleanlab.__version__, "numpy": np.__version__, "problems": problems}, file,
                  separators=(",", ":"))
        file.write("\n")


main()
