"""Own images: a folder on this machine, or a zip that is unpacked into one."""

import hashlib
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import streamlit as st

LIMIT = 500 * 2**20  # bytes, unpacked
FILES = 200_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")


def own_images(root: Path) -> dict[str, Any]:
    """Where own images are and how large they shall be; empty until there are some."""
    source = st.segmented_control("Own images", ("Zip file", "Folder"), default="Zip file", required=True, key="source")
    path = ""
    if source == "Folder":
        path = st.text_input("Folder on this machine", key="path", placeholder="/home/me/pictures", bind="query-params")
    else:
        given = st.file_uploader("A zip of images; its sub-folders are the labels", type="zip", max_upload_size=500)
        if given:
            path = _unpacked(root, given)
    a, b = st.columns(2)
    side = a.number_input("Side in pixels", 8, 128, 28, key="side", bind="query-params")
    colour = b.segmented_control(
        "Pixels", ("Grey", "Colour"), default="Grey", required=True, key="colour", bind="query-params"
    )
    return {"data.path": path or None, "data.size": int(side), "data.channels": 3 if colour == "Colour" else 1}


def _unpacked(root: Path, given: Any) -> str:
    """The folder the images of an uploaded zip are in; a zip seen before is not unpacked again."""
    content = given.getvalue()
    folder = root / ".images" / f"{Path(given.name).stem[:40]}-{hashlib.blake2b(content, digest_size=6).hexdigest()}"
    if not folder.is_dir():
        problem = _extract(given, folder)
        if problem:
            st.error(problem)
            return ""
    return str(folder)


def _extract(given: Any, folder: Path) -> str | None:
    """Unpack the images of a zip into a new folder; a sentence where it can't be, and then nothing is left behind."""
    partial = folder.with_name(folder.name + ".partial")
    try:
        with zipfile.ZipFile(given) as z:
            members = [m for m in z.infolist() if m.filename.lower().endswith(SUFFIXES) and not _hidden(m.filename)]
            if not members:
                return f"{given.name} holds no images ({', '.join(SUFFIXES)})."
            if len(members) > FILES or sum(m.file_size for m in members) > LIMIT:
                return f"{given.name} holds too much: at most {FILES:,} images of {LIMIT >> 20} MB together."
            depth = 1 if all(len(PurePosixPath(m.filename).parts) > 2 for m in members) else 0
            for i, m in enumerate(members):
                parts = PurePosixPath(m.filename).parts[depth:]
                label = parts[-2] if len(parts) > 1 else ""
                target = partial / label / f"{i:06}{PurePosixPath(m.filename).suffix.lower()}"
                target.parent.mkdir(parents=True, exist_ok=True)
                with z.open(m) as source, open(target, "wb") as f:
                    shutil.copyfileobj(source, f)
        partial.rename(folder)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        return f"{given.name} is damaged, encrypted or not a zip: pack the images anew."
    except OSError as e:
        return f"{folder.parent} could not be written ({e.strerror or e}): free or unlock that disk."
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return None


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(k.startswith((".", "__MACOSX")) or k == ".." or "\\" in k for k in parts)
