"""Writes associations.json: seeded columns and labels with scikit-learn's normalised and adjusted mutual information and a p-value
by shuffling; activations of two groups with scikit-learn's area under the ROC curve; p-values and corrections of scipy.

    python tests/golden/make_associations.py tests/golden

associations.json records the library versions. `associations`, each:
    values, labels    [n] small integers, one per image
    nmi               normalized_mutual_info_score(labels, values), arithmetic
    ami               adjusted_mutual_info_score(labels, values), arithmetic
    p_value           (1 + shuffles of the labels with at least this mutual information) / (1 + 20,000)
`curves`, each:
    values, inside    [n] numbers, with ties, and 0 or 1
    auroc             roc_auc_score(inside, values)
`fisher`              [hits, n, other hits, other n, p]: fisher_exact, alternative "less"
`chi_squared`         [x, degrees of freedom, p]: chi2.sf
`benjamini_hochberg`  p_values, q_values: false_discovery_control, method "bh"
"""

import json
import pathlib
import sys

import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score, roc_auc_score

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


def less(hits, n, other_hits, other_n):
    table = [[hits, n - hits], [other_hits, other_n - other_hits]]
    return float(stats.fisher_exact(table, alternative="less").pvalue)


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
            "ami": adjusted_mutual_info_score(labels, values),
            "p_value": (1 + reached) / (1 + SHUFFLES),
        })
    for n, share, shift in [(40, 0.5, 0.0), (70, 0.1, 1.0), (200, 0.3, -0.4)]:
        inside = (np.arange(n) < n * share).astype(int)
        values = np.maximum(np.round(rng.normal(shift * inside, 1.0), 1), 0.0)
        curves.append({"values": values.tolist(), "inside": inside.tolist(), "auroc": roc_auc_score(inside, values)})
    tables = [(0, 10, 30, 60), (7, 10, 30, 60), (10, 10, 30, 60), (3, 40, 900, 1000), (812, 1000, 8300, 10_000),
              (60, 60, 0, 12), (0, 5, 0, 9), (200, 5000, 40_000, 500_000), (5, 5, 9, 9), (1, 30, 2, 2000)]
    fisher = [[*table, less(*table)] for table in tables]
    chi_squared = [[x, k, stats.chi2.sf(x, k)] for x, k in
                   [(0.0, 3), (0.1, 1), (3.8, 1), (30.0, 1), (9.0, 9), (25.0, 12), (900.0, 999), (1200.0, 999), (400.0, 10)]]
    p_values = np.concatenate([rng.random(20), rng.random(5) / 1000, [1.0, 0.0, 0.5, 0.5]])
    adjusted = {"p_values": p_values.tolist(), "q_values": stats.false_discovery_control(p_values, method="bh").tolist()}
    versions = {"numpy": np.__version__, "scikit-learn": sklearn.__version__, "scipy": scipy.__version__}
    text = json.dumps({"versions": versions, "associations": associations, "curves": curves, "fisher": fisher,
                       "chi_squared": chi_squared, "benjamini_hochberg": adjusted})
    (folder / "associations.json").write_text(text + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
