"""Writes photos.safetensors: image files that decoders read differently, and Pillow's upright RGB of each.

    python tests/golden/make_photos.py tests/golden        (Pillow 13, numpy, safetensors)

Tensors, all uint8: file/NAME (bytes) and upright/NAME [height, width, 3]. The metadata records the versions of Pillow and its
libjpeg-turbo.
"""

import io
import pathlib
import struct
import sys
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps, features
from safetensors.numpy import save_file

RNG = np.random.default_rng(7)


def segment(marker, payload):
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


class Bits:
    """Huffman codes of 4 bits each (a table's n-th symbol is n), and the bits that follow them."""

    def __init__(self):
        self.text = ""

    def put(self, symbol, value=0, size=0):
        self.text += f"{symbol:04b}"
        if size:
            self.text += f"{value if value > 0 else value + (1 << size) - 1:0{size}b}"

    def bytes(self):
        text = self.text + "1" * (-len(self.text) % 8)
        return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)).replace(b"\xff", b"\xff\x00")


def jpeg(width, height, factors, scans=None, ids=None, markers=b"", restart=0, declared_height=None):
    """A baseline JPEG: each component with its sampling factors (h, v), in the scans given. Blocks have a DC and two AC."""
    n = len(factors)
    ids = ids or range(1, n + 1)
    h_max, v_max = (max(f[i] for f in factors) for i in (0, 1))
    out = b"\xff\xd8" + markers + segment(0xDB, b"\x00" + bytes([4] * 64))
    frame = struct.pack(">BHHB", 8, declared_height or height, width, n)
    out += segment(0xC0, frame + b"".join(bytes([i, h << 4 | v, 0]) for i, (h, v) in zip(ids, factors)))
    symbols = bytes([0, 0, 0, 12] + [0] * 12)
    out += segment(0xC4, b"\x00" + symbols + bytes(range(12))) + segment(0xC4, b"\x10" + symbols + bytes(range(12)))
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))
    for scan in scans or [range(n)]:
        out += segment(0xDA, bytes([len(scan)]) + b"".join(bytes([ids[c], 0]) for c in scan) + b"\x00\x3f\x00")
        if len(scan) == 1:
            h, v = factors[scan[0]]
            n_mcus = -(-(-(-width * h // h_max)) // 8) * -(-(-(-height * v // v_max)) // 8)
            blocks = {scan[0]: 1}
        else:
            n_mcus = -(-width // (8 * h_max)) * -(-height // (8 * v_max))
            blocks = {c: factors[c][0] * factors[c][1] for c in scan}
        bits, last, n_restarts = Bits(), dict.fromkeys(scan, 0), 0
        for mcu in range(n_mcus):
            if restart and mcu and mcu % restart == 0:
                out += bits.bytes() + bytes([0xFF, 0xD0 + n_restarts % 8])
                bits, last, n_restarts = Bits(), dict.fromkeys(scan, 0), n_restarts + 1
            for c, count in blocks.items():
                for _ in range(count):
                    level = int(RNG.integers(-120, 121))
                    change, last[c] = level - last[c], level
                    bits.put(abs(change).bit_length(), change, abs(change).bit_length())
                    for _ in range(2):
                        ac = int(RNG.integers(1, 30)) * int(RNG.choice([-1, 1]))
                        bits.put(abs(ac).bit_length(), ac, abs(ac).bit_length())
                    bits.put(0)
        out += bits.bytes()
    return out + b"\xff\xd9"


def adobe(transform):
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


JFIF = segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
S420 = [(2, 2), (1, 1), (1, 1)]


def jpegs():
    for name, factors in {"420": S420, "422": [(2, 1), (1, 1), (1, 1)], "440": [(1, 2), (1, 1), (1, 1)],
                          "411": [(4, 1), (1, 1), (1, 1)], "444": [(1, 1)] * 3, "410": [(4, 2), (1, 1), (1, 1)]}.items():
        yield f"scans-{name}", jpeg(37, 26, factors, [[0], [1], [2]])
        yield f"two-scans-{name}", jpeg(37, 26, factors, [[0], [1, 2]])
        yield f"one-scan-{name}", jpeg(37, 26, factors)
    yield "luma-1x1-chroma-2x2", jpeg(37, 26, [(1, 1), (2, 2), (2, 2)])
    yield "luma-3x1", jpeg(37, 26, [(3, 1), (1, 1), (1, 1)])
    yield "chroma-apart", jpeg(37, 26, [(2, 2), (2, 1), (1, 2)])
    for h, v in [(1, 1), (2, 2), (4, 4), (2, 1)]:
        yield f"grey-{h}x{v}", jpeg(37, 26, [(h, v)])
    for width, height in [(2, 3), (1, 40), (40, 1), (3, 2), (17, 5)]:
        yield f"small-{width}x{height}", jpeg(width, height, S420)
    for transform in (0, 1, 2):
        yield f"adobe-{transform}", jpeg(24, 16, S420, markers=adobe(transform))
        yield f"jfif-and-adobe-{transform}", jpeg(24, 16, S420, markers=JFIF + adobe(transform))
        yield f"four-components-adobe-{transform}", jpeg(24, 16, [(1, 1)] * 4, markers=adobe(transform))
    yield "named-rgb", jpeg(24, 16, [(1, 1)] * 3, ids=list(b"RGB"))
    yield "named-rgb-jfif", jpeg(24, 16, [(1, 1)] * 3, ids=list(b"RGB"), markers=JFIF)
    yield "named-rgb-adobe-1", jpeg(24, 16, [(1, 1)] * 3, ids=list(b"RGB"), markers=adobe(1))
    yield "named-012", jpeg(24, 16, S420, ids=[0, 1, 2])
    yield "four-components", jpeg(24, 16, [(1, 1)] * 4)
    yield "short-adobe", jpeg(24, 16, S420, markers=segment(0xEE, b"Adobe\x00\x64"))
    yield "height-too-large", jpeg(24, 16, S420, declared_height=40)
    restarts = jpeg(64, 64, S420, restart=2)
    yield "restarts", restarts
    at = restarts.index(b"\xff\xd3")
    yield "restart-lost", restarts[:at] + restarts[at + 2 :]
    yield "restart-wrong", restarts[:at] + b"\xff\xd6" + restarts[at + 2 :]
    yield "stray-marker", restarts[: at + 2] + b"\xff\x01" + restarts[at + 2 :]
    yield "cut-and-closed", restarts[: len(restarts) // 2] + b"\xff\xd9"
    photo = Image.fromarray(RNG.integers(0, 256, (26, 37, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1))
    for name, options in {"progressive": {"progressive": True}, "quality-5": {"quality": 5}}.items():
        data = io.BytesIO()
        photo.save(data, "JPEG", **options)
        yield name, data.getvalue()
    no_tables = data.getvalue()
    while (at := no_tables.find(b"\xff\xc4")) >= 0:
        no_tables = no_tables[:at] + no_tables[at + 2 + struct.unpack(">H", no_tables[at + 2 : at + 4])[0] :]
    yield "no-huffman-tables", no_tables


def tiff_block(kind, value, count=1, order="<"):
    """An EXIF block with an orientation of any type."""
    code = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 1: "B"}[kind]
    values = struct.pack(order + code * count, *[value] * count).ljust(4, b"\0")
    return ((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LHHHL", 8, 1, 274, kind, count) + values
            + b"\0\0\0\0")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def xmp(value, attribute=True):
    inside = f'tiff:Orientation="{value}"' if attribute else f"><tiff:Orientation>{value}</tiff:Orientation><x"
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description {inside}/></x:xmpmeta>'.encode()


def riff(data, flags, *chunks):
    """A simple WebP as an extended one with these chunks."""
    width, height = Image.open(io.BytesIO(data)).size
    extended = bytes([flags, 0, 0, 0]) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + extended + data[12:]
    for kind, text in chunks:
        body += kind + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def oriented():
    plain = jpeg(24, 16, S420)

    def with_segments(*payloads):
        return plain[:2] + b"".join(segment(0xE1, payload) for payload in payloads) + plain[2:]

    head, name = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
    for kind, count, order in [(3, 1, "<"), (3, 1, ">"), (4, 1, "<"), (4, 1, ">"), (8, 1, "<"), (9, 1, ">"), (6, 1, "<"),
                               (1, 1, "<"), (3, 2, "<"), (3, 2, ">")]:
        block = tiff_block(kind, 6, count, order)
        yield f"exif-type-{kind}-count-{count}-{'le' if order == '<' else 'be'}", with_segments(head + block)
    yield "exif-beyond", with_segments(head + tiff_block(3, 9))
    yield "exif-6-then-3", with_segments(head + tiff_block(3, 6), head + tiff_block(3, 3))
    yield "exif-twice-prefixed", with_segments(head + head + tiff_block(3, 6))
    yield "xmp-attribute", with_segments(name + xmp(8))
    yield "xmp-element", with_segments(name + xmp(5, False))
    yield "exif-before-xmp", with_segments(name + xmp(8), head + tiff_block(3, 6))
    yield "exif-1-and-xmp", with_segments(name + xmp(8), head + tiff_block(3, 1))
    pixels = RNG.integers(0, 256, (16, 24, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    data = data.getvalue()
    start, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    raw = f"\nexif\n{len(tiff_block(3, 6)):8}\n{tiff_block(3, 6).hex()}\n".encode()
    for case, part in {
        "exif": chunk(b"eXIf", tiff_block(3, 6)),
        "exif-prefixed": chunk(b"eXIf", head + tiff_block(3, 6)),
        "raw-profile": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)),
        "raw-profile-text": chunk(b"tEXt", b"Raw profile type exif\0" + raw),
        "xmp": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6)),
        "xmp-compressed": chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(xmp(6))),
    }.items():
        yield f"png-{case}-before", data[:start] + part + data[start:]
        yield f"png-{case}-after", data[:end] + part + data[end:]
    webp = io.BytesIO()
    Image.fromarray(pixels).save(webp, "WEBP", lossless=True)
    webp = webp.getvalue()
    yield "webp-exif", riff(webp, 8, (b"EXIF", tiff_block(3, 6)))
    yield "webp-exif-prefixed", riff(webp, 8, (b"EXIF", head + tiff_block(3, 6)))
    yield "webp-exif-not-announced", riff(webp, 0, (b"EXIF", tiff_block(3, 6)))
    yield "webp-xmp", riff(webp, 4, (b"XMP ", xmp(7)))


def others():
    def gif(screen, at, size, table, local, transparent, interlaced):
        indices = RNG.integers(0, 4, size[0] * size[1])
        colours = bytes(RNG.integers(0, 256, 12, dtype=np.uint8))
        out = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81 if table else 0, 0, 0) + (colours if table else b"")
        if transparent is not None:
            out += b"\x21\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
        flags = (0x81 if local else 0) | (0x40 if interlaced else 0)
        out += b"," + struct.pack("<HHHHB", *at, *size, flags) + (colours[::-1] if local else b"")
        # Three-bit codes, cleared before the table grows.
        codes = "".join(f"{code:03b}"[::-1] for pair in zip(indices[::2], indices[1::2]) for code in (4, *pair)) + "101"
        codes += "0" * (-len(codes) % 8)
        body = bytes(int(codes[i : i + 8][::-1], 2) for i in range(0, len(codes), 8))
        blocks = b"".join(bytes([len(body[i : i + 255])]) + body[i : i + 255] for i in range(0, len(body), 255))
        return out + b"\x02" + blocks + b"\0;"

    yield "gif-beyond-screen", gif((8, 6), (3, 2), (12, 10), True, False, None, False)
    yield "gif-within-screen", gif((20, 16), (3, 2), (12, 10), True, False, None, False)
    yield "gif-within-screen-local", gif((20, 16), (3, 2), (12, 10), True, True, None, True)
    yield "gif-within-screen-transparent", gif((20, 16), (3, 2), (12, 10), True, True, 2, False)
    yield "gif-without-colours", gif((12, 10), (0, 0), (12, 10), False, False, None, False)
    yield "gif-interlaced", gif((12, 10), (0, 0), (12, 10), False, True, 1, True)

    def bmp(bits, masks, rows):
        header = struct.pack("<IiiHHIIiiII", 40, 8, len(rows) // 16, 1, bits, 3 if masks else 0, len(rows), 0, 0, 0, 0)
        masks = struct.pack("<III", *masks) if masks else b""
        start = 14 + len(header) + len(masks)
        return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + masks + rows

    every = np.arange(0, 65536, 137, dtype="<u2")[:256].tobytes()
    yield "bmp-555", bmp(16, None, every)
    yield "bmp-555-masks", bmp(16, (0x7C00, 0x3E0, 0x1F), every)
    yield "bmp-565", bmp(16, (0xF800, 0x7E0, 0x1F), every)

    def png(bits, colour, rows, *chunks, width=8):
        header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + row for row in rows))
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", body) + chunk(b"IEND", b""))

    def rows(n_bytes):
        return [bytes(RNG.integers(0, 256, n_bytes, dtype=np.uint8)) for _ in range(6)]

    for bits in (1, 2, 4, 8):
        yield f"png-grey-{bits}", png(bits, 0, rows(bits))
        yield f"png-short-palette-{bits}", png(bits, 3, rows(bits), chunk(b"PLTE", bytes(range(6))))
    yield "png-rgb-16", png(16, 2, rows(48))
    yield "png-rgba-16", png(16, 6, rows(64))
    yield "png-grey-alpha-16", png(16, 4, rows(32))
    yield "png-grey-16-below-256", png(16, 0, [bytes([0, x] * 8) for x in (0, 9, 255)])


def main(folder):
    tensors = {}
    for name, data in [*jpegs(), *oriented(), *others()]:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        tensors[f"file/{name}"] = np.frombuffer(data, np.uint8)
        tensors[f"upright/{name}"] = np.ascontiguousarray(pixels)
    versions = {"Pillow": PIL.__version__, "libjpeg-turbo": features.version_feature("libjpeg_turbo")}
    save_file(tensors, folder / "photos.safetensors", versions)


main(pathlib.Path(sys.argv[1]))
