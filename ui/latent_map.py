"""The component that draws two maps locked together, and what is sent to it."""

import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

THUMBNAIL = 32  # pixels a side at most, so that thousands of larger images stay a few megabytes
HERE = Path(__file__).parent
LABELS = ("#4466cc", "#f28e2b", "#e15759", "#2fa8a0", "#59a14f", "#d4ac0d", "#a868b0", "#f781a7", "#9c755f", "#63bdf0")
_TYPES = {"float32": "f4", "uint16": "u2", "uint8": "u1", "int32": "i4"}


def _read(*names: str) -> str:
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


_maps = st.components.v2.component(
    "symeq_latent_maps",
    html='<div class="root"></div>',
    css=_read("latent_map.css"),
    js=_read("latent_decode.js", "latent_pane.js", "latent_map.js"),
)
_sheet = st.components.v2.component("symeq_latent_sheet", html="<div></div>", js=_read("latent_sheet.js"))


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """One message: the header's length, the header with an `id` of all content, and the arrays it names."""
    places, parts, offset = {}, [], 0
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        places[name] = [_TYPES[str(array.dtype)], offset, array.size]
        parts.append(raw + bytes(-len(raw) % 4))
        offset += len(parts[-1])
    body = b"".join(parts)
    text = json.dumps(header)
    name = blake2b(text.encode() + body, digest_size=8).hexdigest()

    def encoded(shift: int) -> bytes:
        moved = {k: [t, at + shift, size] for k, (t, at, size) in places.items()}
        raw = json.dumps({**header, "id": name, "arrays": moved}).encode()
        return raw + b" " * (-(len(raw) + 4) % 4)

    shift = 0
    while shift != 4 + len(encoded(shift)):
        shift = 4 + len(encoded(shift))
    head = encoded(shift)
    return len(head).to_bytes(4, "little") + head + body


def sheet(x: np.ndarray) -> tuple[bytes, dict[str, Any]]:
    """Images [N, C, H, W] in [0, 1] on one PNG, row by row, as small as it goes, with the 16 characters of its id
    before it; and what the map must know of it.
    """
    x = _small(x)
    n, c, h, w = x.shape
    columns = max(1, int(np.ceil(np.sqrt(n))))
    rows = -(-n // columns)
    full = np.zeros((rows * columns, c, h, w), np.uint8)
    full[:n] = np.clip(x * 255, 0, 255).round()
    board = full.reshape(rows, columns, c, h, w).transpose(0, 3, 1, 4, 2).reshape(rows * h, columns * w, c)
    image = Image.fromarray(board if c == 3 else board[..., 0])
    if c != 3 and not np.any((board > 0) & (board < 255)):
        image = image.convert("1")
    buffer = BytesIO()
    image.save(buffer, "PNG")
    name = blake2b(buffer.getvalue(), digest_size=8).hexdigest()
    return name.encode() + buffer.getvalue(), {"id": name, "columns": columns, "w": w, "h": h}


def _small(x: np.ndarray) -> np.ndarray:
    """Images of at most THUMBNAIL pixels a side, blocks of pixels averaged."""
    f = -(-max(x.shape[2:]) // THUMBNAIL)
    h, w = x.shape[2] // f, x.shape[3] // f
    return x if f == 1 else x[..., : h * f, : w * f].reshape(*x.shape[:2], h, f, w, f).mean((3, 5))


def send_sheet(data: bytes) -> None:
    """The images, on a component of their own: they are sent once, and stay when the maps change."""
    _sheet(key="latent sheet", data=data, height=1)


def maps(data: bytes, changed: Callable[[], None]) -> Any:
    """The two maps; the result has `selected` (numbers of images), `view` [x, y, zoom] and `drawn` {what: whether}."""
    return _maps(
        key="latent maps", data=data, on_selected_change=changed, on_view_change=changed, on_drawn_change=changed
    )
