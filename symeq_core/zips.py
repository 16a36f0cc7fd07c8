"""Zips that anybody may have made: opened and checked before anything of them is written."""

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from .errors import UsageError

LIMIT_RATIO = 200  # bytes of a file to its bytes in the zip, where it is larger than
RATIO_BYTES = 1 << 20
ENTRY_BYTES = 420  # of a zip's list of contents, for each file in it
UNREADABLE = (  # what zipfile raises on damaged files
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)

Source = str | Path | bytes | BinaryIO


def refuse(why: str) -> NoReturn:
    """UsageError: the zip can't be imported, and why."""
    raise UsageError(f"This zip can't be imported: {why}.")


@contextmanager
def opened(file: Source, limit_files: int, limit_bytes: int) -> Iterator[zipfile.ZipFile]:
    """The zip, of so many files and bytes (unpacked) at most, each of them checked; UsageError where it is not sound,
    also where that shows only while it is read.
    """
    with _readable(), ExitStack() as stack:
        if isinstance(file, bytes):
            file = io.BytesIO(file)
        elif isinstance(file, str | Path):
            file = stack.enter_context(open(file, "rb"))
        z = stack.enter_context(zipfile.ZipFile(_Measured(file, limit_files)))
        infos = z.infolist()
        if len(infos) > limit_files:
            _too_many(limit_files)
        if sum(info.file_size for info in infos) > limit_bytes:
            refuse(f"its files have more than {limit_bytes:,} bytes together")
        for info in infos:
            _check(info)
        yield z


def members(z: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files in it, without folders and what macOS adds."""
    return [info for info in z.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except UNREADABLE:
        refuse("it is damaged, or no zip at all")


class _Measured:
    """A file that is read in portions: zipfile reads the whole list of contents at once, of whatever length."""

    def __init__(self, file: BinaryIO, limit_files: int) -> None:
        self.seek, self.tell, self.seekable, self._read = file.seek, file.tell, file.seekable, file.read
        self._files = limit_files

    def read(self, n: int = -1) -> bytes:
        limit = ENTRY_BYTES * self._files
        content = self._read(min(n, limit + 1) if n >= 0 else limit + 1)
        if len(content) > limit:
            _too_many(self._files)
        return content


def _too_many(limit_files: int) -> NoReturn:
    refuse(f"it has more than {limit_files:,} files")


def _check(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    if name != info.filename or not name.isprintable() or re.search(r"[\\:]", name) or {"", ".", ".."} & {*parts}:
        refuse(f"{name[:100]!r} is not a safe name")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        refuse(f"{name[:100]!r} is not a file but a link or something else")
    if info.flag_bits & 1:
        refuse("it is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        refuse("it is packed by a method other than deflate")
    if info.file_size > max(RATIO_BYTES, LIMIT_RATIO * info.compress_size):
        refuse(f"{name[:100]!r} is more than {LIMIT_RATIO} times as large as in the zip")
