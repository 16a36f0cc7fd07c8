"""Own images: a folder on this machine, or a zip that is unpacked into one."""

import os
from pathlib import Path
from typing import Any

import streamlit as st

from symeq_core import folders
from symeq_core.errors import SymeqError

from . import say
from .choice import segments

SOURCES = {"zip": "Upload a zip", "folder": "A folder on this machine"}
MEGABYTES = 500  # of an upload, as in .streamlit/config.toml


def own_images(root: Path) -> dict[str, Any] | None:
    """Where own images are, their size and what they are; None where none are chosen yet, and that is said."""
    source = segments(
        "Where they are",
        SOURCES,
        "source",
        help="Sub-folders are the labels, if there are two or more. Of each image the central square is used; a tenth "
        "of the images is kept for testing.",
    )
    path = _uploaded(root) if source == "zip" else _named()
    a, b = st.columns(2)
    side = a.number_input(
        "Side in pixels", 8, 128, 28, key="side", bind="query-params", help="Each image is resized to this."
    )
    colour = b.segmented_control(
        "Pixels", ("Grey", "Colour"), default="Grey", required=True, key="colour", bind="query-params"
    )
    if path is None:
        return None
    try:
        st.caption(f":material/check: {_contents(str(path))}")
    except SymeqError as e:
        say.error(e)
        return None
    return {"data.path": str(path), "data.size": int(side), "data.channels": 3 if colour == "Colour" else 1}


@st.cache_data(max_entries=16, ttl=20, show_spinner=False)
def _contents(path: str) -> str:
    return str(folders.contents(Path(path)))


def _named() -> Path | None:
    text = st.text_input("Folder", key="path", placeholder="/home/me/pictures", bind="query-params").strip()
    if not text:
        st.caption("Name a folder of images to train on.")
        return None
    path = os.path.abspath(os.path.expanduser(text))
    if not os.path.isdir(path):  # unlike pathlib's, false for whatever can't be one
        say.error(f"There is no folder {path[:200]} on this machine: name one that holds images.")
        return None
    return Path(path)


def _uploaded(root: Path) -> Path | None:
    given = st.file_uploader("A zip of images", type="zip", max_upload_size=MEGABYTES, key="zip")
    if given and st.session_state.get("unpacked") != given.file_id:
        try:
            with st.spinner(f"Unpacking {given.name} …"):
                folder = folders.unpack(given, given.name, root)
        except SymeqError as e:
            say.error(e)
        else:
            st.session_state["unpacked"] = given.file_id
            st.query_params["images"] = folder.name
    names = folders.uploaded(root)
    wanted = st.query_params.get("images")
    if wanted and wanted not in names:
        say.error(f"No images {wanted[:80]!r} were uploaded here: upload their zip again, or choose others.")
    if not names:
        if not given:
            st.caption(f"At least {folders.LEAST} PNG, JPEG or other image files, packed into a zip.")
        return None
    index = names.index(wanted) if wanted in names else None
    key = f"images {wanted}"  # another one in the URL is another box, as a box keeps its choice
    name = st.selectbox("Images to train on", names, index, key=key, placeholder="Uploaded before …")
    if name and name != wanted:
        st.query_params["images"] = name
    return root / folders.UPLOADS / name if name else None
