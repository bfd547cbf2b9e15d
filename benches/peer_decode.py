"""Counterpart of benches/decode.rs with Pillow and torchvision's arithmetic, on one thread.

Reads file names from the file given on the command line. For every line on standard input, processes all files once and prints
the seconds for decoding, and for resizing and cropping.
"""

import io
import sys
import time

from PIL import Image, __version__


def prepare(image):
    """torchvision's Resize(256) and CenterCrop(224) for Pillow images, without its overhead."""
    width, height = image.size
    if width <= height:
        size = 256, int(256 * height / width)
    else:
        size = int(256 * width / height), 256
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    return image.crop((left, top, left + 224, top + 224))


def main():
    with open(sys.argv[1], encoding="utf-8") as names:
        files = [open(name, "rb").read() for name in names.read().splitlines()]
    print(f"Pillow {__version__}", flush=True)
    for _ in sys.stdin:
        decoding = preparing = 0
        for data in files:
            start = time.perf_counter()
            image = Image.open(io.BytesIO(data)).convert("RGB")
            middle = time.perf_counter()
            prepare(image).tobytes()
            decoding += middle - start
            preparing += time.perf_counter() - middle
        print(decoding, preparing, flush=True)


main()
