#!/usr/bin/env python3
"""Open every export with its target tool, and compare what the tool reads with the run's tables.

    python tests/read_exports.py                        export a small generated run with hostile names and labels
    python tests/read_exports.py -c pipeline.toml      export your own run, to a temporary folder
    python tests/read_exports.py coco cleanlab         these formats only

Needs pyarrow, numpy, Pillow and the tools; a tool that is not installed is reported and skipped, unless --all is given.
Tested with datasets 5.2.0, fiftyone 1.22.1 (MongoDB 6.0.27), pycocotools 2.0.11, cleanlab 2.9.0, tensorboard 2.21.0 and
embedding-atlas 0.26.0. FiftyOne starts its own database, or uses the one at FIFTYONE_DATABASE_URI. Exit status 1 after any
failure.
"""

import argparse
import collections
import contextlib
import csv
import glob
import importlib.util
import io
import json
import math
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

HERE = pathlib.Path(__file__).resolve().parent
CLASSES = ["<b>cat</b>\n\"1\"", "=dog's\t,;", "bird\u202e"]
NAMES = ["=cmd|'x'!A1 {n}.png", "test \"{n}\"\n.png", "[a]*{n}?.png", "..{n}.png", "-\u202e{n}\t.jpg", "<script>{n}&amp;.png"]
MODULES = {"huggingface": "datasets", "fiftyone": "fiftyone", "coco": "pycocotools", "cleanlab": "cleanlab",
           "tensorboard": "tensorboard", "embedding-atlas": "embedding_atlas"}


def check(condition, message):
    if not condition:
        raise AssertionError(message)


class Run:
    """A run folder's tables, by name."""

    def __init__(self, prospect, config):
        self.prospect, self.config = prospect, config

    def table(self, sql):
        """The rows of a query, as dictionaries."""
        answer = subprocess.run([self.prospect, "query", "-c", self.config, "--format", "json", sql],
                                capture_output=True, encoding="utf-8", check=False)
        if answer.returncode:
            sys.exit(f"prospect query {sql}: {answer.stderr}")
        return json.loads(answer.stdout)

    def export(self, name, out, *options):
        answer = subprocess.run([self.prospect, "export", name, "-c", self.config, "-q", "--json", "--out", out, *options],
                                capture_output=True, encoding="utf-8", check=False)
        if answer.returncode:
            raise AssertionError(f"prospect export {name}: {answer.stderr}")
        return json.loads(answer.stdout)


def draw(path, index, label):
    """Draw an image of a class that a classifier can recognise."""
    picture = Image.new("RGB", (40 + index % 9, 32 + index % 5), (index * 37 % 90, 40, 20))
    pen = ImageDraw.Draw(picture)
    x, y = 4 + index % 7, 3 + index % 6
    if label == 0:
        pen.ellipse((x, y, x + 20, y + 20), fill=(220, 160, 90))
    elif label == 1:
        pen.rectangle((x, y, x + 20, y + 20), fill=(90, 160, 220))
    else:
        for step in range(0, 20, 4):
            pen.line((x + step, y, x + step, y + 20), fill=(200, 220, 200))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, format="JPEG" if path.suffix == ".jpg" else "PNG")


def make(folder):
    """Generate a dataset with hostile names and labels, wrong labels, splits, boxes, an unlabelled image and invalid files.
    Return the path of its configuration."""
    rows = [["file_name", "label", "split", "bbox_x", "bbox_y", "bbox_width", "bbox_height"]]
    for index in range(150):
        true = index % 3
        name = ("" if index % 4 else "dir [test]*/") + NAMES[index % len(NAMES)].format(n=index)
        draw(folder / "photos" / name, index, true)
        label = (true + 1) % 3 if index % 25 == 3 else true
        box = [4 + index % 7, 3 + index % 6, 20, 20] if index % 2 else ["", "", "", ""]
        split = ["train", "train", "train", "test", "val"][index % 5]
        rows.append([name, "" if index == 149 else CLASSES[label], split, *box])
    (folder / "photos" / "broken.png").write_text("not a picture")
    with contextlib.suppress(OSError):
        with open(os.fsencode(folder / "photos") + b"/\xff\xfe.png", "w", encoding="utf-8") as file:
            file.write("not a UTF-8 file name")
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    config = folder / "pipeline.toml"
    config.write_text(f"""[run]
dir = "run"
[images]
dir = "photos"
labels = "metadata"
metadata = "metadata.csv"
max_bad_fraction = 0.1
[model]
path = {json.dumps(str(HERE / "golden" / "residual.pt2"))}
device = "cpu"
[explain]
layers = []
[neighbors]
k = 5
""", encoding="utf-8")
    return str(config)


