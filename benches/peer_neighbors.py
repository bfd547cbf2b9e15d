"""Counterpart of benches/neighbors.rs with faiss-cpu's IndexFlatL2.

    peer_neighbors.py VECTORS.f32 DIMENSION K

Prints its version; then, for every line on standard input, builds an index, searches for all rows and prints the seconds.
"""

import sys
import time

import faiss
import numpy


def main():
    path, dimension, k = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    vectors = numpy.fromfile(path, dtype="<f4").reshape(-1, dimension)
    print(f"faiss {faiss.__version__} IndexFlatL2", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        index = faiss.IndexFlatL2(dimension)
        index.add(vectors)
        # One more, since a row is its own nearest neighbour.
        index.search(vectors, k + 1)
        print(time.perf_counter() - start, flush=True)


main()
