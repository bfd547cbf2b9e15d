"""Marks on the pictures of one class, and whether `shortcuts` finds them; called by shortcuts.sh.

    plant      writes IMAGES/CLASS/PICTURE as OUT/MARK/CLASS/PICTURE.jpg, for every mark and `clean`
    case       makes a dataset of the pool: a share of one class and a share of the others are marked
    evaluate   reads the run of a case; the gain is the cross-validated accuracy of a linear probe on the network's features with
               the marks, minus that on the same pictures without them, in points
    summary    prints the share of flagged cases, by mark and by gain
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil

MIN_PICTURES = 20
MARKS = ["word", "square", "frame", "cast", "stamp"]


def center(width, height):
    """The central square, a little smaller than what most networks see."""
    side = 0.875 * min(width, height)
    return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2


def marked(picture, mark):
    from PIL import Image, ImageDraw, ImageFont

    width, height = picture.size
    x0, y0, x1, y1 = center(width, height)
    font = ImageFont.load_default(size=max(8, round(0.065 * min(width, height))))
    if mark == "word":  # half transparent
        layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
        at = (x0 + 0.62 * (x1 - x0), y0 + 0.75 * (y1 - y0))
        ImageDraw.Draw(layer).text(at, "SAMPLE", font=font, fill=(255, 255, 255, 128))
        return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    if mark == "square":
        side = 0.065 * min(width, height)
        draw.rectangle((x0 + 4, y0 + 4, x0 + 4 + side, y0 + 4 + side), fill=(230, 30, 40))
    elif mark == "frame":
        for at in range(round(0.09 * min(width, height))):
            draw.rectangle((at, at, width - 1 - at, height - 1 - at), outline=(245, 245, 240))
    elif mark == "cast":
        bands = [band.point(lambda value, k=k: min(255, round(k * value))) for band, k in zip(picture.split(), (1.06, 1.0, 0.85))]
        return Image.merge("RGB", bands)
    elif mark == "stamp":
        draw.text((x1 - 0.3 * (x1 - x0), y1 - 0.1 * (y1 - y0)), "'09 7 14", font=font, fill=(255, 150, 40))
    return picture


def plant(args):
    from PIL import Image

    for path in sorted(pathlib.Path(args.images).glob("*/*")):
        try:
            picture = Image.open(path).convert("RGB")
        except OSError:
            continue
        for mark in ["clean", *MARKS]:
            out = pathlib.Path(args.out) / mark / path.parent.name / f"{path.stem}.jpg"
            out.parent.mkdir(parents=True, exist_ok=True)
            marked(picture, mark).save(out, quality=92)


def case(args):
    rng = random.Random(f"{args.seed} {args.classes} {args.mark} {args.share}")
    pool = pathlib.Path(args.pool)
    names = sorted(folder.name for folder in (pool / "clean").iterdir() if len(list(folder.iterdir())) >= MIN_PICTURES)
    chosen = rng.sample(names, min(args.classes, len(names)))
    shutil.rmtree(args.out, ignore_errors=True)
    pictures = []
    for name in chosen:
        share = args.share if name == chosen[0] else args.others
        files = sorted(path.name for path in (pool / "clean" / name).iterdir())
        with_mark = set(rng.sample(files, round(share * len(files))))
        folder = pathlib.Path(args.out) / name
        folder.mkdir(parents=True)
        for file in files:
            source = f"{args.mark if file in with_mark else 'clean'}/{name}/{file}"
            os.link(pool / source, folder / file)
            pictures.append([name, source])
    print(json.dumps({"mark": args.mark, "share": args.share, "others": args.others, "classes": len(chosen), "seed": args.seed,
                      "of": chosen[0], "pictures": pictures}))


def features(run):
    import numpy as np
    import pyarrow.parquet as pq

    paths = pq.read_table(f"{run}/tables/images", columns=["image_id", "path"]).to_pydict()
    rows = pq.read_table(f"{run}/tables/features", columns=["image_id", "vector"])
    vectors = np.asarray(rows["vector"].combine_chunks().flatten()).reshape(rows.num_rows, -1)
    of_id = dict(zip(rows["image_id"].to_pylist(), vectors))
    return {path: of_id[id] for id, path in zip(paths["image_id"], paths["path"]) if id in of_id}


def accuracy(vectors, labels):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return cross_val_score(probe, vectors, labels, cv=StratifiedKFold(5, shuffle=True, random_state=0)).mean()


def evaluate(args):
    import pyarrow.parquet as pq

    case = json.loads(pathlib.Path(args.case).read_text())
    pictures = case.pop("pictures")
    case["gain"] = 0.0
    if case["mark"] != "clean":
        known = features(args.pool_run)
        labels = [name for name, _ in pictures]
        clean = [known["clean/" + source.split("/", 1)[1]] for _, source in pictures]
        case["gain"] = 100 * float(accuracy([known[source] for _, source in pictures], labels) - accuracy(clean, labels))
    folder = pathlib.Path(args.run) / "tables/shortcuts"
    rows = pq.read_table(folder).to_pylist() if folder.exists() else []
    rows.sort(key=lambda row: row["rank"])
    flagged = [row["class_name"] for row in rows if row["flagged"]]
    case |= {"network": args.network, "flagged": sorted(set(flagged)), "found": case["of"] in flagged,
             "first": bool(rows) and rows[0]["flagged"] and rows[0]["class_name"] == case["of"],
             "q_value": min((row["q_value"] for row in rows if row["q_value"] is not None), default=None)}
    with open(args.out, "a") as out:
        out.write(json.dumps(case) + "\n")
    print({key: case[key] for key in ["network", "mark", "share", "others", "classes", "of", "gain", "found", "q_value"]}, flush=True)


def summary(args):
    cases = [json.loads(line) for line in open(args.out)]
    groups = collections.defaultdict(list)
    for case in cases:
        if case["mark"] == "clean":
            groups["clean: anything flagged", case["network"]].append(bool(case["flagged"]))
            continue
        useful = "gain >= 2 points" if case["gain"] >= 2 else "gain < 2 points"
        for name in (case["mark"], "all marks"):
            groups[f"{name}, {useful}: found", case["network"]].append(case["found"])
    for (name, network), found in sorted(groups.items()):
        print(f"{network:20} {name:36} {sum(found):4} of {len(found):4}  {100 * sum(found) / len(found):5.1f} %")


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)

    def command(run, *texts, **numbers):
        one = commands.add_parser(run.__name__)
        for name in texts:
            one.add_argument(f"--{name}", required=True)
        for name, kind in numbers.items():
            one.add_argument(f"--{name}", type=kind, required=True)
        one.set_defaults(command=run)

    command(plant, "images", "out")
    command(case, "pool", "out", "mark", share=float, others=float, classes=int, seed=int)
    command(evaluate, "case", "run", "pool-run", "network", "out")
    command(summary, "out")
    args = parser.parse_args()
    args.command(args)


if __name__ == "__main__":
    main()
