"""Data -> image grids."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

TILE = 28  # pixels; smaller images are enlarged to at least this
GREY = 128


def grid(x: Tensor, columns: int, gap: int = 2) -> Image.Image:
    """Images [N, C, H, W] in [0, 1], row by row in `columns` columns."""
    import torchvision

    scale = max(1, -(-TILE // x.shape[-1]))
    big = x.detach().float().cpu().clamp(0, 1).repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    board = torchvision.utils.make_grid(big, nrow=columns, padding=gap, pad_value=GREY / 255)
    return Image.fromarray((board.permute(1, 2, 0) * 255).round().byte().numpy())


def rows(parts: Sequence[Tensor]) -> Image.Image:
    """Row r shows parts[r] [N, C, H, W]: column j is image j in all its versions."""
    return grid(torch.cat([p.cpu() for p in parts]), len(parts[0]))


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
    if pixels.ndim == 3 and (pixels[..., :1] == pixels).all():
        image = image.convert("L")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def snapshot_boards(parts: dict[str, Tensor]) -> dict[str, bytes]:
    """The pictures of a snapshot, PNG by file name.

    parts: samples [N, C, H, W]; probe and reconstructions [N, C, H, W]; round_trips [K, N, C, H, W].
    """
    side = max(1, int(len(parts["samples"]) ** 0.5))
    pairs = torch.stack((parts["probe"], parts["reconstructions"]), 1).flatten(0, 1)
    return {
        "samples.png": png(grid(parts["samples"], side)),
        "reconstructions.png": png(grid(pairs, 2 * max(1, side // 2))),
        "round_trips.png": png(rows(list(parts["round_trips"]))),
    }
