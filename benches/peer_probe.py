"""Counterpart of benches/probe.rs with scikit-learn's LogisticRegression(lbfgs), fold by fold, on float32 features.

    peer_probe.py FEATURES.f32 DIMENSION LABELS.u32 FOLDS.u16 THREADS

Prints its version and settings. For every line `L2 TOLERANCE MAX_ITER` on standard input, fits one model per fold on the other
folds, with C = 1 / (L2 * rows), and prints the seconds, the out-of-fold log-loss and accuracy, and the maximum number of
iterations. `search L2 L2 ...` fits decreasing penalties one after the other, each starting from the last (warm_start), at the
default tolerance.
"""

import os
import sys
import time

THREADS = sys.argv[5]
os.environ.update(OMP_NUM_THREADS=THREADS, OPENBLAS_NUM_THREADS=THREADS, MKL_NUM_THREADS=THREADS)

import warnings  # noqa: E402

import numpy  # noqa: E402
import sklearn  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

MAX_ITERATIONS = 10_000


def main():
    features = numpy.fromfile(sys.argv[1], dtype="<f4").reshape(-1, int(sys.argv[2]))
    labels = numpy.fromfile(sys.argv[3], dtype="<u4")
    folds = numpy.fromfile(sys.argv[4], dtype="<u2")
    warnings.simplefilter("ignore")
    # Instead of warnings, the number of iterations shows convergence.
    sets = [(folds != fold, folds == fold) for fold in range(folds.max() + 1)]
    # Split in advance, so that copying is not timed.
    sets = [(features[train], labels[train], features[held], labels[held]) for train, held in sets]
    print(f"scikit-learn {sklearn.__version__} LogisticRegression(lbfgs)", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "search":
            penalties, tolerance, max_iter = [float(word) for word in words[1:]], 1e-4, MAX_ITERATIONS
        else:
            penalties, tolerance, max_iter = [float(words[0])], float(words[1]), int(words[2])
        took, loss, right, iterations = 0.0, 0.0, 0, 0
        for train, train_labels, held, held_labels in sets:
            start = time.perf_counter()
            model = LogisticRegression(tol=tolerance, max_iter=max_iter, warm_start=True)
            for penalty in penalties:
                model.C = 1 / (penalty * len(train_labels))
                model.fit(train, train_labels)
                iterations = max(iterations, int(model.n_iter_.max()))
                probabilities = model.predict_proba(held)
            took += time.perf_counter() - start
            loss -= numpy.log(probabilities[numpy.arange(len(held_labels)), held_labels].astype(float)).sum()
            right += (probabilities.argmax(1) == held_labels).sum()
        print(took, loss / len(labels), right / len(labels), iterations, flush=True)


main()
