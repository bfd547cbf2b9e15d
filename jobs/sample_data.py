#!/usr/bin/env python3
"""Download the sample photos and arrange them for Prospect.

usage: sample_data.py [DEST]      (default: data/sample beside this script's folder)

The photos are the ELPV dataset: 2,624 electroluminescence photos of solar cells, 300x300 pixels, each with a defect
probability assigned by experts (0, 1/3, 2/3 or 1) and the type of its module (mono- or polycrystalline). They are part of the
Python package `elpv-dataset`. Because of their licence, CC BY-NC-SA 4.0, they are downloaded and not kept in the repository:

    C. Buerhop-Lutz, S. Deitsch, A. Maier, F. Gallwitz, S. Berger, B. Doll, J. Hauch, C. Camus, C. J. Brabec:
    A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery, EU PVSEC 2018

The download is cached in $PROSPECT_CACHE (default ~/.cache/prospect), once per machine. DEST then contains images/ (a link
to the cache), metadata.csv and the licence. Columns of metadata.csv:
    file_name           name in images/
    label               functional (probability below 1/2) or defective
    split               train or test if certain (probability 0 or 1), otherwise doubtful; the sample network was
                        trained on train only
    votes_functional    1 - votes_defective
    votes_defective     probability of a defect, assigned by the experts
    cell_type           mono or poly
"""
import hashlib
import os
import re
import sys
import zipfile
from collections import defaultdict

from fetching import Refused, download, extract, record, replacing

HERE = os.path.dirname(os.path.abspath(__file__))
REQUIREMENT = "elpv-dataset==1.0.0.post1"
RECORD = "4532e29d816c7da803ae25e879685f79ab68148bdad192345a59fc383456171f"
N_IMAGES = 2624
TEST_SHARE = 0.25
BY_HAND = f"""To install manually: download the wheel of {REQUIREMENT} (`pip download --no-deps {REQUIREMENT}`) on any
machine, put it into a folder, and set
    export PIP_FIND_LINKS=/path/to/folder PIP_NO_INDEX=1
then run the same command again. Your own photos need no download: see README.md."""


def fetch(folder):
    """Download images/, labels.csv and LICENSE.md into `folder`, unless it is complete."""
    with replacing(folder, lambda path: os.path.isfile(os.path.join(path, "labels.csv"))) as staged:
        if staged is None:
            return
        print(f"downloading the sample photos (PyPI {REQUIREMENT}, 91 MB, licence CC BY-NC-SA 4.0) into {folder}", flush=True)
        with zipfile.ZipFile(download(REQUIREMENT, os.path.dirname(staged))) as archive:
            members = record(archive, RECORD)
            for member in archive.namelist():
                if re.fullmatch(r"elpv_dataset/data/(images/cell\d{4}\.png|labels\.csv)", member):
                    extract(archive, member, staged, member.removeprefix("elpv_dataset/data/"), members)
                elif member.endswith(".dist-info/licenses/LICENSE.md"):
                    extract(archive, member, staged, "LICENSE.md", members)
        found = len(os.listdir(os.path.join(staged, "images")))
        if found != N_IMAGES:
            raise Refused(f"the wheel contains {found} photos, expected {N_IMAGES}")


def rows(folder):
    """One row per photo, with the columns of metadata.csv."""
    with open(os.path.join(folder, "labels.csv"), encoding="ascii") as file:
        cells = [(os.path.basename(path), float(probability), kind)
                 for path, probability, kind in map(str.split, filter(str.strip, file))]
    strata = defaultdict(list)
    for name, probability, kind in cells:
        if probability in (0.0, 1.0):
            strata[probability, kind].append(name)
    # Sorting by hash shuffles the photos identically in every version of Python.
    test = set()
    for names in strata.values():
        names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
        test.update(names[:round(TEST_SHARE * len(names))])
    for name, probability, kind in cells:
        split = "doubtful" if probability not in (0.0, 1.0) else "test" if name in test else "train"
        yield name, "defective" if probability > 0.5 else "functional", split, f"{1 - probability:.4g}", f"{probability:.4g}", kind


def link(target, path):
    """Create or replace the link `path` to `target` atomically."""
    if os.path.islink(path) and os.readlink(path) == target:
        return
    if os.path.isdir(path) and not os.path.islink(path):
        raise Refused(f"{path} is a folder where a link is needed; move it away")
    os.symlink(target, path + ".new")
    os.replace(path + ".new", path)


def write(path, text):
    if os.path.isfile(path):
        with open(path, encoding="utf-8", newline="") as file:
            if file.read() == text:
                return
    with open(path + ".new", "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.replace(path + ".new", path)


def main(cache, destination):
    folder = os.path.join(os.path.abspath(cache), REQUIREMENT.replace("==", "-"))
    fetch(folder)
    os.makedirs(destination, exist_ok=True)
    for name in ("images", "LICENSE.md"):
        link(os.path.join(folder, name), os.path.join(destination, name))
    table = os.path.join(destination, "metadata.csv")
    lines = [("file_name", "label", "split", "votes_functional", "votes_defective", "cell_type"), *rows(folder)]
    write(table, "".join(",".join(line) + "\n" for line in lines))
    destination = os.path.relpath(destination)
    print(f"sample photos: {len(lines) - 1} in {destination}/images, labels in {destination}/metadata.csv (licence CC BY-NC-SA 4.0)")


if __name__ == "__main__":
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    try:
        main(os.environ.get("PROSPECT_CACHE") or os.path.expanduser("~/.cache/prospect"),
             sys.argv[1] if len(sys.argv) == 2 else os.path.join(os.path.dirname(HERE), "data", "sample"))
    except (OSError, Refused, zipfile.BadZipFile) as problem:
        sys.exit(f"could not download the sample photos: {problem}\n{BY_HAND}")
