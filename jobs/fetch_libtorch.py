#!/usr/bin/env python3
"""Fetch libtorch's CPU libraries and headers out of the Python package `torch`.

usage: fetch_libtorch.py DEST

Only the members that a CPU build links against are read, by HTTP range requests into the wheel (139 MB instead of 544).
Where the server does not answer ranges, the whole wheel is downloaded with pip instead. Every library is checked
against the sha256 pinned below before anything is put in place. DEST then holds lib/, include/ and build-version.
"""
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile

TORCH = "2.11.0"
LIBRARIES = {
    f"torch=={TORCH}": {
        "torch/lib/libtorch_cpu.so": "99ea9120891528198d73d477714adf14ec662dec467aca8a3940796ccd452e91",
        "torch/lib/libc10.so": "be5e17cd7752a6af003978706379384c3108f6b68916bb1949e610f6397bb640",
        "torch/lib/libgomp.so.1": "e28fb2896a3d612b46a27d7f8ef840d34c9efbc29b70a044c42095fb94856890",
    },
    "nvidia-cuda-runtime==13.0.96": {
        "nvidia/cu13/lib/libcudart.so.13": "96c42e418cec19054186b9429c321603cc190bf26a18104e19408117a2a817b0",
    },
    "nvidia-cuda-cupti==13.0.85": {
        "nvidia/cu13/lib/libcupti.so.13": "e2f9ed861fe27c492b8bb52b5e3220ef5120f3edcda36312e96b7fd8a186be3e",
    },
}
HEADERS = "torch/include/"
PLATFORM = ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp",
            "--platform", "manylinux2014_x86_64"]
# pip matches the glibc of a platform tag exactly, so every one up to the libraries' own is named.
PLATFORM += [word for minor in range(17, 29) for word in ("--platform", f"manylinux_2_{minor}_x86_64")]


def pip(*arguments):
    return subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
                          check=True, stdout=subprocess.PIPE).stdout


def address(requirement):
    report = pip("install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--target", "unused",
                 *PLATFORM, "--report", "-", requirement)
    return json.loads(report)["install"][0]["download_info"]["url"]


class Remote(io.RawIOBase):
    """A file behind a server that answers range requests, read in blocks of 4 MiB."""
    BLOCK = 4 << 20

    def __init__(self, url):
        self.url, self.position, self.start, self.data = url, 0, 0, b""
        answer = urllib.request.urlopen(urllib.request.Request(url, headers={"Range": "bytes=0-0"}), timeout=120)
        if answer.status != 206:
            raise OSError("the server does not answer range requests")
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
        raise OSError(f"bytes {first}-{last} came back short")


def wheel(requirement, scratch):
    try:
        return zipfile.ZipFile(Remote(address(requirement)))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as problem:
        print(f"  reading parts of {requirement} did not work ({problem}); downloading it whole", flush=True)
        pip("download", "--quiet", "--no-deps", "-d", scratch, *PLATFORM, requirement)
        stem = requirement.split("==")[0].replace("-", "_")
        name = next(n for n in os.listdir(scratch) if n.startswith(stem) and n.endswith(".whl"))
        return zipfile.ZipFile(os.path.join(scratch, name))


def extract(archive, member, path, sha256):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(member) as source, open(path, "wb") as target:
        while block := source.read(1 << 20):
            digest.update(block)
            target.write(block)
    if sha256 and digest.hexdigest() != sha256:
        sys.exit(f"{member}: sha256 is {digest.hexdigest()}, expected {sha256}; nothing was installed")


def main(destination):
    parent = os.path.dirname(os.path.abspath(destination))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as scratch:
        staged = os.path.join(scratch, "libtorch")
        for requirement, members in LIBRARIES.items():
            print(f"fetching {requirement}", flush=True)
            with wheel(requirement, scratch) as archive:
                for member, sha256 in members.items():
                    extract(archive, member, os.path.join(staged, "lib", os.path.basename(member)), sha256)
                for member in archive.namelist():
                    if member.startswith(HEADERS) and not member.endswith("/"):
                        inside = os.path.normpath(member[len("torch/"):])
                        if not inside.startswith("include/"):
                            sys.exit(f"{requirement}: unexpected path {member}")
                        extract(archive, member, os.path.join(staged, inside), None)
        # The wheel's own libtorch.so wants the CUDA libraries; tch only needs the name.
        os.symlink("libtorch_cpu.so", os.path.join(staged, "lib", "libtorch.so"))
        with open(os.path.join(staged, "build-version"), "w") as file:
            file.write(TORCH + "\n")
        shutil.rmtree(destination, ignore_errors=True)
        os.rename(staged, destination)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile) as problem:
        sys.exit(f"""libtorch could not be fetched: {problem}
To go on by hand: unpack libtorch {TORCH} (CPU or CUDA, C++11 ABI, Linux x86-64) anywhere, or install the Python package
torch=={TORCH}, and name the folder that holds lib/ and include/:
    export LIBTORCH=/path/to/libtorch     # for the Python package: .../site-packages/torch
then run the same command again.""")
