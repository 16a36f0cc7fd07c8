"""Putting finished pictures together; needs Pillow only."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SNAPSHOT = ("samples.png", "reconstructions.png", "round_trips.png")  # what a montage shows
BOARDS = (*SNAPSHOT, "interpolations.png", "limiting.png")  # all pictures that a snapshot may hold
TILE, GAP, GREY = 28, 2, 128  # a grid's images are enlarged to at least so many pixels; the gap's width and colour
TRIPS = (0, 1, 2, 5, 10, 20, 50)  # rows of the round-trip grid: the data, then E[x | z] after so many trips


def titled(boards: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Boards beside one another, each under its title (which may have several lines)."""
    font, line, margin = ImageFont.load_default(13), 17, 12
    head = line * max(title.count("\n") + 1 for title, _ in boards) + 6
    needed = [max(font.getlength(part) for part in title.split("\n")) for title, _ in boards]
    widths = [max(b.width, int(w) + 1) for w, (_, b) in zip(needed, boards, strict=True)]
    height = head + max(b.height for _, b in boards) + 2 * margin
    sheet = Image.new("RGB", (sum(widths) + margin * (len(boards) + 1), height), "white")
    draw, x = ImageDraw.Draw(sheet), margin
    for width, (title, board) in zip(widths, boards, strict=True):
        draw.multiline_text((x, margin), title, fill="black", font=font, spacing=4)
        sheet.paste(board, (x, margin + head))
        x += width + margin
    return sheet


def png(image: Image.Image) -> bytes:
    """PNG bytes; grey where the picture is."""
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[2] == 3 and (pixels[..., :1] == pixels).all():
        image = image.convert("L")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def montage(snapshot: Path, gap: int = 28) -> tuple[bytes, list[float]]:
    """A snapshot's pictures side by side at one height, on a transparent ground: (PNG, their widths as fractions)."""
    boards = [Image.open(snapshot / name).convert("RGB") for name in SNAPSHOT]
    height = max(b.height for b in boards)
    scaled = [b.resize((round(b.width * height / b.height), height), Image.Resampling.NEAREST) for b in boards]
    width = sum(b.width for b in scaled) + gap * (len(boards) - 1)
    sheet, x = Image.new("RGBA", (width, height)), 0
    for board in scaled:
        sheet.paste(board, (x, 0))
        x += board.width + gap
    return png(sheet), [b.width / width for b in scaled]


def film(snapshots: Sequence[Path], milliseconds: int = 120, hold: int = 2500, width: int = 640) -> bytes:
    """Animated WebP of the samples of these snapshots: a longer look at the last one, then all in order."""
    frames = [Image.open(folder / SNAPSHOT[0]).convert("RGB") for folder in (snapshots[-1], *snapshots[:-1])]
    scale = max(1, round(width / frames[0].width))
    frames = [f.resize((f.width * scale, f.height * scale), Image.Resampling.NEAREST) for f in frames]
    buffer, times = io.BytesIO(), [hold] + [milliseconds] * (len(frames) - 1)
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], duration=times, loop=0, lossless=True)
    return buffer.getvalue()
