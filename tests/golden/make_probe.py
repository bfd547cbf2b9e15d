"""Writes probe.safetensors and probe.json: small sets of labelled vectors and scikit-learn's out-of-fold probabilities for them.

    python tests/golden/make_probe.py tests/golden

probe.json records the versions of numpy, scikit-learn and scipy. Tensors, for each case NAME:
    NAME.features        [n, d] float32
    NAME.labels          [n] uint32, 4294967295 for rows without one
    NAME.folds           [n] uint16, 0 to 4
    NAME.weights         [n] float32, for cases with weights
    NAME.penalties       [penalties] float64
    NAME.probabilities   [penalties, n, classes] float32: LogisticRegression(newton-cholesky, tol=1e-10) in float64, fitted to the labelled rows
                         of the other folds, C = 1 / (penalty * sum of their weights)
    NAME.log_loss        [penalties] float64, weighted mean over labelled rows

No case has fewer than three classes: scikit-learn would penalise a single vector of weights, the pipeline one per class.
"""

import json
import pathlib
import sys

import numpy as np
import safetensors
import scipy
import sklearn
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

FOLDS = 5
NOBODY = 2**32 - 1


def clusters(rng, n, d, classes, apart, decay):
    """Rectified features around class centres, with most of their variance in few directions, as in real networks."""
    basis, _ = np.linalg.qr(rng.standard_normal((d, d)))
    labels = rng.integers(0, classes, n)
    centres = apart * rng.standard_normal((classes, d))
    rows = centres[labels] + rng.standard_normal((n, d))
    return np.maximum(rows * decay ** np.arange(d) @ basis, 0), labels


def cases():
    rng = np.random.default_rng(21)
    features, labels = clusters(rng, 300, 24, 4, 0.6, 0.93)
    yield "plain", features, labels, None, [3e-1, 1e-2, 3e-4]
    # Some labels and weights missing, a rare class, features far from the origin.
    features, labels = clusters(rng, 240, 12, 3, 0.8, 0.9)
    labels[(labels == 2) & (rng.random(240) < 0.8)] = 0
    labels[rng.random(240) < 0.15] = NOBODY
    weights = rng.choice([0.0, 0.25, 1.0, 3.0], 240)
    yield "weighted", features + 40, labels, weights, [1e-1, 1e-3]
    # More features than rows.
    features, labels = clusters(rng, 60, 96, 3, 0.4, 0.97)
    yield "wide", features, labels, None, [1e-1, 1e-3]


def main(folder):
    rng = np.random.default_rng(22)
    tensors = {}
    for name, features, labels, weights, tried in cases():
        features = features.astype(np.float32)
        exact = features.astype(np.float64)
        n = len(labels)
        folds = rng.permutation(np.arange(n) % FOLDS)
        weight = np.ones(n) if weights is None else weights.astype(np.float32).astype(np.float64)
        labelled = labels != NOBODY
        classes = int(labels[labelled].max()) + 1
        probabilities = np.zeros((len(tried), n, classes))
        for at, penalty in enumerate(tried):
            for fold in range(FOLDS):
                train = labelled & (folds != fold)
                C = 1 / (penalty * weight[train].sum())
                model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10)
                model.fit(exact[train], labels[train], sample_weight=weight[train])
                assert len(model.classes_) == classes
                probabilities[at, folds == fold] = model.predict_proba(exact[folds == fold])
        of_label = probabilities[:, labelled, labels[labelled]]
        loss = -(np.log(of_label) * weight[labelled]).sum(1) / weight[labelled].sum()
        tensors[f"{name}.penalties"] = np.array(tried)
        tensors[f"{name}.features"] = features
        tensors[f"{name}.labels"] = labels.astype(np.uint32)
        tensors[f"{name}.folds"] = folds.astype(np.uint16)
        tensors[f"{name}.probabilities"] = probabilities.astype(np.float32)
        tensors[f"{name}.log_loss"] = loss
        if weights is not None:
            tensors[f"{name}.weights"] = weights.astype(np.float32)
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(tensors, folder / "probe.safetensors")
    versions = {
        "numpy": np.__version__,
        "safetensors": safetensors.__version__,
        "scikit-learn": sklearn.__version__,
        "scipy": scipy.__version__,
    }
    (folder / "probe.json").write_text(json.dumps({"made_with": versions}, indent=1) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
