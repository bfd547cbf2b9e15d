"""Writes associations.json: seeded columns and labels with scikit-learn's normalised mutual information and a p-value by
shuffling, and activations of two groups with scikit-learn's area under the ROC curve.

    python tests/golden/make_associations.py tests/golden

associations.json records the library versions. `associations`, each:
    values, labels    [n] small integers, one per image
    nmi               normalized_mutual_info_score(labels, values), arithmetic
    p_value           (1 + shuffles of the labels with at least this mutual information) / (1 + 20,000)
`curves`, each:
    values, inside    [n] numbers, with ties, and 0 or 1
    auroc             roc_auc_score(inside, values)
"""

import json
import pathlib
import sys

import numpy as np
import sklearn
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score

SHUFFLES = 20_000


def mutual(values, labels):
    """A monotone function of the mutual information for fixed margins."""
    counts = np.bincount(values * (labels.max() + 1) + labels).astype(float)
    counts = counts[counts > 0]
    return (counts * np.log(counts)).sum()


def cases(rng):
    labels = rng.integers(0, 4, 90)
    yield "unrelated", rng.integers(0, 3, 90), labels
    yield "weak", np.where(rng.random(90) < 0.25, labels, rng.integers(0, 4, 90)), labels
    yield "weaker", np.where(rng.random(90) < 0.12, labels, rng.integers(0, 4, 90)), labels
    yield "strong", np.where(rng.random(90) < 0.8, labels, rng.integers(0, 4, 90)), labels
    yield "same", (labels + 1) % 4, labels
    yield "rare", (np.arange(60) < 3).astype(int), (np.arange(60) % 10 < 2).astype(int)
    yield "many", rng.integers(0, 12, 150), rng.integers(0, 9, 150)


def main(folder):
    rng = np.random.default_rng(11)
    associations, curves = [], []
    for name, values, labels in cases(rng):
        observed = mutual(values, labels)
        reached = sum(mutual(values, rng.permutation(labels)) >= observed - 1e-9 for _ in range(SHUFFLES))
        associations.append({
            "name": name,
            "values": values.tolist(),
            "labels": labels.tolist(),
            "nmi": normalized_mutual_info_score(labels, values),
            "p_value": (1 + reached) / (1 + SHUFFLES),
        })
    for n, share, shift in [(40, 0.5, 0.0), (70, 0.1, 1.0), (200, 0.3, -0.4)]:
        inside = (np.arange(n) < n * share).astype(int)
        values = np.maximum(np.round(rng.normal(shift * inside, 1.0), 1), 0.0)
        curves.append({"values": values.tolist(), "inside": inside.tolist(), "auroc": roc_auc_score(inside, values)})
    versions = {"numpy": np.__version__, "scikit-learn": sklearn.__version__}
    text = json.dumps({"versions": versions, "associations": associations, "curves": curves})
    (folder / "associations.json").write_text(text + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
