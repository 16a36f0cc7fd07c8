"""What people do with run folders: rename, duplicate, delete and bring back, send and receive as a zip.

ROOT/.trash/TIME-NAME holds what was deleted, TIME in nanoseconds.
"""

import io
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files, shapes, zips
from .config import Config, from_dict, override
from .errors import SymeqError, UsageError
from .runs import WEIGHTS, Run, new_folder, readable, saved
from .shapes import is_event
from .sheets import BOARDS
from .zips import refuse

LIMIT_BYTES = 1 << 30  # of all files in a zip, unpacked
LIMIT_FILES = 10_000
LIMIT_JSON = 1 << 20
LIMIT_EVENTS = 64 << 20
LIMIT_PIXELS = 1 << 26
CHUNK = 1 << 20
ABANDONED_SECONDS = 3600.0  # no import takes so long

SNAPSHOT = ("codes.safetensors", *sorted(BOARDS))
RESULTS = {"metrics.json": shapes.Metrics, "chains.json": shapes.Chains}
_FOLDER = re.compile(r"\w[\w.+=@, -]{0,199}")
_KNOWN = re.compile(
    r"config\.json|events\.jsonl|(latest|model|projection)\.safetensors|"
    r"(metrics|chains)\.json|thumbnail\.png|"
    rf"snapshots/[0-9]{{8,12}}/({'|'.join(map(re.escape, SNAPSHOT))})"
)
_IGNORED = re.compile(r"lock|log\.txt|commands/.*|(.*/)?\.DS_Store")  # in zips of whole folders


# --- names -----------------------------------------------------------------------------------------------------


def find(root: str | Path, name: str) -> Run:
    """The run in the folder of this name, which may come from anybody; SymeqError where root holds no such run."""
    try:
        folder = Path(root).resolve() / name
        if _FOLDER.fullmatch(name) and folder.resolve() == folder:
            return Run.open(Path(root) / name)
    except (SymeqError, OSError, ValueError):
        pass
    raise SymeqError(f"There is no run {name[:80]!r} here: choose one from the list.")


def rename(run: Run, name: str) -> None:
    """Change the name that is shown; the folder keeps its own. UsageError while it is trained, as then its process
    writes the config.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise UsageError("A run's name has from 1 to 80 characters, all of them printable.")
    with _at_rest(run, "renamed"):
        run.write_config(override(run.config(), {"name": name}))


def duplicate(run: Run, root: str | Path) -> Run:
    """A new run with the same settings and nothing else."""
    config = run.config()
    folder = new_folder(Path(root), _stem(config.name))
    with _undone(folder):
        return Run.create(folder, config)


@contextmanager
def _at_rest(run: Run, deed: str) -> Iterator[None]:
    """Inside, nobody trains the run; UsageError where somebody does already."""
    if not run.folder.is_dir():
        raise SymeqError(f"There is no folder {run.folder} any more: choose another run.")
    if run.is_running():
        raise UsageError(f"{run.folder.name} can't be {deed} while it is being trained: stop it first.")
    with run.lock():
        yield


@contextmanager
def _undone(folder: Path) -> Iterator[None]:
    """Remove the folder where this fails."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _stem(name: str) -> str:
    """The part of a name that can name a folder: of word characters and few signs, not hidden, and short enough."""
    name = re.sub(r"[^\w.+=@, -]+", "-", re.sub(r"^[\W_]+", "", name))
    return name.encode()[:150].decode(errors="ignore").rstrip(". ") or "run"


def _place(source: Path, root: Path, name: str) -> Path:
    """Move a folder into root in one go, under this name or, where that is taken, the name and a number."""
    for k in range(1, 1000):
        folder = root / (name if k == 1 else f"{name}-{k}")
        try:
            folder.mkdir()  # so that it is ours
        except FileExistsError:
            continue
        try:
            if sys.platform == "win32":  # where no folder replaces another
                folder.rmdir()
            os.rename(source, folder)
        except BaseException:
            with suppress(OSError):
                folder.rmdir()
            raise
        return folder
    raise SymeqError(f"{root} holds too many runs named {name}: delete some.")


# --- the trash -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trashed:
    """A deleted run: `key` names it to `restore`; `deleted` is a time in seconds since 1970."""

    key: str
    name: str
    deleted: float


