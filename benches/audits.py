#!/usr/bin/env python3
"""Generate a synthetic run folder with all tables of the named queries, and time the queries on it.

    python benches/audits.py make /tmp/million --images 1000000
    python benches/audits.py time /tmp/million --prospect target/release/prospect --repeat 3

The rows are random but consistent: images with wrong labels have neighbours of another class, copies share a group, a marker
on the images of one class activates one unit. Needs pyarrow and numpy, and blake3 for checksums that `prospect verify` accepts.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

try:
    from blake3 import blake3
except ImportError:
    blake3 = None

CLASSES = 20
LAYERS = {"layer3": 256, "layer4": 512}
TOP = 9


class Run:
    """Writes a run folder: tables in parts, then the manifest."""

    def __init__(self, root):
        self.root = root
        self.stages = {}

    def write(self, stage, table, columns, schema, parts=1):
        record = self.stages.setdefault(stage, {})
        table_rows = pa.table(columns, schema=schema)
        step = max(1, math.ceil(table_rows.num_rows / parts))
        for part in range(parts):
            rows = table_rows.slice(part * step, step)
            path = f"tables/{table}/part-{part:05}.parquet"
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, file, row_group_size=25_000, compression="zstd", compression_level=1)
            content = file.read_bytes()
            record.setdefault(part, []).append({
                "table": table, "path": path, "rows": rows.num_rows, "bytes": len(content),
                "blake3": blake3(content).hexdigest() if blake3 else "",
            })

    def finish(self):
        stages = {
            name: {
                "key": "synthetic", "version": 1, "parameters": {}, "needs": {}, "parts_total": len(parts),
                "complete": True, "result": None, "summary": {},
                "parts": {str(part): {"files": files, "seconds": 0.0} for part, files in parts.items()},
            }
            for name, parts in self.stages.items()
        }
        (self.root / "manifest.json").write_text(json.dumps({"format": 1, "stages": stages}, indent=1))


def schema(**columns):
    """A schema from names and types; names ending in `_` are nullable."""
    return pa.schema([pa.field(name.removesuffix("_"), kind, nullable=name.endswith("_")) for name, kind in columns.items()])


def fixed(values, width):
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), width)


def vector(kind, width):
    return pa.list_(pa.field("item", kind, nullable=False), width)


def lists(values, width):
    offsets = np.arange(0, values.size + 1, width, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))


def masked(values, mask):
    """`values` with nulls where `mask`."""
    return pa.array(values, mask=mask)


U32, U64, I16, I32, I64 = pa.uint32(), pa.uint64(), pa.int16(), pa.int32(), pa.int64()
F16, F32, F64, TEXT, BOOL = pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.bool_()


def make(root, n, k, dimension, parts):
    rng = np.random.default_rng(42)
    run = Run(root)
    uniform = lambda size=n: rng.random(size, dtype=np.float32)
    names = np.array([f"class {c:02}" for c in range(CLASSES)])
    ids = np.arange(n, dtype=np.uint32)

    # True classes and labels: one label in fifty is the next class, some are missing.
    true = rng.integers(0, CLASSES, n).astype(np.int32)
    wrong = uniform() < 0.02
    label = np.where(wrong, (true + 1) % CLASSES, true).astype(np.int32)
    unlabelled = uniform() < 0.01
    bad = uniform() < 0.001
    split = np.array(["train", "test"])[(uniform() < 0.2).astype(int)]
    path = np.char.add(np.char.add(np.char.add(split, "/"), names[true]), np.char.mod("/%07d.jpg", ids))
    season = np.array(["spring", "summer", "autumn", "winter"])[rng.integers(0, 4, n)]
    season[(true == 3) & (uniform() < 0.8)] = "winter"
    camera = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    quality = [uniform() for _ in range(4)]
    sharp = uniform() * 500
    run.write("scan", "images", [
        ids, path, np.char.mod("%064x", ids), masked(rng.integers(64, 2000, n).astype(np.int32), bad),
        masked(rng.integers(64, 2000, n).astype(np.int32), bad), masked(np.ones(n, np.int16), bad), masked(label, unlabelled),
        masked(names[label], unlabelled), split, masked(np.full(n, "truncated JPEG"), ~bad),
        masked(quality[0], bad), masked(quality[1], bad), masked(sharp, bad), masked(quality[2] * 8, bad),
        masked(rng.integers(0, 2**63, n).astype(np.uint64), bad), masked(quality[3], bad),
        masked(quality[0] - 0.5, bad), masked(quality[1] - 0.5, bad), season,
        masked(camera, uniform() < 0.3), uniform() < 0.5, rng.integers(2015, 2026, n).astype(np.int64),
    ], schema(
        image_id=U32, path=TEXT, digest_=TEXT, width_=I32, height_=I32, orientation_=I16, label_=I32, label_name_=TEXT,
        split_=TEXT, error_=TEXT, brightness_=F32, contrast_=F32, sharpness_=F32, entropy_=F32, phash_=U64, saturation_=F32,
        warmth_=F32, tint_=F32, season_=TEXT, camera_=TEXT, flash_=BOOL, year_=I64,
    ), parts)
    run.write("scan", "classes", [
        np.tile(np.arange(CLASSES, dtype=np.int32), 2), np.tile(names, 2), np.repeat(["dataset", "model"], CLASSES),
    ], schema(**{"class": I32, "name": TEXT, "source": TEXT}))

    # Only readable images have features; the network has memorised some wrong labels.
    ids, rows = ids[~bad], int((~bad).sum())
    true, wrong, label, unlabelled = (a[~bad] for a in (true, wrong, label, unlabelled))
    some = lambda share: uniform(rows) < share

    def predict(accuracy):
        """Predicted class, its probability, and the label's probability."""
        pred = np.where(some(accuracy), true, rng.integers(0, CLASSES, rows)).astype(np.int32)
        p_pred = (0.4 + 0.6 * uniform(rows) ** 0.3).astype(np.float32)
        p_label = np.where(pred == label, p_pred, (1 - p_pred) * uniform(rows)).astype(np.float32)
        return pred, p_pred, p_label

    def wide(width):
        return fixed(rng.random((rows, width), dtype=np.float32), width)

    pred, p_pred, p_label = predict(0.95)
    learned = wrong & some(0.3)
    pred[learned], p_label[learned] = label[learned], p_pred[learned]
    run.write("extract", "predictions", [
        ids, pred, p_pred, masked(p_label, unlabelled), p_pred * 2 - 1, uniform(rows),
        masked(-np.log(p_label + 1e-9), unlabelled), wide(CLASSES),
    ], schema(
        image_id=U32, pred=I32, p_pred=F32, p_label_=F32, margin=F32, entropy=F32, loss_=F32, logits=vector(F32, CLASSES),
    ), parts)
    run.write("extract", "features", [ids, wide(dimension)], schema(image_id=U32, vector=vector(F32, dimension)), parts)
    run.write("extract", "layers", [
        list(LAYERS), ["ReLU"] * len(LAYERS), np.array(list(LAYERS.values()), np.int32),
    ], schema(layer=TEXT, op=TEXT, channels=I32))

    # Most neighbours have the same true class.
    order = np.argsort(true, kind="stable")
    place = np.empty(rows, np.int64)
    place[order] = np.arange(rows)
    near = order[(place[:, None] + rng.integers(1, 40, (rows, k)).cumsum(1)) % rows]
    run.write("neighbors", "neighbors", [
        np.repeat(ids, k), np.tile(np.arange(1, k + 1, dtype=np.int16), rows), ids[near.reshape(-1)],
        np.sort(rng.random((rows, k), dtype=np.float32), 1).reshape(-1), np.ones(rows * k, bool),
    ], schema(image_id=U32, rank=I16, neighbor_id=U32, distance=F32, exact=BOOL), parts)
    labelled = ~unlabelled[near]
    agree = (labelled & (label[near] == label[:, None])).sum(1) / np.maximum(labelled.sum(1), 1)
    degree = np.bincount(near.reshape(-1), minlength=rows).astype(np.uint32)
    run.write("neighbors", "neighbor_stats", [
        ids, degree, uniform(rows), masked(agree.astype(np.float32), unlabelled),
    ], schema(image_id=U32, in_degree=U32, mean_distance=F32, label_agreement_=F32), parts)
    classes = np.arange(CLASSES, dtype=np.int32)
    random = lambda size: rng.random(size).astype(np.float32)
    run.write("neighbors", "class_neighbors", [
        classes, names, np.bincount(label, minlength=CLASSES).astype(np.uint32), random(CLASSES), random(CLASSES),
        np.full(CLASSES, 99, np.uint32), random(CLASSES), np.full(CLASSES, 7, np.uint32),
    ], schema(**{
        "class": I32, "name": TEXT, "images": U32, "label_agreement_": F32, "in_degree_mean": F32, "in_degree_max": U32,
        "in_degree_skewness_": F32, "antihubs": U32,
    }))
    a, b = (grid.reshape(-1).astype(np.int32) for grid in np.mgrid[0:CLASSES, 0:CLASSES])
    counts = rng.integers(1, 1000, a.size).astype(np.uint32)
    run.write("confusion", "confusion", [a, names[a], b, names[b], counts, random(a.size)], schema(
        label=I32, label_name=TEXT, pred=I32, pred_name=TEXT, images=U32, share=F32))
    run.write("confusion", "class_overlap", [a, names[a], b, names[b], random(a.size), counts], schema(
        class_a=I32, name_a=TEXT, class_b=I32, name_b=TEXT, share=F32, edges=U32))

    # One row per image, method and class.
    twice = np.repeat(ids, 2)
    kinds = np.tile(["predicted", "label"], rows)
    zero = uniform(2 * rows) < 0.01
    maps = rng.random((2 * rows, 49), dtype=np.float32).astype(np.float16)
    known = np.ones(2 * rows, bool)
    known[1::2] = ~unlabelled
    run.write("explain", "explanations", [
        pa.array(column).filter(known) for column in [
            twice, np.full(2 * rows, "layer4"), np.full(2 * rows, "gradcam"), np.stack([pred, label], 1).reshape(-1), kinds,
            np.full(2 * rows, 7, np.int16), np.full(2 * rows, 7, np.int16), lists(maps, 49), zero,
            masked(uniform(2 * rows), zero), masked(uniform(2 * rows), zero),
            masked(uniform(2 * rows), np.tile(uniform(rows) < 0.5, 2).repeat(1)), masked(uniform(2 * rows) < 0.7, zero),
        ]
    ], schema(**{
        "image_id": U32, "layer": TEXT, "method": TEXT, "class": I32, "class_kind": TEXT, "height": I16, "width": I16,
        "map": pa.list_(F16), "zero_map": BOOL, "border_fraction_": F32, "entropy_": F32, "energy_in_box_": F32,
        "pointing_hit_": BOOL,
    }), parts)

    # Units: the first of each layer responds to the marked class 3, every tenth is dead.
    unit_layers = np.repeat(list(LAYERS), list(LAYERS.values()))
    units = np.concatenate([np.arange(c, dtype=np.int32) for c in LAYERS.values()])
    dead = units % 10 == 9
    top = np.where(units == 0, 3, units % CLASSES).astype(np.int32)
    run.write("patches", "unit_stats", [
        unit_layers, units, np.full(units.size, rows, np.uint32), masked(random(units.size), dead), masked(random(units.size), dead),
        np.zeros(units.size, np.float32), np.where(dead, 0, 4).astype(np.float32), np.where(dead, 0, random(units.size)).astype(np.float32),
        dead, np.where(dead, 0, random(units.size)).astype(np.float32), np.full(units.size, "class_selectivity"), masked(top, dead),
    ], schema(
        layer=TEXT, unit=I32, images=U32, mean_=F32, std_=F32, min_=F32, max_=F32, share_active_=F32, dead=BOOL,
        selectivity_=F32, measure=TEXT, top_class_=I32,
    ))
    shown = np.stack([
        rng.choice(np.flatnonzero((true == c) & (season[ids] == "winter")) if c == 3 else np.flatnonzero(true == c), TOP)
        if u % 3 == 0 else rng.integers(0, rows, TOP)
        for u, c in zip(units, top)
    ])
    repeat = lambda values: np.repeat(values, TOP)
    size = units.size * TOP
    run.write("patches", "patches", [
        repeat(unit_layers), repeat(units), np.tile(np.arange(1, TOP + 1, dtype=np.int16), units.size), ids[shown.reshape(-1)],
        -np.sort(-rng.random((units.size, TOP), dtype=np.float32), 1).reshape(-1), np.zeros(size, np.int16), np.zeros(size, np.int16),
        *[np.full(size, edge, np.float32) for edge in (0, 0, 32, 32)], np.full(size, "theoretical"), np.zeros(size, bool),
        pa.nulls(size, TEXT),
    ], schema(
        layer=TEXT, unit=I32, rank=I16, image_id=U32, value=F32, row=I16, col=I16, box_x0=F32, box_y0=F32, box_x1=F32,
        box_y1=F32, rf=TEXT, clipped=BOOL, crop_=TEXT,
    ))

    # Copies: pairs of neighbouring ids, some in threes.
    first = np.sort(rng.choice(rows - 3, max(rows // 100, 8), replace=False))
    first = first[np.diff(first, prepend=-9) > 3]
    pair_a = np.concatenate([first, first[::5]])
    pair_b = np.concatenate([first + 1, first[::5] + 2])
    by = np.lexsort((pair_b, pair_a))
    pair_a, pair_b = pair_a[by], pair_b[by]
    m = pair_a.size
    kind = np.array(["exact", "near", "mirrored", "rotated"])[rng.integers(0, 4, m)]
    conflict = (label[pair_a] != label[pair_b]) & ~unlabelled[pair_a] & ~unlabelled[pair_b]
    splits = split[ids]
    run.write("duplicates", "duplicates", [
        ids[pair_a], ids[pair_b], kind, masked(rng.integers(0, 9, m).astype(np.int16), kind == "exact"), masked(random(m), kind == "exact"),
        masked(random(m), kind == "exact"), ids[pair_a], conflict, splits[pair_a] != splits[pair_b],
    ], schema(
        image_a=U32, image_b=U32, kind=TEXT, phash_distance_=I16, feature_distance_=F32, similarity_=F32, group_id=U32,
        label_conflict=BOOL, cross_split=BOOL,
    ))

    pred, p_pred, p_label = predict(0.9)
    run.write("probe", "probe", [
        ids, np.full(rows, "probe"), masked(rng.integers(0, 5, rows).astype(np.int16), unlabelled), masked(label, unlabelled), pred,
        masked(p_label, unlabelled), p_pred, p_pred**2, p_pred * 2 - 1, uniform(rows), wide(CLASSES),
    ], schema(
        image_id=U32, source=TEXT, fold_=I16, label_=I32, pred=I32, p_label_=F32, p_pred=F32, calibrated_=F32, margin=F32,
        entropy=F32, probabilities=vector(F32, CLASSES),
    ), parts)
    run.write("probe", "probe_classes", [
        classes, classes, names, np.bincount(label, minlength=CLASSES).astype(np.uint32),
    ], schema(**{"position": I32, "class": I32, "name": TEXT, "images": U32}))
    run.write("probe", "probe_quality", [
        np.array([1.0, 0.1, 0.01]), np.array([False, True, False]), *[rng.random(3) for _ in range(5)], np.full(3, rows, np.uint32),
    ], schema(l2=F64, chosen=BOOL, log_loss=F64, accuracy=F64, ece=F64, ece_calibrated=F64, brier=F64, images=U32))
    run.write("probe", "probe_calibration", [
        np.arange(10, dtype=np.int32), np.full(10, rows // 10, np.uint32), random(10), random(10),
    ], schema(bin=I32, images=U32, confidence=F32, accuracy=F32))

    known = ~unlabelled
    score = np.where(wrong, 0.3, 1.0).astype(np.float32) * uniform(rows)
    rank = np.empty(known.sum(), np.int32)
    rank[np.argsort(score[known], kind="stable")] = np.arange(1, known.sum() + 1)
    flagged = score < 0.02
    run.write("labels", "label_scores", [
        *[pa.array(column).filter(known) for column in [
            ids, label, masked(pred, pred == label), p_label, uniform(rows), agree.astype(np.float32), (pred != label) & (p_pred > 0.8),
            score, flagged,
        ]], rank,
    ], schema(
        image_id=U32, label=I32, suggested_label_=I32, self_confidence=F32, normalized_margin=F32, knn_agreement_=F32,
        confident_joint=BOOL, score=F32, flagged=BOOL, rank=I32,
    ), parts)
    joint = np.where(a == b, 40_000, rng.integers(0, 900, a.size)).astype(np.int64)
    run.write("labels", "confident_joint", [a, names[a], b, names[b], joint, joint * 1.1], schema(
        label=I32, label_name=TEXT, true_label=I32, true_name=TEXT, count=I64, estimated=F64))
    run.write("labels", "label_calibration", [
        ["uniform"] * 4, np.array([50, 100, 200, 500], np.int32), *[random(4) for _ in range(3)], np.full(4, 1000, np.uint32),
    ], schema(noise=TEXT, reviewed=I32, recall=F32, recall_low_=F32, recall_high_=F32, planted=U32))

    outlying = uniform(rows)
    run.write("outliers", "outliers", [
        ids, uniform(rows), outlying, masked(uniform(rows), unlabelled), masked(uniform(rows), unlabelled), outlying < 0.005,
    ], schema(image_id=U32, distance=F32, score=F32, class_distance_=F32, class_score_=F32, flagged=BOOL), parts)
    attributes = ["season", "camera", "flash", "year", "brightness", "sharpness"]
    m = len(attributes)
    run.write("shortcuts", "associations", [
        attributes, ["metadata"] * 4 + ["quality"] * 2, np.array([4, 3, 2, 11, 5, 5], np.int32), np.full(m, rows, np.uint32),
        rng.random(m) / 10, rng.random(m) / 10, ["G-test"] * m, rng.random(m) / 50, rng.random(m) / 20, ["winter", "a", "true", "2020", "darkest", "sharpest"],
        np.full(m, 3, np.int32), names[np.full(m, 3)], 1 + rng.random(m), np.full(m, 900, np.uint32),
    ], schema(
        attribute=TEXT, kind=TEXT, values=I32, images=U32, ami=F64, nmi=F64, test=TEXT, p_value=F64, q_value=F64,
        top_value=TEXT, top_label=I32, top_label_name=TEXT, lift=F64, support=U32,
    ))
    values = ["spring", "summer", "autumn", "winter"]
    m = len(values) * (CLASSES + 1)
    group_label = np.tile(np.arange(-1, CLASSES, dtype=np.int32), len(values))
    everyone = group_label < 0
    accuracy = rng.random(m)
    run.write("shortcuts", "groups", [
        ["season"] * m, np.repeat(values, CLASSES + 1), masked(group_label, everyone), masked(names[group_label], everyone),
        rng.integers(5, 5000, m).astype(np.uint32), accuracy, accuracy - 0.05, accuracy + 0.05, np.full(m, 0.9),
        accuracy, accuracy, accuracy < 0.05, accuracy < 0.05, ["probe"] * m,
    ], schema(
        attribute=TEXT, value=TEXT, label_=I32, label_name_=TEXT, images=U32, accuracy_=F64, accuracy_low_=F64, accuracy_high_=F64,
        rest_=F64, p_value_=F64, q_value_=F64, worse=BOOL, worst=BOOL, source=TEXT,
    ))
    m = 40
    run.write("shortcuts", "shortcuts", [
        np.arange(1, m + 1, dtype=np.int32), np.full(m, 3, np.int32), names[np.full(m, 3)], ["layer4"] * m, np.arange(m, dtype=np.int32),
        np.sort(rng.random(m))[::-1], rng.random(m), rng.random(m), rng.random(m), rng.random(m), rng.random(m), pa.nulls(m, F64),
        rng.random(m), np.arange(m) < 5, ["fires for class 03 only"] * m,
    ], schema(**{
        "rank": I32, "class": I32, "class_name": TEXT, "layer_": TEXT, "unit_": I32, "score": F64, "q_value_": F64, "exclusivity_": F64,
        "share_of_class_": F64, "border_energy_": F64, "background_energy_": F64, "outside_boxes_": F64, "accuracy_drop": F64, "flagged": BOOL, "evidence": TEXT,
    }))

    # Findings: the worst labels, copies, outliers, and dark, blurred or unreadable images.
    found = []
    def add(kind, image_ids, scores, flags, suggested=None, other=None):
        order = np.lexsort((image_ids, scores))
        for place, at in enumerate(order):
            found.append((
                int(image_ids[at]), kind, float(scores[at]), bool(flags[at]), None if suggested is None else int(suggested[at]),
                f"synthetic: {kind}", place + 1, None if other is None else int(other[at]), "ok" if at % 17 == 3 else None,
                "looked at" if at % 17 == 3 else None,
            ))
    worst = np.flatnonzero(flagged & known)
    add("label", ids[worst], score[worst], flagged[worst], pred[worst])
    for kind_name, issue in [("exact", "duplicate_exact"), ("near", "duplicate_near")]:
        at = np.flatnonzero(kind == kind_name)
        add(issue, ids[pair_a[at]], np.zeros(at.size), np.ones(at.size, bool), other=ids[pair_b[at]])
    at = np.flatnonzero(outlying < 0.005)
    add("outlier", ids[at], outlying[at], np.ones(at.size, bool))
    for issue, figure in [("dark", quality[0][ids]), ("blurred", sharp[ids] / 500)]:
        at = np.flatnonzero(figure < 0.004)
        add(issue, ids[at], figure[at], np.ones(at.size, bool))
    at = np.flatnonzero(bad).astype(np.uint32)
    add("unreadable", at, np.zeros(at.size), np.ones(at.size, bool))
    found.sort(key=lambda row: (row[0], row[1]))
    run.write("audit", "issues", [list(column) for column in zip(*found)], schema(
        image_id=U32, kind=TEXT, score=F32, flagged=BOOL, suggested_label_=I32, evidence=TEXT, rank=I32, other_id_=U32, reviewed_=TEXT,
        note_=TEXT,
    ))
    m = min(5000, len(found))
    sample = [found[i] for i in np.sort(rng.choice(len(found), m, replace=False))]
    word = np.array(["new", "resolved", "worse", "better"])[rng.integers(0, 4, m)]
    run.write("audit", "changes", [
        [str(path[row[0]]) for row in sample], [row[1] for row in sample],
        [None if row[7] is None else str(path[row[7]]) for row in sample], word, masked(random(m), word == "new"),
        masked(random(m), word == "resolved"), [row[5] for row in sample],
    ], schema(path=TEXT, kind=TEXT, other_path_=TEXT, change=TEXT, score_before_=F32, score_=F32, evidence=TEXT))
    run.finish()
    (root / "photos").mkdir(exist_ok=True)
    (root / "pipeline.toml").write_text('[run]\ndir = "."\n[images]\ndir = "photos"\n')


def clock(run, prospect, repeat, limit, only):
    """Print wall and processor seconds of each query, the fastest of `repeat` calls, process start included."""
    command = [prospect, "query", "-c", str(run / "pipeline.toml")]
    listed = subprocess.run([*command, "--list", "--format", "json"], check=True, capture_output=True, text=True).stdout
    times = {}
    for name in only or [query["name"] for query in json.loads(listed)]:
        for _ in range(repeat):
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            answer = subprocess.run([*command, name, "--format", "csv"], capture_output=True, text=True)
            seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
            if answer.returncode:
                sys.exit(f"{name}: {answer.stderr}")
            busy = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
            times[name] = min((seconds, busy), times.get(name, (math.inf, 0)))
    for name, (seconds, busy) in sorted(times.items(), key=lambda item: -item[1][0]):
        print(f"{seconds:8.2f} s {busy:8.2f} s of processor  {name}")
    slow = [name for name, (seconds, _) in times.items() if seconds > limit]
    sys.exit(f"over {limit} s: {', '.join(slow)}" if slow else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make", help="write a synthetic run folder")
    maker.add_argument("run", type=Path)
    maker.add_argument("--images", type=int, default=1_000_000)
    maker.add_argument("--neighbors", type=int, default=20)
    maker.add_argument("--dimension", type=int, default=64)
    maker.add_argument("--parts", type=int, default=10)
    timer = commands.add_parser("time", help="time the queries on it")
    timer.add_argument("run", type=Path)
    timer.add_argument("names", nargs="*", help="these queries only")
    timer.add_argument("--prospect", default="target/release/prospect")
    timer.add_argument("--repeat", type=int, default=3)
    timer.add_argument("--limit", type=float, default=2.0, help="maximum seconds per query")
    args = parser.parse_args()
    if args.command == "make":
        make(args.run, args.images, args.neighbors, args.dimension, args.parts)
    else:
        clock(args.run, args.prospect, args.repeat, args.limit, args.names)


if __name__ == "__main__":
    main()
