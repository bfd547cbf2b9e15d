"""Shared by the download scripts: pip, checksums and atomic replacement of a folder."""
import base64
import contextlib
import csv
import fcntl
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile


class Refused(Exception):
    """The download does not match its pinned checksum or contents."""


def pip(*arguments):
    """Output of pip, which takes index, proxy and certificates from its own configuration."""
    done = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise OSError(f"pip {arguments[0]} {arguments[-1]}: {' / '.join(words[-3:]) or 'no message'}")
    return done.stdout


def download(requirement, folder, *options):
    """Path of the wheel of `requirement`, downloaded whole into `folder`."""
    pip("download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", folder, *options, requirement)
    stem = re.sub(r"[-_.]+", "_", requirement.split("==")[0])
    names = [name for name in os.listdir(folder) if name.startswith(stem + "-") and name.endswith(".whl")]
    if len(names) != 1:
        raise OSError(f"pip downloaded {names} for {requirement}")
    return os.path.join(folder, names[0])


def record(archive, sha256):
    """sha256 and size of every member of a wheel, from its RECORD, which must match the pinned sha256."""
    name = next((n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/RECORD", n)), None)
    if name is None:
        raise Refused("the wheel has no RECORD")
    data = archive.read(name)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise Refused(f"{name}: sha256 is {found}, expected {sha256}")
    members = {}
    for path, digest, size in csv.reader(io.StringIO(data.decode())):
        if digest:
            algorithm, _, text = digest.partition("=")
            if algorithm != "sha256":
                raise Refused(f"{name}: {path} has a {algorithm} digest, expected sha256")
            members[path] = (base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex(), int(size))
    return members


def extract(archive, member, root, inside, members):
    """Write one member to root/inside, checked against the RECORD; paths outside `root` are refused."""
    parts = inside.split("/")
    if inside.startswith("/") or "\\" in inside or any(part in ("", ".", "..") for part in parts):
        raise Refused(f"unsafe path {member!r}")
    if member not in members:
        raise Refused(f"{member} is not in the wheel's RECORD")
    sha256, size = members[member]
    path = os.path.join(root, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    digest, written = hashlib.sha256(), 0
    with archive.open(member) as source, open(path, "xb") as target:
        while block := source.read(1 << 20):
            written += len(block)
            if written > size:
                raise Refused(f"{member}: larger than the {size} bytes of the RECORD")
            digest.update(block)
            target.write(block)
    if digest.hexdigest() != sha256:
        raise Refused(f"{member}: sha256 is {digest.hexdigest()}, expected {sha256}")


@contextlib.contextmanager
def replacing(destination, is_complete):
    """A folder to fill, which becomes `destination` when the block succeeds; None if that is complete already.
    Its parent is a temporary folder for downloads.

    A concurrent run waits for the first and then finds the folder complete. If the block is interrupted, `destination` is
    the old folder or the complete new one; a partial one is removed now or by the next run.
    """
    # Let SIGTERM run the cleanup.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parent, name = os.path.split(os.path.abspath(destination))
    os.makedirs(parent, exist_ok=True)
    with open(os.path.join(parent, f".{name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run to download {destination}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        prefix = f".{name}.part-"
        for left in os.listdir(parent):
            if left.startswith(prefix):
                shutil.rmtree(os.path.join(parent, left), ignore_errors=True)
        if is_complete(destination):
            yield None
            return
        with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as scratch:
            staged = os.path.join(scratch, "new")
            os.mkdir(staged)
            yield staged
            if os.path.lexists(destination):
                os.rename(destination, os.path.join(scratch, "old"))
            os.rename(staged, destination)