def delete(run: Run) -> str:
    """Move a run to the trash beside it; returns the key that restores it. UsageError while it is trained."""
    trash = run.folder.parent / ".trash"
    key = f"{time.time_ns():020d}-{run.folder.name}"
    with ExitStack() as held, files.told(f"{run.folder} could not be moved to {trash}"):
        held.enter_context(_at_rest(run, "deleted"))
        trash.mkdir(exist_ok=True)
        if sys.platform == "win32":  # where no folder moves while a file in it is open
            held.close()
        os.rename(run.folder, trash / key)
    return key


def trash(root: str | Path) -> list[Trashed]:
    """What was deleted from this folder, the last first."""
    try:
        names = os.listdir(Path(root) / ".trash")
    except OSError:
        return []
    found = filter(None, (re.fullmatch(r"([0-9]{20})-(.+)", name) for name in names))
    return [Trashed(m[0], m[2], int(m[1]) / 1e9) for m in sorted(found, key=lambda m: m[0], reverse=True)]


def restore(root: str | Path, key: str) -> Run:
    """Bring a deleted run back, under a new folder name where the old one is taken; SymeqError where it is gone."""
    name = next((t.name for t in trash(root) if t.key == key), None)
    if name is None:
        raise SymeqError("That run is no longer in the trash.")
    with files.told(f"{name} could not be moved out of the trash"):
        return Run(_place(Path(root) / ".trash" / key, Path(root), name))


def empty_trash(root: str | Path, older_than_s: float = 0.0) -> int:
    """Remove for good what was deleted so long ago; returns how many runs that were."""
    now = time.time()
    old = [t for t in trash(root) if now - t.deleted >= older_than_s]
    for t in old:
        with files.told(f"{t.name} could not be removed from the trash"):
            shutil.rmtree(Path(root) / ".trash" / t.key)
    return len(old)


def size(run: Run) -> int:
    """The bytes of all its files."""
    total = 0
    for folder, _, names in os.walk(run.folder):
        for name in names:
            with suppress(OSError):  # a training process may have replaced it just now
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


# --- out -------------------------------------------------------------------------------------------------------


def export_zip(run: Run) -> bytes:
    """A zip with the run's config, events, weights and snapshots, also while it is trained; SymeqError where its
    config is damaged. The same run gives the same bytes.
    """
    run.config()
    buffer = io.BytesIO()
    with files.told(f"{run.folder} can't be read"), zipfile.ZipFile(buffer, "w") as z:
        for name in _members(run):
            with suppress(FileNotFoundError):  # not every run has all
                content = (run.folder / name).read_bytes()
                if name == "events.jsonl":
                    content = content[: content.rfind(b"\n") + 1]
                info = zipfile.ZipInfo(f"{run.folder.name}/{name}")
                info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                small = name not in WEIGHTS and not name.endswith(".png")
                z.writestr(info, content, zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED)
    return buffer.getvalue()


def _members(run: Run) -> Iterator[str]:
    """What may be there. The weights come before the events: what a run tells of later steps, it takes back on
    resuming, but what it doesn't tell would be missing.
    """
    yield from (*WEIGHTS, "config.json", "events.jsonl", *RESULTS, "projection.safetensors", "thumbnail.png")
    for folder in run.snapshots().values():
        yield from (f"snapshots/{folder.name}/{name}" for name in SNAPSHOT)


# --- in --------------------------------------------------------------------------------------------------------


def import_zip(
    file: zips.Source,
    root: str | Path,
    limit_bytes: int = LIMIT_BYTES,
    check: Callable[[Path], object] | None = None,
) -> Run:
    """A new run (or checkpoint, where the zip holds model.safetensors) in root, from a zip that anybody may have made.

    Everything is checked before anything appears in root: UsageError with the reason where the zip is not sound, and
    nothing is left behind then. limit_bytes: of all files together, unpacked. check: what else has to hold of the
    folder, called before it takes its place.
    """
    with zips.opened(file, LIMIT_FILES, limit_bytes) as z:
        top, members = _checked(z)
        config = _config(_json(z, members["config.json"]))
        for name in filter(members.__contains__, RESULTS):
            _check_result(name, _json(z, members[name]))
        root = Path(root)
        with files.told(f"The zip could not be unpacked into {root}"):
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            with tempfile.TemporaryDirectory(prefix=".import-", dir=root) as temporary:
                folder = Path(temporary) / "run"
                for name, info in members.items():
                    _unpack(z, info, folder / name)
                if check:
                    check(folder)
                return Run(_place(folder, root, _stem(top or config.name)))


