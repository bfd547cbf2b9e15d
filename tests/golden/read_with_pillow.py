"""What Pillow makes of every file of a folder: upright RGB, or why not.

    python tests/golden/read_with_pillow.py PHOTOS PILLOW

Writes PILLOW/files.json, {file: {"pixels": name} or {"error": text}}, and the pixels, row by row. tests/images.rs compares.
"""
import json
import pathlib
import sys
import warnings

from PIL import Image, ImageOps

warnings.simplefilter("ignore")
photos, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
found = {}
for path in sorted(path for path in photos.rglob("*") if path.is_file()):
    try:
        with Image.open(path) as image:
            pixels = ImageOps.exif_transpose(image).convert("RGB").tobytes()
    except Exception as problem:  # Pillow raises many kinds
        found[str(path.relative_to(photos))] = {"error": f"{type(problem).__name__}: {problem}"}
        continue
    name = f"{len(found)}.rgb"
    (out / name).write_bytes(pixels)
    found[str(path.relative_to(photos))] = {"pixels": name}
(out / "files.json").write_text(json.dumps(found, indent=1))
