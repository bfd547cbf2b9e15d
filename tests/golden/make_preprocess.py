"""Writes images.safetensors and images.json: small synthetic image files in every format that Prospect reads,
their pixels as decoded by Pillow, and one picture after torchvision's Resize and CenterCrop.

    python tests/golden/make_preprocess.py tests/golden

images.json records the versions of Pillow and torchvision. Tensors, all uint8:
    file/NAME          the bytes of an image file
    rgb/NAME           [height, width, 3], Image.open(...).convert("RGB"), without the EXIF rotation (but Pillow rotates TIFF)
    upright/NAME       the same after ImageOps.exif_transpose, for files with an orientation
    source             the picture that is resized
    preprocess/INDEX   [height, width, 3], for the INDEX-th entry of "preprocess" in images.json
"""

import io
import json
import pathlib
import struct
import sys

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image, ImageOps
from safetensors.torch import save_file
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize


def picture(width, height, seed=0):
    """Smooth colours, an edge and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / width
    green = 127 + 120 * np.sin(y / 3 + seed)
    blue = np.where(x + y > width, 200, 30)
    noise = rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray(np.clip(np.stack([red, green, blue], -1) + noise, 0, 255).astype(np.uint8))


def encoded(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def as_ycck(data):
    """A CMYK JPEG whose Adobe marker declares the first three components as YCbCr."""
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    return data[:at] + b"\x02" + data[at + 1 :]


def without_adobe(data):
    at = data.index(b"\xff\xee")
    length = struct.unpack(">H", data[at + 2 : at + 4])[0]
    return data[:at] + data[at + 2 + length :]


def as_adobe_rgb(data):
    """A JPEG declared as RGB by an Adobe marker (transform 0), with component identifiers 1, 2, 3."""
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    data = data[:2] + adobe + data[2:]
    frame = data.index(b"\xff\xc0") + 10
    scan = data.index(b"\xff\xda") + 5
    data = bytearray(data)
    for index in range(3):
        assert data[frame + 3 * index] == b"RGB"[index] == data[scan + 2 * index]
        data[frame + 3 * index] = data[scan + 2 * index] = index + 1
    return bytes(data)


def files():
    rgb = picture(37, 26)
    alpha = rgb.copy()
    alpha.putalpha(Image.fromarray(np.linspace(0, 255, 37 * 26).reshape(26, 37).astype(np.uint8)))
    cmyk = rgb.convert("CMYK")
    wide = np.asarray(picture(19, 11)).astype(np.uint16) * 257 + 100
    for name, options in {
        "420": dict(subsampling="4:2:0"),
        "422": dict(subsampling="4:2:2"),
        "444": dict(subsampling="4:4:4"),
        "progressive": dict(progressive=True),
        "restart": dict(restart_marker_blocks=2),
        "rgb": dict(keep_rgb=True),
    }.items():
        yield f"jpeg-{name}", encoded(rgb, "JPEG", quality=90, **options)
    yield "jpeg-grey", encoded(rgb.convert("L"), "JPEG", quality=90)
    yield "jpeg-cmyk", encoded(cmyk, "JPEG", quality=90)
    yield "jpeg-ycck", as_ycck(encoded(cmyk, "JPEG", quality=90))
    yield "jpeg-cmyk-without-adobe", without_adobe(encoded(cmyk, "JPEG", quality=90))
    yield "jpeg-adobe-rgb", as_adobe_rgb(encoded(rgb, "JPEG", quality=90, keep_rgb=True))
    yield "jpeg-tiny", encoded(picture(1, 1), "JPEG")
    yield "jpeg-trailing", encoded(rgb, "JPEG") + b"trailing bytes \xff\xd8\xff"
    for orientation in range(1, 9):
        yield f"jpeg-exif-{orientation}", encoded(rgb, "JPEG", exif=exif(orientation))
    yield "png-rgb", encoded(rgb, "PNG")
    yield "png-rgba", encoded(alpha, "PNG")
    yield "png-grey", encoded(rgb.convert("L"), "PNG")
    yield "png-grey-alpha", encoded(alpha.convert("LA"), "PNG")
    yield "png-bilevel", encoded(rgb.convert("1"), "PNG")
    yield "png-palette", encoded(rgb.quantize(16), "PNG")
    yield "png-palette-transparent", encoded(rgb.quantize(16), "PNG", transparency=3)
    yield "png-rgb16", png16(wide)
    yield "png-exif-6", encoded(rgb, "PNG", exif=exif(6))
    yield "webp-lossless", encoded(rgb, "WEBP", lossless=True)
    yield "webp-lossy", encoded(rgb, "WEBP", quality=90)
    yield "webp-alpha", encoded(alpha, "WEBP", lossless=True, exact=True)
    yield "webp-exif-8", encoded(rgb, "WEBP", lossless=True, exif=exif(8))
    yield "bmp-rgb", encoded(rgb, "BMP")
    yield "bmp-palette", encoded(rgb.quantize(16), "BMP")
    yield "gif-first", encoded(rgb.quantize(16), "GIF", save_all=True, append_images=[picture(37, 26, 1).quantize(16)])
    yield "gif-transparent", encoded(rgb.quantize(16), "GIF", transparency=3)
    yield "tiff-rgb", encoded(rgb, "TIFF")
    yield "tiff-lzw", encoded(rgb, "TIFF", compression="tiff_lzw")
    yield "tiff-grey", encoded(rgb.convert("L"), "TIFF")
    yield "tiff-exif-3", encoded(rgb, "TIFF", tiffinfo={0x0112: 3})


def png16(samples):
    """A 16-bit RGB PNG, which Pillow can read but not write."""
    import zlib

    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def specs():
    """(source size, resize, crop, interpolation)"""
    for interpolation in ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]:
        yield (61, 47), 20, (16, 16), interpolation
    yield (47, 61), 20, (16, 16), "bilinear"
    yield (61, 47), (13, 30), None, "bicubic"
    yield (61, 47), None, (31, 22), "bilinear"
    yield (61, 47), 25, (25, 25), "bilinear"
    yield (61, 47), 47, (20, 20), "bilinear"
    yield (61, 47), 14, (20, 30), "bilinear"
    yield (61, 47), 14, (21, 31), "bicubic"
    yield (17, 9), 23, (22, 22), "bicubic"
    yield (17, 9), 23, (23, 30), "lanczos"
    yield (17, 9), 30, None, "nearest"
    yield (200, 3), 2, (2, 50), "bilinear"
    yield (61, 47), (47, 20), None, "box"
    yield (61, 47), (10, 61), None, "hamming"
    yield (16, 80), 10, (12, 10), "bilinear"
    yield (16, 80), (60, 20), (50, 7), "bicubic"


def main():
    folder = pathlib.Path(sys.argv[1])
    tensors, names, answers = {}, [], []

    def keep(name, array):
        tensors[name] = torch.from_numpy(np.array(array))

    for name, data in files():
        names.append(name)
        keep(f"file/{name}", np.frombuffer(data, np.uint8).copy())
        image = Image.open(io.BytesIO(data))
        keep(f"rgb/{name}", np.asarray(image.convert("RGB")))
        if "exif" in name:
            keep(f"upright/{name}", np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
    for size in sorted({spec[0] for spec in specs()}):
        keep(f"source/{size[0]}x{size[1]}", np.asarray(picture(*size)))
    for index, (size, resize, crop, interpolation) in enumerate(specs()):
        steps = [Resize(resize, InterpolationMode[interpolation.upper()])] if resize else []
        steps += [CenterCrop(crop)] if crop else []
        keep(f"preprocess/{index}", np.asarray(Compose(steps)(picture(*size))))
        resize = {"exact": {"height": resize[0], "width": resize[1]}} if isinstance(resize, tuple) else resize
        answers.append(
            {
                "source": f"{size[0]}x{size[1]}",
                "spec": {
                    "resize": {"short": resize} if isinstance(resize, int) else resize or "none",
                    "crop": crop,
                    "interpolation": interpolation,
                    "mean": [0, 0, 0],
                    "std": [1, 1, 1],
                },
            }
        )
    save_file(tensors, folder / "images.safetensors")
    versions = {"pillow": PIL.__version__, "torchvision": torchvision.__version__, "torch": torch.__version__}
    description = {"made_with": versions, "files": names, "preprocess": answers}
    (folder / "images.json").write_text(json.dumps(description, indent=1) + "\n")


main()
