"""Writes projection.safetensors and projection.json: small matrices and scikit-learn's principal components of them.

    python tests/golden/make_projection.py tests/golden

projection.json records the versions of numpy and scikit-learn. Tensors, for each case NAME:
    NAME.data         [n, d] float32
    NAME.mean         [d] float64
    NAME.components   [m, d] float64, PCA(svd_solver="full"), without those of zero variance
    NAME.variance     [m] float64, explained_variance_
    NAME.ratio        [m] float64, explained_variance_ratio_
"""

import json
import pathlib
import sys

import numpy as np
import safetensors
import sklearn
from safetensors.numpy import save_file
from sklearn.decomposition import PCA


def correlated(rng, n, d, decay):
    """Gaussian rows whose variance decreases by the factor `decay` from one random direction to the next."""
    basis, _ = np.linalg.qr(rng.standard_normal((d, d)))
    return rng.standard_normal((n, d)) * decay ** np.arange(d) @ basis


def cases():
    rng = np.random.default_rng(20)
    yield "tall", correlated(rng, 170, 16, 0.8), 16
    yield "wide", correlated(rng, 17, 96, 0.9), 16
    # Means of a thousand standard deviations, and three uninformative columns.
    constant = correlated(rng, 90, 20, 0.75) + rng.uniform(500, 2000, 20)
    constant[:, [0, 7, 19]] = [1234.5, 0.0, -0.1]
    yield "constant", constant, 17
    # More columns than rows, some of them constant; every row occurs twice.
    copies = np.repeat(correlated(rng, 9, 40, 0.8), 2, axis=0)
    copies[:, :5] = 3.25
    yield "copies", copies, 8


def main(folder):
    tensors = {}
    for name, data, meaningful in cases():
        data = data.astype(np.float32)
        exact = data.astype(np.float64)
        pca = PCA(n_components=meaningful, svd_solver="full").fit(exact)
        tensors[f"{name}.data"] = data
        tensors[f"{name}.mean"] = pca.mean_
        tensors[f"{name}.components"] = pca.components_
        tensors[f"{name}.variance"] = pca.explained_variance_
        tensors[f"{name}.ratio"] = pca.explained_variance_ratio_
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(tensors, folder / "projection.safetensors")
    versions = {
        "numpy": np.__version__,
        "safetensors": safetensors.__version__,
        "scikit-learn": sklearn.__version__,
    }
    (folder / "projection.json").write_text(json.dumps({"made_with": versions}, indent=1) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
