"""From a finished run to a pair as it is shipped in checkpoints/: no optimiser, fewer snapshots and events."""

import io
import os
import tempfile
from pathlib import Path

from PIL import Image

from . import files
from .checkpoints import pair_tensors, read_tensors, saved_step, tensor_bytes
from .config import override, to_dict
from .errors import UsageError
from .follow import thinned
from .models import build
from .runs import MEASURED, Run
from .sheets import BOARDS, png

SNAPSHOTS = 24
POINTS = 400  # of a curve
THUMBNAIL = 4  # images a side


def ship(run: Run, folder: Path, name: str, replace: bool = False) -> None:
    """Write the run's pair into a new folder, or in place of an older one, which stays until the new one is complete.

    UsageError where the run isn't finished or, unless it is to be replaced, the folder exists.
    """
    config, step = run.config(), saved_step(run.folder)
    if run.state() != "finished" or step != config.train.steps:
        raise UsageError(f"{run.folder} is not finished: train it to its end first.")
    if folder.exists() and not replace:
        raise UsageError(f"{folder} exists: remove it first.")
    with tempfile.TemporaryDirectory(prefix=".ship-", dir=_made(folder.parent)) as temporary:
        new = Path(temporary) / name
        _write(run, new, name, step)
        old = Path(temporary) / "old"
        if folder.exists():
            os.rename(folder, old)
        try:
            os.rename(new, folder)
        except OSError:
            if old.exists():
                os.rename(old, folder)
            raise


def _made(folder: Path) -> Path:
    with files.told(f"{folder} could not be made"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(run: Run, folder: Path, name: str, step: int) -> None:
    config = run.config()
    tensors, _ = read_tensors(run.weights)
    kept = {k: tensors[k] for k in pair_tensors(*build(config.model))}
    snapshots = run.snapshots()
    chosen = _spread(list(snapshots))
    for k in chosen:
        names = (*BOARDS, "codes.safetensors") if k == chosen[-1] else BOARDS
        found = {n: (snapshots[k] / n).read_bytes() for n in names if (snapshots[k] / n).is_file()}
        files.write_folder(folder / "snapshots" / snapshots[k].name, found)
    out = Run(folder)
    for event in _events(run):
        out.append(event)
    files.write(folder / "thumbnail.png", _thumbnail(snapshots[chosen[-1]] / "samples.png"))
    files.write_json(folder / "config.json", to_dict(override(config, {"name": name})))
    files.write(folder / "model.safetensors", tensor_bytes(kept, {"step": str(step)}))


def _spread(steps: list[int], most: int = SNAPSHOTS) -> list[int]:
    """About `most` of the steps, evenly by place in the list, which is dense early; with the first and the last."""
    if len(steps) <= most:
        return steps
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def _events(run: Run) -> list[dict]:
    """What the curves need: metrics and probes thinned, what was set, and its end, once where it was trained on."""
    found = run.events()
    end = max(i for i, e in enumerate(found) if e["event"] == "finished")
    found = [e for i, e in enumerate(found) if e["event"] != "finished" or i == end]
    measured = [e for kind in MEASURED[:2] for e in thinned([e for e in found if e["event"] == kind], POINTS)]
    kept = {id(e) for e in measured} | {id(e) for e in found if e["event"] in ("start", "set", "finished")}
    return [{k: v for k, v in e.items() if k != "pid"} for e in found if id(e) in kept]


def _thumbnail(samples: Path) -> bytes:
    """The first few samples of a board of eight a side."""
    board = Image.open(io.BytesIO(samples.read_bytes()))
    side = round((board.width - 2) / 8) * THUMBNAIL + 2
    return png(board.convert("RGB").crop((0, 0, side, side)))
