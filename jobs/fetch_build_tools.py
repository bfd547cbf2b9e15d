#!/usr/bin/env python3
"""Fetch a tool that builds libjpeg-turbo, for a machine without it.

usage: fetch_build_tools.py cmake|nasm DEST

CMake comes from the Python package `cmake`, checked against the wheel's RECORD, whose sha256 is pinned below. NASM comes from
the Debian or Ubuntu package `nasm`, by apt-get, which verifies its signature; nothing is installed on the system, and no root is
needed. DEST/bin then has the program.
"""
import os
import subprocess
import sys
import zipfile

from fetching import Refused, download, extract, record, replacing

CMAKE = "4.1.2"
CMAKE_RECORD = "70ab9000b936f6207290bcc400d21265cc26e8f9e38e765864003490f850a9ab"
PLATFORM = ["--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64"]


def cmake(staged):
    path = download(f"cmake=={CMAKE}", os.path.dirname(staged), *PLATFORM)
    with zipfile.ZipFile(path) as archive:
        members = record(archive, CMAKE_RECORD)
        for member in archive.namelist():
            if member.startswith("cmake/data/") and not member.endswith("/"):
                extract(archive, member, staged, member.removeprefix("cmake/data/"), members)
    os.chmod(os.path.join(staged, "bin", "cmake"), 0o755)


def run(*command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        words = done.stdout.decode(errors="replace").strip().splitlines()
        raise OSError(f"{' '.join(command[:2])}: {' / '.join(words[-3:]) or 'no message'}")


def nasm(staged):
    scratch = os.path.dirname(staged)
    try:
        run("apt-get", "download", "nasm", folder=scratch)
    except OSError:
        # The system's package lists are empty or old: fetch our own.
        state, cache = os.path.join(scratch, "state"), os.path.join(scratch, "cache")
        for part in (os.path.join(state, "lists", "partial"), os.path.join(cache, "archives", "partial")):
            os.makedirs(part)
        options = ["-o", f"Dir::State={state}", "-o", f"Dir::Cache={cache}"]
        run("apt-get", *options, "update", folder=scratch)
        run("apt-get", *options, "download", "nasm", folder=scratch)
    packages = [name for name in os.listdir(scratch) if name.endswith(".deb")]
    if len(packages) != 1:
        raise OSError(f"apt-get downloaded {packages}")
    unpacked = os.path.join(scratch, "unpacked")
    run("dpkg-deb", "--extract", packages[0], unpacked, folder=scratch)
    os.mkdir(os.path.join(staged, "bin"))
    os.rename(os.path.join(unpacked, "usr", "bin", "nasm"), os.path.join(staged, "bin", "nasm"))


def main(name, destination):
    program = os.path.join(destination, "bin", name)
    with replacing(destination, lambda _: os.access(program, os.X_OK)) as staged:
        if staged is None:
            return
        print(f"downloading {name} into {destination}", flush=True)
        {"cmake": cmake, "nasm": nasm}[name](staged)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("cmake", "nasm"):
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2])
    except (OSError, Refused, zipfile.BadZipFile) as problem:
        sys.exit(f"""could not download {sys.argv[1]}: {problem}
Install it (Debian, Ubuntu: sudo apt-get install {sys.argv[1]}   Fedora: sudo dnf install {sys.argv[1]}), then run the same command again.""")
