#!/usr/bin/env python3
"""Compares Prospect's logits with PyTorch's for every exported network in a folder. Run manually.

usage: python tests/golden/check_networks.py FOLDER [PROSPECT] [NAME ...]
needs: pip install torch==2.11.0 numpy pillow pyarrow

FOLDER contains NAME.pt2 files with their sidecars NAME.json; PROSPECT is the program (default: target/release/prospect). Each network
runs on six seeded pictures of its own input size, so that nothing is resized. One line per network:
    equal     the logits differ by at most 1e-4 of the largest one, with NaN and infinities in the same places
    refused   `prospect model inspect` refuses the file, in the sentence that follows
    load      `prospect run extract` refuses it at load, in that sentence
    OTHER     anything else: other logits, an error in the middle of a run, a crash
Exit status: 1 if any network is in the last row.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import pyarrow.parquet as parquet
import torch
from PIL import Image

N_IMAGES = 6


def pictures(folder, height, width):
    """Seeded waves with noise, as files and as an array [n, height, width, 3]."""
    random = np.random.default_rng(0)
    rows, cols = np.mgrid[:height, :width]
    images = []
    for index in range(N_IMAGES):
        waves = [np.sin(cols * 8 / width / (index + 1) + channel) + np.cos(rows * 8 / height + index + channel) for channel in range(3)]
        image = np.stack(waves, -1) * 50 + 128 + random.normal(0, 20, (height, width, 3))
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        Image.fromarray(images[-1]).save(folder / f"{index}.png")
    return np.stack(images)


def call(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return done.returncode, " ".join(lines).strip(), done.stdout


def expected(path, pixels, spec):
    warnings.simplefilter("ignore")
    program = torch.export.load(path).module()
    images = torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255
    images = (images - torch.tensor(spec["mean"]).view(1, 3, 1, 1)) / torch.tensor(spec["std"]).view(1, 3, 1, 1)
    with torch.no_grad():
        result = program(images)
    while not isinstance(result, torch.Tensor):
        (result,) = result.values() if isinstance(result, dict) else result
    return result.float().numpy()


def compare(path, program):
    """The row of one network and its explanation."""
    code, message, output = call(program, "model", "inspect", "--json", path)
    if code:
        return ("refused" if code in (2, 65) else "OTHER"), message
    _, height, width = json.loads(output)["input"]
    spec = json.loads(path.with_suffix(".json").read_text())["input"]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "images").mkdir()
        pixels = pictures(scratch / "images", height, width)
        (scratch / "pipeline.toml").write_text(
            f'[run]\ndir = "run"\n[images]\ndir = "images"\n[model]\npath = "{path.resolve()}"\ndevice = "cpu"\n'
            f"[input]\nresize = [{height}, {width}]\ncrop = \"none\"\n")
        code, message, _ = call(program, "run", "-q", "-c", scratch / "pipeline.toml", "extract")
        if code:
            return ("load" if code in (2, 65) else "OTHER"), f"exit {code}: {message}"
        rows = parquet.read_table(scratch / "run/tables/predictions").sort_by("image_id")
        logits = np.array(rows["logits"].to_pylist(), dtype=np.float32)
    try:
        torchs = expected(path, pixels, spec)
    except Exception as problem:
        return "OTHER", f"PyTorch refuses it: {str(problem).splitlines()[0][:200]}"
    if torchs.shape != logits.shape:
        return "OTHER", f"shape {logits.shape}, PyTorch's {torchs.shape}"
    finite = np.isfinite(torchs)
    if not np.array_equal(torchs[~finite], logits[~finite], equal_nan=True):
        return "OTHER", "NaN or infinities in other places"
    difference = np.abs(torchs - logits)[finite].max(initial=0) / max(np.abs(torchs[finite]).max(initial=0), 1e-12)
    return ("equal" if difference <= 1e-4 else "OTHER"), f"{difference:.1e}"


def main():
    folder, program, *names = sys.argv[1:] + ["target/release/prospect"] * (len(sys.argv) < 3)
    counts = {}
    for path in sorted(pathlib.Path(folder).glob("*.pt2")):
        if names and path.stem not in names:
            continue
        row, text = compare(path, program)
        counts[row] = counts.get(row, 0) + 1
        print(f"{row:8} {path.stem:32} {text}", flush=True)
    print(", ".join(f"{count} {row}" for row, count in sorted(counts.items())))
    sys.exit(1 if "OTHER" in counts else 0)


if __name__ == "__main__":
    main()
