"""What benches/probe.rs does, with scikit-learn's LogisticRegression(lbfgs), fold by fold, on float32 features.

    peer_probe.py FEATURES.f32 DIMENSION LABELS.u32 FOLDS.u16 THREADS

Says its version and settings; then for every line on standard input, `L2 TOLERANCE MAX_ITER`, fits a model for each fold on the rows
of the others at C = 1 / (L2 * rows) and answers with the seconds, the log-loss and the accuracy out of fold, and the most
iterations that a fold took. `search L2 L2 ...` does so for one penalty after another, from the strongest, each starting from the
one before (warm_start), at the default tolerance.
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

MOST = 10_000


def main():
    features = numpy.fromfile(sys.argv[1], dtype="<f4").reshape(-1, int(sys.argv[2]))
    labels = numpy.fromfile(sys.argv[3], dtype="<u4")
    folds = numpy.fromfile(sys.argv[4], dtype="<u2")
    warnings.simplefilter("ignore")
    # Whether a fold has come to its end is told by its iterations.
    sets = [(folds != fold, folds == fold) for fold in range(folds.max() + 1)]
    # Cut beforehand, so that copies are no part of the time.
    sets = [(features[train], labels[train], features[held], labels[held]) for train, held in sets]
    print(f"scikit-learn {sklearn.__version__} LogisticRegression(lbfgs)", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "search":
            penalties, tolerance, most = [float(word) for word in words[1:]], 1e-4, MOST
        else:
            penalties, tolerance, most = [float(words[0])], float(words[1]), int(words[2])
        took, loss, right, iterations = 0.0, 0.0, 0, 0
        for train, of_train, held, of_held in sets:
            start = time.perf_counter()
            model = LogisticRegression(tol=tolerance, max_iter=most, warm_start=True)
            for penalty in penalties:
                model.C = 1 / (penalty * len(of_train))
                model.fit(train, of_train)
                iterations = max(iterations, int(model.n_iter_.max()))
                probabilities = model.predict_proba(held)
            took += time.perf_counter() - start
            loss -= numpy.log(probabilities[numpy.arange(len(of_held)), of_held].astype(float)).sum()
            right += (probabilities.argmax(1) == of_held).sum()
        print(took, loss / len(labels), right / len(labels), iterations, flush=True)


main()
