"""What benches/neighbors.rs does, with faiss-cpu's IndexFlatL2.

    peer_neighbors.py VECTORS.f32 DIMENSION K

Says its version; then, for every line on standard input, fills an index, searches all rows and answers with the seconds.
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
        # One more, for the row itself.
        index.search(vectors, k + 1)
        print(time.perf_counter() - start, flush=True)


main()
