"""Data -> image grids."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from .sheets import GAP, GREY, TILE, png


def grid(x: Tensor, columns: int, gap: int = GAP) -> Image.Image:
    """Images [N, C, H, W] in [0, 1], row by row in `columns` columns."""
    import torchvision

    scale = max(1, -(-TILE // x.shape[-2]))
    big = x.detach().float().cpu().clamp(0, 1).repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    board = torchvision.utils.make_grid(big, nrow=columns, padding=gap, pad_value=GREY / 255)
    if len(big) == 1:  # make_grid leaves a single image as it is
        board = torch.nn.functional.pad(board, [gap] * 4, value=GREY / 255).expand(3, -1, -1)
    return Image.fromarray((board.permute(1, 2, 0) * 255).round().byte().numpy())


def rows(parts: Sequence[Tensor]) -> Image.Image:
    """Row r shows parts[r] [N, C, H, W]: column j is image j in all its versions."""
    return grid(torch.cat([p.cpu() for p in parts]), len(parts[0]))


def snapshot_boards(parts: dict[str, Tensor]) -> dict[str, bytes]:
    """The pictures of a snapshot, PNG by file name.

    parts: samples [N, C, H, W]; probe and reconstructions [N, C, H, W]; round_trips [K, N, C, H, W] (K rows);
    interpolations [T, N, C, H, W] (T columns); limiting [N, C, H, W], which may be missing.
    """
    side = max(1, int(len(parts["samples"]) ** 0.5))
    pairs = torch.cat((parts["probe"], parts["reconstructions"]), 3)  # no gap within a pair
    paths = parts["interpolations"]
    boards = {
        "samples.png": grid(parts["samples"], side),
        "reconstructions.png": grid(pairs, side),
        "round_trips.png": rows(list(parts["round_trips"])),
        "interpolations.png": rows(list(paths.transpose(0, 1))),
    }
    if "limiting" in parts:
        boards["limiting.png"] = grid(parts["limiting"], side)
    return {name: png(board) for name, board in boards.items()}
