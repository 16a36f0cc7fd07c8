"""The command line: one function a command. Exit codes: 0 done, 1 failed, 2 bad use."""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from . import report
from .config import FIXED, differences, override, parse_settings, to_dict
from .errors import SymeqError, UsageError
from .gallery import SHIPPED
from .presets import PRESETS, gallery_presets, preset
from .runs import Run, all_runs, new_folder, runs_root

VARIANTS = ("mnist-ladder", "mnist-reverse", "fmnist-ladder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        options = _parser().parse_args(arguments)
        code = options.run(options) or 0
        sys.stdout.flush()
        return code
    except UsageError as e:
        return _complain(str(e), 2)
    except SymeqError as e:
        return _complain(str(e), 1)
    except KeyboardInterrupt:
        return _complain("Interrupted.", 1)
    except BrokenPipeError:  # `| head` has read enough
        _drop_output()
        return 0
    except OSError as e:
        if not e.filename:
            _drop_output()
        return _complain(f"{e.filename or 'The output'} can't be used ({e.strerror or e}).", 1)


def _drop_output() -> None:
    """What is left in the buffer goes nowhere, or Python would try, and complain, once more at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(sentence: str, code: int) -> int:
    with suppress(OSError):  # nobody is there to read it
        print(f"symeq_core: {' '.join(sentence.split())}", file=sys.stderr)
    return code


# --- train -----------------------------------------------------------------------------------------------------


def _train(o: argparse.Namespace) -> int:
    changes = parse_settings(o.set) | ({"train.steps": o.steps} if o.steps else {})
    if o.steps and "train.steps" in parse_settings(o.set):
        raise UsageError("--steps and --set train.steps say the same thing: give one of them.")
    if o.run_folder:
        if o.preset or o.out:
            raise UsageError("--preset and --out are for a new run; a run folder is resumed as it is.")
        if not o.run_folder.exists() and str(o.run_folder) in PRESETS:
            raise UsageError(f"{o.run_folder} is a preset: train it with --preset {o.run_folder}.")
        run = Run.open(report.folder_of(o.run_folder))
    else:
        run, changes = _started(o, changes), {}
    from .worker import Worker

    with _Progress(run) as progress:
        end = Worker(run, progress.hear, changes).work()
    print(_summary(run, end))
    return 0 if end == "finished" or run.events()[-1].get("reason") == "asked to" else 1


def _started(o: argparse.Namespace, changes: dict[str, Any]) -> Run:
    if not o.preset:
        raise UsageError("Name a preset (--preset digits-flat-symmetric) or a run folder to resume.")
    config = override(preset(o.preset), changes)
    from .worker import check

    config = check(config)
    return Run.create(o.out or new_folder(runs_root(), config.name), config)


_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}"


class _Progress:
    """A live bar with both utilities and images per second; plain lines where there is no terminal."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.bar: Any = None

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            with suppress(OSError):  # the terminal is gone
                self.bar.close()

    def hear(self, event: dict[str, Any]) -> None:
        """Show one event."""
        if not self.bar:
            self._open()
        show = getattr(self, f"_{event['event']}", None)
        if show:
            show(event)

    def _open(self) -> None:
        from tqdm import tqdm

        c, folder = self.run.config(), self.run.folder
        what = f"{c.data.name}, {c.model.kind}, {c.learner.name}, {c.train.steps:,} steps"
        print(f"{folder}: {what}; Ctrl-C saves and stops, `train {shlex.quote(str(folder))}` resumes", file=sys.stderr)
        self.bar = tqdm(total=c.train.steps, bar_format=_FORMAT, disable=None, smoothing=0.1, **_size())

    def _say(self, line: str) -> None:
        self.bar.write(line, file=sys.stderr)
        sys.stderr.flush()

    def _start(self, event: dict[str, Any]) -> None:
        self.bar.reset()
        self.bar.initial = self.bar.n = event["step"]
        if event["step"] >= self.bar.total:
            self._say(f"It was finished already; --steps N with N above {event['step']:,} trains it longer")

    _resume = _start

    def _data(self, event: dict[str, Any]) -> None:
        total = f"/{event['total']:,}" if event["total"] else ""
        self.bar.set_description(f"{event['what']} {event['done']:,}{total}")

    def _metrics(self, event: dict[str, Any]) -> None:
        self.bar.n = event["step"]
        utility = ", ".join(f"{player} {value:.2f}" for player, value in event["utility"].items())
        self.bar.set_postfix_str(f"utility {utility}, {event['images_per_s']:,.0f} images/s")

    def _probe(self, event: dict[str, Any]) -> None:
        if self.bar.disable:
            self._say(f"step {event['step']:,}: {_figures(event['figures'])}")

    def _set(self, event: dict[str, Any]) -> None:
        self.bar.total = self.run.config().train.steps
        self._say(f"step {event['step']:,}: set {', '.join(f'{k}={v}' for k, v in event['changes'].items())}")

    def _refused(self, event: dict[str, Any]) -> None:
        self._say(f"step {event['step']:,}: refused a command: {event['why']}")

    def _paused(self, event: dict[str, Any]) -> None:
        self._say(f"step {event['step']:,}: paused")

    def _running(self, event: dict[str, Any]) -> None:
        self._say(f"step {event['step']:,}: going on")


def _size() -> dict[str, Any]:
    """As wide as the terminal is, or a usual width where it doesn't say."""
    try:
        known = all(os.get_terminal_size(sys.stderr.fileno()))
    except (OSError, ValueError):  # no terminal
        known = True
    return {"dynamic_ncols": True} if known else {"ncols": 80, "nrows": 24}


def _figures(figures: dict[str, Any]) -> str:
    def shown(unit: str) -> str:
        parts = [(k, f["value"], f["stderr"]) for k, f in figures.items() if f["unit"] == unit]
        return ", ".join(f"{k} {v:.2f}" + ("" if e is None else f" ± {e:.2f}") for k, v, e in parts if v is not None)

    found = f"{shown('nats per image')} nats per test image"
    rest = shown("fraction")
    return f"{found}, {rest}" if rest else found


def _summary(run: Run, end: str) -> str:
    """How a run ended, and where it is."""
    probes = [e for e in run.events() if e["event"] == "probe"]
    line = f"{end} at step {run.step():,}"
    if probes:
        at = "" if probes[-1]["step"] == run.step() else f"at step {probes[-1]['step']:,}, "
        n = probes[-1]["figures"]["L_p"]["n"]
        line += f": {at}{_figures(probes[-1]['figures'])} (mean ± s.e., n = {n})"
    return f"{line}\n{run.folder}"


# --- evaluate, sample ------------------------------------------------------------------------------------------


def _evaluate(o: argparse.Namespace) -> int:
    return report.evaluate(o)


def _train_extractor(o: argparse.Namespace) -> int:
    return report.train_extractor(o)


def _sample(o: argparse.Namespace) -> int:
    import torch

    from . import chains, files
    from .datasets import load_data
    from .figures import grid
    from .sheets import png, titled
    from .sources import clean

    if not 1 <= o.n <= 1024 or not 1 <= o.chain <= 100_000:
        raise UsageError("--n is from 1 to 1,024 and --chain from 1 to 100,000.")
    if o.out.suffix.lower() != ".png":
        raise UsageError(f"{o.out} does not end in .png: name a PNG file.")
    p, q, config, step = report.loaded(o.target, o.device)
    test = load_data(config.data).test.images[: o.n]
    x = clean(test, config.data).to(next(p.parameters()).device)
    torch.manual_seed(o.seed)
    columns = max(1, round(o.n**0.5))
    pairs = torch.cat((x, chains.reconstruct(p, q, x)), 3)
    boards = [
        ("Random codes:\nz from the prior, mean of x", grid(chains.decoded_prior(p, o.n), columns)),
        (f"{report.test_images(config).capitalize()},\neach beside its reconstruction", grid(pairs, columns)),
        (
            f"Limiting samples: {o.chain:,} round trips\nfrom noise, mean of x",
            grid(chains.limiting(p, q, o.n, o.chain), columns),
        ),
    ]
    files.write(o.out, png(titled(boards)))
    shown = "" if len(x) == o.n else f" (but {len(x)} test images, as there are no more)"
    at = "" if step is None else f" at step {step:,}"
    print(f"{o.out}: {o.n} images of each kind{shown} by {config.name}{at}, seed {o.seed}")
    return 0


# --- presets, runs, import -------------------------------------------------------------------------------------


def _presets(o: argparse.Namespace) -> int:
    if o.name:
        print(json.dumps(to_dict(preset(o.name)), indent=2))
        return 0
    rows = []
    for name in PRESETS:
        c = preset(name)
        layers = " ".join(map(str, c.model.latents))
        rows.append((name, c.data.name, f"{c.model.kind} {layers}", c.learner.name, f"{c.train.steps:,}"))
    _table(("preset", "data", "model (z0 first)", "learner", "steps"), rows)
    return 0


def _runs(o: argparse.Namespace) -> int:
    root = o.root or runs_root()
    rows: list[tuple[str, ...]] = []
    for run in all_runs(root):
        try:
            c = run.config()
            done = f"{run.step():,} / {c.train.steps:,}"
            rows.append((run.folder.name, run.state(), done, c.data.name, c.model.kind, c.learner.name, _age(run)))
        except (SymeqError, OSError) as e:
            rows.append((run.folder.name, "damaged", "", "", "", "", " ".join(str(e).split())))
    if not rows:
        print(f"No runs in {root} yet: `python -m symeq_core train --preset digits-flat-symmetric` makes one.")
        return 0
    _table(("run", "state", "step", "data", "model", "learner", "last event"), rows)
    return 0


def _age(run: Run) -> str:
    events = run.events()
    seconds = time.time() - events[-1].get("time", 0) if events else 0
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago" if events else "never"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def _ship(o: argparse.Namespace) -> int:
    from .ship import ship

    if o.all == bool(o.targets):
        raise UsageError("Name finished runs to ship, or --all to train and ship every pair of the gallery.")
    for run in map(_gallery_run, gallery_presets()) if o.all else (Run.open(report.folder_of(k)) for k in o.targets):
        name = run.config().name.removeprefix("gallery-")
        ship(run, o.out / name, name, replace=o.all)
        print(o.out / name)
    return 0


def _gallery_run(name: str) -> Run:
    """The finished run of a preset in the folder of runs, trained (on) where it isn't finished.

    UsageError where it was trained with other settings than the preset has now.
    """
    from .datasets import complete

    folder, wanted = runs_root() / name, preset(name)
    run = Run.open(folder) if folder.exists() else Run.create(folder, wanted)
    other = sorted(differences(complete(run.config()), complete(wanted)).keys() - set(FIXED))
    if other:
        raise UsageError(
            f"{folder} has other settings than the preset {name} ({', '.join(other)}): delete it to train it anew, or "
            "ship it by its name."
        )
    if run.state() != "finished":
        from .worker import Worker

        with _Progress(run) as progress:
            Worker(run, progress.hear).work()
    return run


def _project(o: argparse.Namespace) -> int:
    from . import maps
    from .trainer import set_threads

    set_threads(0)
    folders, spec = [report.folder_of(k) for k in o.targets], maps.Spec(o.layer, o.codes, o.n)
    if o.joint:
        return _project_jointly(folders, spec, o)
    for folder in folders:
        print(maps.write(folder) if o.write else maps.project(folder, spec))
    return 0


def _project_jointly(folders: list[Path], spec: Any, o: argparse.Namespace) -> int:
    from . import gallery, maps

    if not o.write:
        if len(folders) != 2:
            raise UsageError(f"--joint lays out two pairs together, but {len(folders)} were named: name two.")
        specs = (spec, maps.Spec(o.joint_layer or spec.layer, spec.codes, spec.n))
        print(maps.joint_project(maps.Two((folders[0], folders[1]), specs)))
        return 0
    pairs = [gallery.Pair(folder.name, folder) for folder in folders]
    for pair in pairs:
        other = gallery.counterpart(pair, pairs) if pair.config().learner.name == "symmetric" else None
        if other:
            print(maps.joint_write(pair.folder, other.folder))
    return 0


def _chain(o: argparse.Namespace) -> int:
    from . import tripstore
    from .trainer import set_threads

    if o.write and o.start:
        raise UsageError("chain --write computes all starts that it writes: leave --start out.")
    set_threads(0)
    for folder in map(report.folder_of, o.targets):
        with _percent() as tell:
            if o.write:
                print(tripstore.write(folder, tell))
                continue
            found = tripstore.compute(folder, o.start or "test", tell)
        _chain_table(found)
    return 0


def _chain_table(found: dict[str, Any]) -> None:
    rows: list[tuple[str, ...]] = []
    for i, k in enumerate(found["ks"]):
        cells = [found[g]["value"][i] if found[g]["value"] else None for g in ("retention", "frechet")]
        rows.append((f"{k:,}", *("" if v is None else f"{v:.3f}" for v in cells)))
    print(f"{found['n']:,} chains, start: {found['start']}, seed {found['seed']}")
    _table(("k", "retention", "Fréchet distance"), rows)


def _pictures(o: argparse.Namespace) -> int:
    from . import portrait
    from .trainer import set_threads

    set_threads(0)
    with _percent() as tell:
        print(portrait.compute(report.folder_of(o.target), tell))
    return 0


@contextmanager
def _percent() -> Iterator[Callable[[str, float], object]]:
    """A progress bar on a terminal; yields what to tell the fraction done to."""
    from tqdm import tqdm

    with tqdm(total=100, unit="%", disable=None, leave=False) as bar:
        yield lambda _, done: bar.update(100 * done - bar.n)


def _import_authors(o: argparse.Namespace) -> int:
    from .authors import import_authors

    config = import_authors(o.file, o.variant, o.out)
    layers = " ".join(map(str, config.model.latents))
    print(f"{o.out}: {config.name}, {layers}, H = {config.model.width}")
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; `{self.prog} --help` tells more.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m symeq_core",
        description="Train and look at VAEs learned by the symmetric game, the ELBO or wake-sleep.",
        epilog="Data: SYMEQ_DATA, else the platform's cache folder. Runs: SYMEQ_RUNS, else ./runs. "
        "Exit codes: 0 done, 1 failed, 2 bad use.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    c = command("train", _train, "Train a preset, or resume a run folder.")
    c.add_argument("run_folder", nargs="?", type=Path, metavar="RUN_FOLDER", help="a run to resume")
    c.add_argument("--preset", help="what to train; `presets` lists them")
    c.add_argument("--steps", type=_positive, metavar="N", help="train up to iteration N in all")
    c.add_argument("--out", type=Path, metavar="FOLDER", help="the new run's folder (default: one in ./runs)")
    c.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a field of the config, as in lr=3e-4 or model.latents='bernoulli:8 bernoulli:24' (repeatable)",
    )

    c = command("evaluate", _evaluate, "Sample quality, likelihood and consistency of checkpoints or runs.")
    c.add_argument(
        "targets", type=Path, nargs="+", metavar="target", help="a checkpoint or run folder; several: a table"
    )
    _drawing(c)
    c.add_argument("--json", action="store_true", help="machine-readable output")
    c.add_argument("--n", type=_whole, metavar="N", help="images in each set whose quality is scored (default 2,000)")
    c.add_argument("--chain", type=_whole, metavar="K", help="round trips of the longest chain (default 1,000)")
    c.add_argument("--quick", action="store_true", help="500 images and chains of 100, for a first look")
    c.add_argument(
        "--inception", action="store_true", help="also FID by Inception, whose weights are downloaded (slow)"
    )
    c.add_argument("--write", action="store_true", help="into TARGET/metrics.json")
    c.add_argument("--short", action="store_true", help="L_p, L_q and ELBO only")
    c.add_argument("--limit", type=_whole, metavar="N", help="with --short: only the first N test images")

    text = "Train the classifier in whose features sample quality is measured."
    c = command("train-extractor", _train_extractor, text)
    c.add_argument("data", choices=("digits", "mnist", "fashion_mnist", "folder"), help="images with classes")
    c.add_argument("--seed", type=_seed, default=0, metavar="S", help="of weights, batches and variations (default 0)")
    c.add_argument("--epochs", type=_positive, metavar="N", help="default: 100 for digits, else 10")
    c.add_argument("--out", type=Path, metavar="FOLDER", help="default: where evaluate looks for it")
    c.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the data: path, size, binarize")

    c = command("sample", _sample, "A picture: random codes, reconstructions and limiting samples.")
    _target(c)
    c.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    c.add_argument("--n", type=_whole, default=64, help="images of each kind (default 64)")
    c.add_argument("--chain", type=_whole, default=1000, metavar="K", help="round trips of the chain (default 1,000)")

    c = command("presets", _presets, "List the presets, or show one whole.")
    c.add_argument("name", nargs="?", help="show this preset's complete config as JSON")

    c = command("chain", _chain, "Statistics of round-trip chains, kept for the app.")
    c.add_argument("targets", type=Path, nargs="+", metavar="TARGET", help="checkpoint or run folders")
    c.add_argument("--start", choices=("test", "prior", "noise"), help="where the chains begin (default: test)")
    c.add_argument("--write", action="store_true", help="those from random codes and noise, into TARGET/chains.json")

    c = command("pictures", _pictures, "Pictures of the weights as they are, for a pair without snapshots.")
    c.add_argument("target", type=Path, help="a checkpoint or run folder")

    c = command("import-authors", _import_authors, "Read a model saved by the paper's authors into a checkpoint.")
    c.add_argument("file", type=Path, help="a state dict written by torch.save; only weights are read")
    c.add_argument("--variant", choices=VARIANTS, help="default: told by the names of its tensors")
    c.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="the new checkpoint's folder")

    c = command("ship", _ship, "Make checkpoints to be shipped of finished runs.")
    c.add_argument("targets", type=Path, nargs="*", metavar="RUN_FOLDER", help="finished runs")
    c.add_argument("--all", action="store_true", help="every pair of the gallery, trained first where it isn't yet")
    c.add_argument("-o", "--out", type=Path, default=SHIPPED, metavar="FOLDER", help="default: checkpoints/")

    c = command("project", _project, "A map (UMAP) of the codes of test images, into the cache or beside the weights.")
    c.add_argument("targets", type=Path, nargs="+", metavar="TARGET", help="a checkpoint or run folder")
    c.add_argument("--layer", default="z0", help="which layer of code (default z0)")
    c.add_argument("--codes", choices=("mean", "sample"), default="mean", help="E[z|x] or one draw (default mean)")
    c.add_argument("--n", type=_whole, default=5000, help="test images (default 5,000, or all if fewer)")
    c.add_argument("--joint", action="store_true", help="two pairs on one map (AlignedUMAP)")
    c.add_argument("--joint-layer", metavar="LAYER", help="with --joint: the layer of the second, where it is another")
    c.add_argument(
        "--write",
        action="store_true",
        help="every layer, into TARGET/projection.safetensors; with --joint: of each of the game's pairs and its ELBO "
        "counterpart among the targets, into checkpoints/joint",
    )

    c = command("runs", _runs, "List runs with their state.")
    c.add_argument("--root", type=Path, help="the folder they are in (default: SYMEQ_RUNS, else ./runs)")
    return parser


def _target(c: argparse.ArgumentParser) -> None:
    c.add_argument("target", type=Path, help="a checkpoint or run folder")
    _drawing(c)


def _drawing(c: argparse.ArgumentParser) -> None:
    c.add_argument("--seed", type=_seed, default=0, metavar="S", help="of everything drawn (default 0)")
    c.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (default cpu)")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text[:80]}' is not a whole number") from None


def _positive(text: str) -> int:
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but it is {value}")
    return value


def _seed(text: str) -> int:
    value = _whole(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"must be from 0 to {2**63 - 1}, but it is {value}")
    return value