def import_pair(file: zips.Source, root: str | Path) -> Run:
    """The same of a zip that has to hold a pair that can be used: with weights, and those of its config."""
    return import_zip(file, root, check=_check_pair)


def _check_pair(folder: Path) -> None:
    from .checkpoints import load

    if not saved(folder):
        refuse("it holds a run without weights, which can be imported on the page Runs")
    implicit = from_dict(files.read_json(folder / "config.json")).model.prior == "implicit"
    try:
        load(folder, prior=_unasked if implicit else None)
    except SymeqError as e:
        refuse(str(e).replace(f"{folder}{os.sep}", "its ").partition(": restore")[0].rstrip("."))


def _unasked(n: int) -> Any:
    """Stands for a caller's own implicit prior, which no file holds: only the weights are looked at."""
    raise NotImplementedError


def _check_result(name: str, values: dict[str, Any]) -> None:
    try:
        shapes.checked(values, RESULTS[name], Path(name), "")
    except SymeqError:
        refuse(f"its {name} is damaged")


def _sweep(root: Path) -> None:
    """Remove what imports that were killed left behind."""
    for left in root.glob(".import-*"):
        with suppress(OSError):  # another import has just ended
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _checked(z: zipfile.ZipFile) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """(its top folder or "", the files of the run by name in it)."""
    infos = zips.members(z)
    top = _top([info.filename for info in infos])
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.removeprefix(f"{top}/") if top else info.filename
        if _IGNORED.fullmatch(name):
            continue
        if not _KNOWN.fullmatch(name):
            refuse(f"{name[:100]!r} is not part of a run")
        if name in members:
            refuse(f"it has {name} twice")
        members[name] = info
    if members.keys() >= set(WEIGHTS):
        refuse(f"it has both {' and '.join(WEIGHTS)}")
    return top, members


def _top(names: list[str]) -> str:
    """The folder that all lies in, or "" where config.json is at the top."""
    if "config.json" in names:
        return ""
    tops = {name.split("/")[0] for name in names if re.fullmatch(r"[^/]+/config\.json", name)}
    if not tops:
        refuse("it holds no run, which is a config.json and what lies beside it")
    if len(tops) > 1:
        refuse("it holds more than one run")
    return tops.pop()


def _json(z: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    try:
        with z.open(info) as f:
            content = f.read(LIMIT_JSON + 1)
        values = json.loads(content) if len(content) <= LIMIT_JSON else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not _is_plain(values):
        refuse(f"its {info.filename.split('/')[-1]} is damaged")
    return values


def _is_plain(value: Any) -> bool:
    """Whether its numbers are finite and its texts can be shown, which JSON doesn't promise."""
    try:
        return bool(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError):
        return False


def _config(values: dict[str, Any]) -> Config:
    try:
        return from_dict(values, "its config.json")
    except UsageError as e:  # which may hold any text, of any length
        refuse(textwrap.shorten(str(e), 300, placeholder=" ...").rstrip("."))


def _unpack(z: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Write one file, and check that it is what its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with z.open(info) as source, open(path, "xb") as out:
        shutil.copyfileobj(source, out, CHUNK)
    sound = {".safetensors": _has_tensors, ".png": _has_picture, ".jsonl": _has_events}.get(path.suffix)
    if path.stat().st_size != info.file_size or (sound and not sound(path)):
        refuse(f"its {path.name} is damaged")


def _has_events(path: Path) -> bool:
    """Whether all events say what those of their kind do, in texts that can be shown."""
    small = path.stat().st_size <= LIMIT_EVENTS
    return small and all(is_event(e) and _is_plain(e) for e in readable(path.read_bytes()))


def _has_tensors(path: Path) -> bool:
    """Whether the header fits the file."""
    import safetensors

    try:
        with safetensors.safe_open(path, framework="np") as f:
            return bool(f.keys())
    except (safetensors.SafetensorError, OSError, ValueError):
        return False


def _has_picture(path: Path) -> bool:
    """Whether it is a whole PNG of a size that one can look at."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.width * picture.height <= LIMIT_PIXELS:
                picture.load()
                return True
    except Exception:  # Pillow raises many kinds
        pass
    return False
