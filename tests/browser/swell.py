#!/usr/bin/env python3
"""Adds synthetic images to a finished run, to test its report at scale.

    python3 tests/browser/swell.py RUN 1000000

The tables images, predictions, projection and issues grow to the given number of images, with classes correlated with clusters and
a finding for every hundredth image. Nothing else changes, so `prospect run report` accepts the run. The synthetic images have no
files; their `error` says so. Needs numpy and pyarrow.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CLUSTERS = 40


class Run:
    def __init__(self, folder):
        self.folder = folder
        self.manifest = json.loads((folder / "manifest.json").read_text())

    def files(self, table):
        """The records of a table's files, by part."""
        return [
            record for stage in self.manifest["stages"].values() for _, part in sorted(stage["parts"].items(), key=lambda item: int(item[0]))
            for record in part["files"] if record.get("table") == table
        ]

    def append(self, record, columns):
        """Appends rows to a file; columns not given are null or, if not nullable, repeat its first row."""
        path = self.folder / record["path"]
        rows = pq.read_table(path)
        n = len(next(iter(columns.values())))
        more = []
        for field in rows.schema:
            if field.name in columns:
                more.append(pa.array(columns[field.name]).cast(field.type))
            elif field.nullable:
                more.append(pa.nulls(n, field.type))
            else:
                first = rows.column(field.name).combine_chunks().slice(0, 1)
                more.append(first.take(pa.array(np.zeros(n, np.int64))))
        rows = pa.concat_tables([rows, pa.Table.from_arrays(more, schema=rows.schema)])
        pq.write_table(rows, path, row_group_size=25_000, compression="zstd", compression_level=1)
        record.update(rows=rows.num_rows, bytes=path.stat().st_size, blake3="")

    def finish(self):
        (self.folder / "manifest.json").write_text(json.dumps(self.manifest, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=int)
    args = parser.parse_args()
    run = Run(args.run)
    rng = np.random.default_rng(1)
    images = run.files("images")
    before = sum(record["rows"] for record in images)
    n = args.images - before
    ids = np.arange(before, args.images, dtype=np.uint32)
    classes = pq.read_table(run.folder / run.files("classes")[0]["path"]).to_pylist()
    names = {row["class"]: row["name"] for row in classes if row["source"] == "dataset"}
    known = np.array(sorted(names))
    cluster = rng.integers(0, CLUSTERS, n)
    label = known[cluster % known.size]
    pred = np.where(rng.random(n) < 0.9, label, known[rng.integers(0, known.size, n)])

    run.append(images[-1], {
        "image_id": ids, "path": np.char.mod("synthetic/%08d.jpg", ids), "label": label.astype(np.int32),
        "label_name": np.array([names[c] for c in known])[cluster % known.size], "error": np.full(n, "synthetic: no file"),
    })
    run.append(run.files("predictions")[-1], {"image_id": ids, "pred": pred.astype(np.int32), "p_pred": rng.random(n, np.float32)})
    for record in run.files("projection"):
        place = pq.read_table(run.folder / record["path"], columns=["x", "y"])
        x, y = (place.column(axis).to_numpy() for axis in "xy")
        centre = rng.random((CLUSTERS, 2)) * [np.ptp(x), np.ptp(y)] + [x.min(), y.min()]
        spread = rng.standard_normal((n, 2)) * [np.ptp(x) / 50, np.ptp(y) / 50]
        at = (centre[cluster] + spread).astype(np.float32)
        run.append(record, {"image_id": ids, "x": at[:, 0], "y": at[:, 1]})
    odd = ids[::100]
    run.append(run.files("issues")[-1], {
        "image_id": odd, "kind": np.full(odd.size, "outlier"), "score": rng.random(odd.size, np.float32),
        "flagged": np.ones(odd.size, bool), "evidence": np.full(odd.size, "synthetic"), "rank": np.arange(odd.size, dtype=np.int32) + 10_000,
    })
    run.finish()


if __name__ == "__main__":
    main()
