#!/usr/bin/env python3
"""Injects copies of photos, and evaluates how many `prospect run duplicates` and common methods find.

usage: peer_duplicates.py inject IMAGES TARGET [--photos N] [--seed N]
       peer_duplicates.py evaluate TARGET --run RUN

`inject` creates TARGET/images with links to IMAGES and five copies of each of N photos: reencoded (JPEG, quality 50 to 90), resized
(0.5 to 0.9), cropped (by a tenth of width and height), mirrored, and turned to any orientation; TARGET/truth.csv lists them.
`evaluate` compares the groups of the run's table `duplicates` with connected components of pairs by imagehash.phash (at most 10 of 64 bits differ, as is common) and
by the cosine of the run's features (above 0.9, as in fastdup). Prints for each method: recall per kind, the share of copies in one
group with their original; precision, the share of pairs within groups that are copies of one photo; and the largest group. Copies
that IMAGES already contains count as false positives for all methods.
Needs: pip install ImageHash pillow pyarrow scipy
"""
import argparse
import csv
import glob
import json
import os
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

KINDS = ["encoded", "resized", "cropped", "mirrored", "rotated"]
SUFFIXES = {".jpg", ".jpeg", ".png"}


def inject(options):
    rng = random.Random(options.seed)
    source, target = Path(options.images).resolve(), Path(options.target) / "images"
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    for file in files:
        link = target / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    rows = []
    for file in sorted(rng.sample(files, options.photos)):
        name = file.relative_to(source)
        photo = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
        width, height = photo.size
        scale = rng.uniform(0.5, 0.9)
        left, top = rng.uniform(0, 0.1), rng.uniform(0, 0.1)
        box = [left * width, top * height, (left + 0.9) * width, (top + 0.9) * height]
        copies = {
            "encoded": (photo, rng.randint(50, 90)),
            "resized": (photo.resize((round(width * scale), round(height * scale)), Image.LANCZOS), 92),
            "cropped": (photo.crop([round(edge) for edge in box]), 92),
            "mirrored": (ImageOps.mirror(photo), 92),
            "rotated": (photo.transpose(rng.choice(list(Image.Transpose))), 92),
        }
        for kind in KINDS:
            copy = name.with_name(f"zz_{name.stem}_{kind}.jpg")
            copies[kind][0].save(target / copy, quality=copies[kind][1])
            rows.append([str(name), str(copy), kind])
    with open(target.parent / "truth.csv", "w", newline="") as out:
        csv.writer(out).writerows([["original", "copy", "kind"], *rows])
    print(json.dumps({"photos": len(files), "copies": len(rows)}))


def table(run, name, columns):
    import pyarrow.parquet as pq
    return pq.read_table(sorted(glob.glob(os.path.join(run, "tables", name, "*.parquet"))), columns=columns)


def components(n, pairs):
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def by_hash(folder, paths):
    import imagehash
    hashes = np.array([imagehash.phash(Image.open(os.path.join(folder, path))).hash.ravel() for path in paths])
    bits = hashes.astype(np.float32)
    distances = bits.sum(1)[:, None] + bits.sum(1)[None] - 2 * bits @ bits.T
    return components(len(paths), np.argwhere(np.triu(distances <= 10.5, 1)))


def by_cosine(run, n):
    rows = table(run, "features", ["image_id", "vector"]).sort_by("image_id")
    ids = rows["image_id"].to_numpy()
    vectors = np.array(rows["vector"].combine_chunks().flatten().to_numpy()).reshape(len(ids), -1)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return components(n, ids[np.argwhere(np.triu(vectors @ vectors.T > 0.9, 1))])


def of_run(run, n):
    rows = table(run, "duplicates", ["image_a", "image_b", "group_id"]).to_pydict()
    groups = np.arange(n)
    for image in ("image_a", "image_b"):
        groups[rows[image]] = rows["group_id"]
    return groups


def evaluate(options):
    folder = os.path.join(options.target, "images")
    paths = table(options.run, "images", ["image_id", "path"]).sort_by("image_id")["path"].to_pylist()
    place = {path: at for at, path in enumerate(paths)}
    family = list(range(len(paths)))
    with open(os.path.join(options.target, "truth.csv"), newline="") as truth:
        copies = [(place[row["original"]], place[row["copy"]], row["kind"]) for row in csv.DictReader(truth)]
    for original, copy, _ in copies:
        family[copy] = original
    methods = {
        "prospect": of_run(options.run, len(paths)),
        "imagehash.phash <= 10": by_hash(folder, paths),
        "cosine > 0.9": by_cosine(options.run, len(paths)),
    }
    for method, groups in methods.items():
        found = {"method": method}
        for kind in KINDS:
            of_kind = [(a, b) for a, b, of in copies if of == kind]
            found[f"recall_{kind}"] = round(sum(groups[a] == groups[b] for a, b in of_kind) / len(of_kind), 4)
        members = defaultdict(list)
        for image, group in enumerate(groups):
            members[group].append(family[image])
        pairs = sum(len(group) * (len(group) - 1) // 2 for group in members.values())
        right = sum(n * (n - 1) // 2 for group in members.values() for n in Counter(group).values())
        found["precision"] = round(right / max(pairs, 1), 4)
        found["largest_group"] = max(map(len, members.values()))
        print(json.dumps(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("inject")
    command.add_argument("images")
    command.add_argument("target")
    command.add_argument("--photos", type=int, default=100)
    command.add_argument("--seed", type=int, default=1)
    command.set_defaults(act=inject)
    command = commands.add_parser("evaluate")
    command.add_argument("target")
    command.add_argument("--run", required=True)
    command.set_defaults(act=evaluate)
    options = parser.parse_args()
    options.act(options)


if __name__ == "__main__":
    main()
