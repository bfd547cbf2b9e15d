#!/usr/bin/env python3
"""Generates photos, labels and a configuration for the run of the browser tests.

    python3 tests/browser/make_run.py FOLDER [--hostile]

Seeded noise and shapes in three classes, with a few wrong labels, copies, dark and broken files. With --hostile, file and
class names attack pages that do not escape them. Needs only Python.
"""

import argparse
import csv
import random
import struct
import sys
import zlib
from pathlib import Path

NETWORK = Path(__file__).resolve().parent.parent / "golden" / "residual.pt2"
IMAGES = 240
CLASSES = ["round", "square", "striped"]

HOSTILE_CLASSES = [
    "</script><script>alert('label')</script>",
    "\"'><img src=x onerror=alert(1)> {{7*7}} ${7*7} <!-- ]]>",
    "\u202egpj.exe\u2066 two\nlines\u2028three\u2029 \u200f" + "and long " * 30,
]
# File names have no slash and at most 255 bytes.
HOSTILE_NAMES = [
    "<script>alert(1)<script>", "\"'><img src=x onerror=alert(1)>", "new\nline", "\u202egpj", "{{7*7}}", "u2028\u2028", "a" * 200,
    "javascript:alert(1)", "&lt;b&gt;&amp;", "%2e%2e%2f", "`${alert(1)}`", "\\u003cscript", "#?hash", "=cmd,comma",
]


def png(width, height, pixels):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(pixels[y * width * 3:(y + 1) * width * 3]) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def draw(kind, noise, dark=False):
    width, height = noise.randint(60, 96), noise.randint(48, 80)
    cx, cy, size = noise.uniform(0.35, 0.65) * width, noise.uniform(0.35, 0.65) * height, noise.uniform(0.2, 0.35) * height
    ground = [noise.randint(20, 90) for _ in range(3)]
    colour = [[230, 150, 60], [70, 160, 230], [120, 210, 120]][kind]
    pixels = []
    for y in range(height):
        for x in range(width):
            inside = [
                (x - cx) ** 2 + (y - cy) ** 2 < size ** 2,
                abs(x - cx) < size and abs(y - cy) < size,
                int(x + y) // 6 % 2 == 0,
            ][kind]
            for c in range(3):
                value = (colour if inside else ground)[c] + noise.randint(-18, 18)
                pixels.append(max(0, min(255, value // 25 if dark else value)))
    return png(width, height, pixels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hostile", action="store_true")
    args = parser.parse_args()
    photos = args.folder / "photos"
    photos.mkdir(parents=True)
    noise = random.Random(7)
    names = HOSTILE_CLASSES if args.hostile else CLASSES
    rows = []
    last = b""
    for number in range(IMAGES):
        kind = number % 3
        stem = f"{HOSTILE_NAMES[number % len(HOSTILE_NAMES)]} {number:03}" if args.hostile else f"photo {number:03}"
        content = last if number % 40 == 39 else draw(kind, noise, dark=number % 60 == 13)
        last = content
        if number % 80 == 25:
            content = content[:200]
        (photos / f"{stem}.png").write_bytes(content)
        wrong = number % 17 == 5
        rows.append((f"{stem}.png", names[(kind + wrong) % 3], "test" if number % 5 == 0 else "train"))
    with open(args.folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "label", "split"), *rows])
    (args.folder / "pipeline.toml").write_text(
        f'[run]\ndir = "run"\n[images]\ndir = "photos"\nmetadata = "labels.csv"\nlabels = "metadata"\n'
        f'[model]\npath = "{NETWORK}"\ndevice = "cpu"\n[patches]\nk = 4\n[neighbors]\nk = 8\n'
    )


if __name__ == "__main__":
    sys.exit(main())
