"""The command line: train, evaluate, sample, presets, import-authors, runs. Exit codes: 0, 1 failed, 2 bad use."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .config import Config, check_live, override, parse_settings, to_dict
from .errors import SymeqError, UsageError
from .presets import PRESETS, preset
from .runs import Run, all_runs, new_folder, runs_root

VARIANTS = ("mnist-ladder", "mnist-reverse", "fmnist-ladder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except UsageError as e:
        return _complain(str(e), 2)
    except SymeqError as e:
        return _complain(str(e), 1)
    except KeyboardInterrupt:
        return _complain("Interrupted.", 1)
    except BrokenPipeError:  # `| head` closed our output
        sys.stderr.close()
        return 0
    except OSError as e:
        return _complain(f"{e.filename or 'A file'} can't be used ({e.strerror or e}).", 1)


def _complain(sentence: str, code: int) -> int:
    print(f"symeq_core: {sentence}", file=sys.stderr)
    return code


# --- train -----------------------------------------------------------------------------------------------------


def _train(o: argparse.Namespace) -> int:
    from .worker import Worker

    changes = parse_settings(o.set) | ({"train.steps": o.steps} if o.steps else {})
    run = _resumed(o, changes) if o.run_folder else _started(o, changes)
    steps = run.config().train.steps
    print(f"{run.folder}: {steps:,} steps; stop with Ctrl-C, resume with `train {run.folder}`", file=sys.stderr)
    with _Bar(steps) as bar:
        end = Worker(run, bar.hear).work()
    _summary(run, end)
    return 0 if end == "finished" or _was_asked(run) else 1


def _started(o: argparse.Namespace, changes: dict[str, Any]) -> Run:
    if not o.preset:
        raise UsageError("Name a preset (--preset digits-flat-symmetric) or a run folder to resume.")
    config = override(preset(o.preset), changes)
    return Run.create(o.out or new_folder(runs_root(), config.name), config)


def _resumed(o: argparse.Namespace, changes: dict[str, Any]) -> Run:
    if o.preset or o.out:
        raise UsageError("--preset and --out are for a new run; a run folder is resumed as it is.")
    run = Run.open(o.run_folder)
    fresh = not run.weights.is_file()
    if not fresh:
        check_live({k: v for k, v in changes.items() if k not in ("train.device", "train.threads")} or {})
    if run.is_running():
        raise SymeqError(f"{run.folder} is being trained by another process: stop that one first.")
    if changes:
        run.write_config(override(run.config(), changes))
    return run


def _was_asked(run: Run) -> bool:
    return run.events()[-1].get("reason") == "asked to"


class _Bar:
    """A live progress bar with both utilities and images per second; plain lines where there is no terminal."""

    def __init__(self, steps: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=steps, unit="step", disable=None, dynamic_ncols=True, smoothing=0.1)
        self.quiet = self.bar.disable

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def hear(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind in ("start", "resume"):
            self.bar.initial = self.bar.n = event["step"]
            self.bar.reset(self.bar.total)
            self.bar.n = event["step"]
        elif kind == "data":
            total = f"/{event['total']:,}" if event["total"] else ""
            self.bar.set_description(f"{event['what']} {event['done']:,}{total}")
        elif kind == "metrics":
            self.bar.set_description("")
            self.bar.n = event["step"]
            utility = {f"L_{k}": f"{v:.2f}" for k, v in event["utility"].items()}
            self.bar.set_postfix(utility | {"images/s": f"{event['images_per_s']:,.0f}"})
        elif kind == "probe" and self.quiet:
            print(f"step {event['step']:,}: {_figures(event['figures'])}", file=sys.stderr, flush=True)


def _figures(figures: dict[str, Any]) -> str:
    shown = [f"{k} {v['value']:.2f} ± {v['stderr']:.2f}" for k, v in figures.items() if v["value"] is not None]
    return ", ".join(shown) + " nats per test image"


def _summary(run: Run, end: str) -> None:
    probes = [e for e in run.events() if e["event"] == "probe"]
    if probes:
        n = probes[-1]["figures"]["L_p"]["n"]
        print(f"{end} at step {run.step():,}: {_figures(probes[-1]['figures'])} (mean ± s.e., n = {n})")
    print(f"{run.folder}")


# --- evaluate, sample ------------------------------------------------------------------------------------------


def _loaded(target: str, device: str) -> tuple[Any, Any, Config]:
    from .checkpoints import load, read_config
    from .trainer import device_of, set_threads

    set_threads(0)
    return *load(target, device_of(device)), read_config(target)


def _evaluate(o: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .datasets import clean, load_data
    from .metrics import utilities

    if o.limit is not None and o.limit < 2:
        raise UsageError(f"--limit {o.limit} leaves no uncertainty to state: use at least 2 images.")
    p, q, config = _loaded(o.target, o.device)
    test = load_data(config.data).test
    x = clean(test.images[: o.limit], config.data)
    labels = None if test.labels is None else test.labels[: o.limit]
    with tqdm(total=len(x), unit="image", disable=None, leave=False) as bar:
        figures = utilities(p, q, x, labels, seed=o.seed, progress=bar.update)
    if o.json:
        print(json.dumps({"target": str(o.target), "name": config.name, "seed": o.seed, "figures": figures}, indent=2))
        return 0
    print(f"{config.name}: {len(x):,} test images of {config.data.name}, seed {o.seed}")
    for name, f in figures.items():
        if f["value"] is None:
            print(f"  {name:<15} {f['reason']}")
        else:
            print(f"  {name:<15} {f['value']:10.3f} ± {f['stderr']:.3f} {f['unit']} (mean ± s.e., n = {f['n']:,})")
    return 0


def _sample(o: argparse.Namespace) -> int:
    import torch

    from . import chains, files
    from .datasets import clean, load_data
    from .figures import grid, png, titled

    if not 1 <= o.n <= 1024 or not 1 <= o.chain <= 100_000:
        raise UsageError("--n is from 1 to 1,024 and --chain from 1 to 100,000.")
    if o.out.suffix.lower() != ".png":
        raise UsageError(f"{o.out} does not end in .png: name a PNG file.")
    p, q, config = _loaded(o.target, o.device)
    test = load_data(config.data).test.images[: o.n]
    x = clean(test, config.data).to(next(p.parameters()).device)
    torch.manual_seed(o.seed)
    columns = max(2, 2 * round(o.n**0.5 / 2))
    pairs = torch.stack((x, chains.reconstruct(p, q, x)), 1).flatten(0, 1)
    boards = [
        ("Random codes: z from the prior, mean of x", grid(chains.decoded_prior(p, o.n), columns)),
        ("Test images, each beside its reconstruction", grid(pairs, columns)),
        (
            f"Limiting samples: {o.chain:,} round trips from noise, mean of x",
            grid(chains.limiting(p, q, o.n, o.chain), columns),
        ),
    ]
    files.write(o.out, png(titled(boards)))
    print(f"{o.out}: {o.n} images of each kind, seed {o.seed}")
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
        except SymeqError as e:
            rows.append((run.folder.name, "damaged", "", "", "", "", str(e)))
    if not rows:
        print(f"No runs in {root} yet: `python -m symeq_core train --preset digits-flat-symmetric` makes one.")
        return 0
    _table(("run", "state", "step", "data", "model", "learner", "last event"), rows)
    return 0


def _age(run: Run) -> str:
    events = run.events()
    seconds = time.time() - events[-1]["time"] if events else 0
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago" if events else "never"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def _import_authors(o: argparse.Namespace) -> int:
    from .authors import import_authors

    config = import_authors(o.file, o.variant, o.out)
    layers = " ".join(map(str, config.model.latents))
    print(f"{o.out}: {config.name}, {layers}, H = {config.model.width}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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

    c = command("evaluate", _evaluate, "L_p, L_q and ELBO of a checkpoint or run on the test set.")
    _target(c)
    c.add_argument("--json", action="store_true", help="machine-readable output")
    c.add_argument("--limit", type=int, metavar="N", help="only the first N test images")

    c = command("sample", _sample, "A picture: random codes, reconstructions and limiting samples.")
    _target(c)
    c.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    c.add_argument("--n", type=int, default=64, help="images of each kind (default 64)")
    c.add_argument("--chain", type=int, default=1000, metavar="K", help="round trips of the chain (default 1,000)")

    c = command("presets", _presets, "List the presets, or show one whole.")
    c.add_argument("name", nargs="?", help="show this preset's complete config as JSON")

    c = command("import-authors", _import_authors, "Read a model saved by the paper's authors into a checkpoint.")
    c.add_argument("file", type=Path, help="a state dict written by torch.save; only weights are read")
    c.add_argument("--variant", required=True, choices=VARIANTS)
    c.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="the new checkpoint's folder")

    c = command("runs", _runs, "List runs with their state.")
    c.add_argument("--root", type=Path, help="the folder they are in (default: SYMEQ_RUNS, else ./runs)")
    return parser


def _target(c: argparse.ArgumentParser) -> None:
    c.add_argument("target", type=Path, help="a checkpoint or run folder")
    c.add_argument("--seed", type=int, default=0)
    c.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (default cpu)")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