def same_pictures(picture, path):
    with Image.open(path) as expected:
        check(picture.size == expected.size and picture.convert("RGB").tobytes() == expected.convert("RGB").tobytes(),
              f"differs from {path!r}")


def huggingface(run, out, images):
    import datasets
    datasets.disable_progress_bars()
    exported = run.export("huggingface", out)
    cache = tempfile.mkdtemp(dir=os.path.dirname(out))
    by_line = "imagefolder" in exported["open"]
    loaded = datasets.load_dataset("imagefolder", data_dir=out, cache_dir=cache) if by_line \
        else datasets.load_dataset(out, cache_dir=cache)
    if by_line:
        by_card = datasets.load_dataset(out, cache_dir=cache)
        check({name: rows.num_rows for name, rows in by_card.items()} == {name: rows.num_rows for name, rows in loaded.items()},
              "the dataset card lists other splits")
    rows = {}
    for name, split in loaded.items():
        check(isinstance(split.features["image"], datasets.Image), split.features)
        names = getattr(split.features["label"], "names", None)
        for at, row in enumerate(split.select_columns([c for c in split.column_names if c != "image"])):
            image = images[row["path"]]
            rows[row["path"]] = name
            check(image["label_name"] == (None if row["label"] is None else names[row["label"]]), (row, image))
            check(image["split"] == row["split"], (row, image))
            if at % max(1, split.num_rows // 25) == 0:
                same_pictures(split[at]["image"], os.path.join(run.photos, row["path"]))
    check(rows.keys() == images.keys(), f"{len(rows)} rows for {len(images)} images")
    known = {"train": "train", "val": "validation", "test": "test"}
    check(all(rows[path] == known.get(image["split"], rows[path]) for path, image in images.items()), "splits")
    flagged = sum("label" in kinds for split in loaded.values() for kinds in split["findings"])
    check(flagged == run.flagged["label"], f"{flagged} label findings for {run.flagged['label']}")
    # With --images none, the table refers to the originals.
    without = run.export("huggingface", out + "-none", "--images", "none")
    names = pq.read_table(os.path.join(out + "-none", "metadata.parquet"))["file_name"].to_pylist()
    check(set(names) == images.keys() and without["files"] == 1, "file names without images")
    return f"splits {dict(collections.Counter(rows.values()))}, {flagged} with a label finding"


def fiftyone(run, out, images):
    import fiftyone as fo
    run.export("fiftyone", out)
    dataset = fo.Dataset.from_dir(out, fo.types.FiftyOneDataset, progress=False)
    try:
        check(len(dataset) == len(images), f"{len(dataset)} samples for {len(images)} images")
        for sample in dataset:
            image = images[os.path.relpath(sample.filepath, run.photos)]
            check(os.path.isfile(sample.filepath), sample.filepath)
            check(image["label_name"] == (sample.ground_truth and sample.ground_truth.label), sample)
            check((image["split"] is None) or image["split"] in sample.tags, sample)
            check(math.isclose(sample.prediction.confidence, image["p_pred"], rel_tol=1e-6), sample)
        counted = dataset.count_values("findings.classifications.label")
        check(counted == dict(run.flagged), f"{counted} and {dict(run.flagged)}")
        tagged = dataset.count_sample_tags()
        wrong = dataset.match(fo.ViewField("label_issue") == True)  # noqa: E712 (an expression, not a comparison)
        check(tagged.get("label", 0) == run.flagged["label"], tagged)
        evidence = dataset.values("findings.classifications.evidence", unwind=True)
        check(all(isinstance(sentence, str) for sentence in evidence), "evidence")
        places = [x for x in dataset.values("umap_x") if x is not None]
        return f"{dataset.count('findings.classifications')} findings, {len(wrong)} label issues, {len(places)} coordinates"
    finally:
        dataset.delete()


def coco(run, out, images):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    exported = run.export("coco", out)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(os.path.join(out, "annotations.json"))
        predictions = truth.loadRes(os.path.join(out, "predictions.json"))
        evaluation = COCOeval(truth, predictions, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    check(len(truth.getImgIds()) == len(images), f"{len(truth.getImgIds())} images")
    boxed = 0
    for image in truth.loadImgs(truth.getImgIds()):
        row = images[image["file_name"]]
        with Image.open(os.path.join(run.photos, image["file_name"])) as picture:
            check(picture.size == (image["width"], image["height"]), image)
        annotations = truth.loadAnns(truth.getAnnIds(imgIds=image["id"]))
        names = {truth.loadCats(annotation["category_id"])[0]["name"] for annotation in annotations}
        check(names == ({row["label_name"]} - {None}), (image, names))
        for annotation in annotations:
            x, y, width, height = annotation["bbox"]
            check(0 <= x and 0 <= y and x + width <= image["width"] and y + height <= image["height"], annotation)
            check(math.isclose(annotation["area"], width * height), annotation)
            boxed += (width, height) != (image["width"], image["height"])
    return f"{len(truth.getAnnIds())} annotations, {boxed} object boxes, AP of the probe {evaluation.stats[1]:.3f}; {exported['remarks'][0]}"


def cleanlab(run, out, images):
    from cleanlab.count import num_label_issues
    from cleanlab.filter import find_label_issues
    run.export("cleanlab", out)
    labels = np.load(os.path.join(out, "labels.npy"))
    probabilities = np.load(os.path.join(out, "pred_probs.npy"))
    with open(os.path.join(out, "classes.json"), encoding="utf-8") as file:
        classes = json.load(file)
    check(probabilities.shape == (len(labels), len(classes)), probabilities.shape)
    check(np.allclose(probabilities.sum(axis=1), 1, atol=1e-4), "probabilities that do not sum to 1")
    with open(os.path.join(out, "images.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    check(len(rows) == len(labels), f"{len(rows)} rows for {len(labels)} labels")
    by_id = {image["image_id"]: (path, image) for path, image in images.items()}
    for at, row in enumerate(rows):
        path, image = by_id[int(row["image_id"])]
        check(int(row["row"]) == at and row["path"].removeprefix("'") == path.removeprefix("'"), row)
        check(int(row["label"]) == labels[at] and classes[labels[at]] == image["label_name"], (row, image))
        check(not row["path"].startswith(("=", "+", "-", "@", "\t")), row)
    # cleanlab finds the same labels off the diagonal of the confident joint as the run.
    found = find_label_issues(labels, probabilities, filter_by="confident_learning")
    joint = {at for at, row in enumerate(rows) if run.joint[int(row["image_id"])]}
    differ = joint.symmetric_difference(np.flatnonzero(found).tolist())
    check(len(differ) <= max(1, len(joint) // 50), f"cleanlab finds {found.sum()}, the run {len(joint)}, {len(differ)} differ")
    with open(os.path.join(out, "issues.csv"), newline="", encoding="utf-8") as file:
        kinds = collections.Counter(row["kind"] for row in csv.DictReader(file))
    check(all(n <= run.flagged[kind] for kind, n in kinds.items()), kinds)
    report = f"{found.sum()} of {len(labels)} labels off the diagonal, the run's {len(joint)}, {len(differ)} differ; " \
           f"num_label_issues {num_label_issues(labels, probabilities)}"
    if importlib.util.find_spec("datasets"):
        from cleanlab import Datalab
        lab = Datalab(data={"label": labels}, label_name="label", verbosity=0)
        with contextlib.redirect_stdout(io.StringIO()):
            lab.find_issues(pred_probs=probabilities, issue_types={"label": {}})
        report += f"; Datalab {int(lab.get_issues('label')['is_label_issue'].sum())}"
    return report


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def serving(command, port, **more):
    """Start a server on localhost and wait until it answers. Yields a function that fetches a path."""
    output = tempfile.TemporaryFile()
    server = subprocess.Popen(command, stdout=output, stderr=output, **more)

    def fetch(path, **query):
        query = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}{'?' if query else ''}{query}", timeout=120) as answer:
            return answer.read()
    try:
        for _ in range(240):
            try:
                fetch("/")
                break
            except (urllib.error.URLError, ConnectionError):
                if server.poll() is not None:
                    output.seek(0)
                    raise AssertionError(f"{command} ended: ...{output.read()[-500:].decode(errors='replace')}") from None
                time.sleep(0.5)
        yield fetch
    finally:
        server.terminate()
        server.wait()


def tensorboard(run, out, images):
    exported = run.export("tensorboard", out)
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", out, "--port", str(port), "--host", "127.0.0.1"]
    with serving(command, port) as fetch:
        base = "/data/plugin/projector"
        runs = json.loads(fetch(f"{base}/runs"))
        check(runs == ["."], runs)
        info = json.loads(fetch(f"{base}/info", run="."))
        embedding = info["embeddings"][0]
        rows, columns = embedding["tensorShape"]
        check(rows == exported["rows"], embedding)
        started = time.monotonic()
        tensor = np.frombuffer(fetch(f"{base}/tensor", run=".", name="features"), "<f4").reshape(rows, columns)
        seconds = time.monotonic() - started
        lines = fetch(f"{base}/metadata", run=".", name="features").decode().rstrip("\n").split("\n")
        sprite = Image.open(io.BytesIO(fetch(f"{base}/sprite_image", run=".", name="features")))
    header, cells = lines[0].split("\t"), [line.split("\t") for line in lines[1:]]
    check(len(cells) == rows and all(len(row) == len(header) for row in cells), f"{len(cells)} lines")
    features = {row["image_id"]: row["vector"] for row in run.parts("features")}
    by_id = {image["image_id"]: (path, image) for path, image in images.items()}
    side = embedding["sprite"]["singleImageDim"][0]
    across = sprite.width // side
    check(across * across >= rows and sprite.size == (across * side, across * side), sprite.size)
    for at, row in enumerate(cells):
        image_id = int(row[0])
        check(np.array_equal(tensor[at], np.array(features[image_id], "<f4")), f"row {at}")
        if at % max(1, rows // 25) == 0:
            with Image.open(os.path.join(run.photos, by_id[image_id][0])) as picture:
                expected = np.asarray(picture.convert("RGB")).mean(axis=(0, 1))
            left, top = at % across * side, at // across * side
            width, height = by_id[image_id][1]["width"], by_id[image_id][1]["height"]
            cut = np.asarray(sprite.convert("RGB").crop((left, top, left + side, top + side)), float)
            pad_x, pad_y = (max(0, round(side * (1 - length / max(width, height)) / 2)) for length in (width, height))
            inner = cut[pad_y + 1:side - pad_y - 1, pad_x + 1:side - pad_x - 1].mean(axis=(0, 1))
            check(np.abs(inner - expected).max() < 30, f"thumbnail {at}: {inner} for {expected}")
    return f"{rows} x {columns} in {seconds:.1f} s, sprite {sprite.size[0]} px of {side} px"


def embedding_atlas(run, out, images):
    exported = run.export("embedding-atlas", out)
    words = shlex.split(exported["open"])
    options = dict(zip(words[2::2], words[3::2]))
    table = pq.read_table(words[1]).to_pylist()
    check(len(table) == len(images), f"{len(table)} rows for {len(images)} images")
    order = {row["image_id"]: at for at, row in enumerate(table)}
    near = collections.defaultdict(list)
    for row in run.table("select image_id, neighbor_id, distance from neighbors order by image_id, rank"):
        near[row["image_id"]].append((order[row["neighbor_id"]], row["distance"]))
    for row in table:
        ids, distances = row["neighbors"]["ids"], row["neighbors"]["distances"]
        check([pair[0] for pair in near[row["image_id"]]] == ids, row["path"])
        check(np.allclose([pair[1] for pair in near[row["image_id"]]], distances, rtol=1e-5), row["path"])
        check(distances == sorted(distances), row["path"])
        check(images[row["path"]]["label_name"] == row["label"], row["path"])
    # Start the tool itself, and send the requests of its page.
    port = free_port()
    command = [sys.executable, "-c", "from embedding_atlas.cli import main; main()", *words[1:],
               "--port", str(port), "--no-auto-port", "--host", "127.0.0.1"]
    with serving(command, port, stdin=subprocess.DEVNULL) as fetch:
        metadata = json.loads(fetch("/data/metadata.json"))
        data = metadata["props"]["data"]
        check(data["projection"] == {"x": options["--x"], "y": options["--y"]}, data)
        check(data["neighbors"] == "neighbors" and data.get("image") == options.get("--image"), data)
        served = pq.read_table(io.BytesIO(fetch("/data/dataset.parquet")))
        check(served.num_rows == len(table), served.num_rows)
        check(served["path"].to_pylist() == [row["path"] for row in table], "paths")
    sizes = set()
    for row in table[::max(1, len(table) // 25)]:
        with Image.open(io.BytesIO(row["thumbnail"]["bytes"])) as picture:
            sizes.add(max(picture.size))
    return f"{served.num_rows} x {served.num_columns} served, thumbnails of {sizes} px"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=", ".join(MODULES))
    parser.add_argument("-c", "--config", help="configuration of a finished run (default: generate a small run)")
    parser.add_argument("--prospect", default=str(HERE.parent / "target/release/prospect"))
    parser.add_argument("--all", action="store_true", help="fail if a tool is not installed")
    args = parser.parse_args()
    failures = []
    with tempfile.TemporaryDirectory(prefix="test exports") as folder:
        folder = pathlib.Path(folder)
        config = args.config
        if config is None:
            config = make(folder)
            subprocess.run([args.prospect, "run", "-q", "-c", config], check=True)
        run = Run(args.prospect, config)
        settings = tomllib.loads(pathlib.Path(config).read_text(encoding="utf-8"))
        base = pathlib.Path(config).resolve().parent
        run.photos = os.path.realpath(base / settings["images"]["dir"])
        tables = base / settings["run"]["dir"] / "tables"
        run.parts = lambda table: (row for path in sorted(glob.glob(glob.escape(str(tables / table)) + "/*.parquet"))
                                   for row in pq.read_table(path).to_pylist())
        images = {row.pop("path"): row for row in run.table(
            "select path, image_id, label_name, split, width, height, p_pred from images left join predictions using (image_id) "
            "where error is null")}
        flagged = run.table("select kind, count(*) as n from issues join images using (image_id) "
                            "where flagged and error is null and (reviewed is null or reviewed <> 'ok') group by kind")
        run.flagged = collections.Counter({row["kind"]: row["n"] for row in flagged})
        run.joint = {row["image_id"]: row["confident_joint"]
                     for row in run.table("select image_id, confident_joint from label_scores")}
        for name, reader in [("huggingface", huggingface), ("fiftyone", fiftyone), ("coco", coco), ("cleanlab", cleanlab),
                             ("tensorboard", tensorboard), ("embedding-atlas", embedding_atlas)]:
            if args.formats and name not in args.formats:
                continue
            if not importlib.util.find_spec(MODULES[name]):
                print(f"{name}: skipped, {MODULES[name]} is not installed")
                if args.all:
                    failures.append(f"{name}: {MODULES[name]} is not installed")
                continue
            try:
                print(f"{name}: {len(images)} images; {reader(run, str(folder / name), images)}", flush=True)
            except Exception as error:  # each tool raises its own errors
                failures.append(f"{name}: {type(error).__name__}: {error}")
                print(f"{name}: failed", flush=True)
    for line in failures:
        print(f"failed: {line[:2000]}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
