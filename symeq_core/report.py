"""The commands `evaluate`, the figures of one pair or of several side by side, and `train-extractor`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import files
from .config import Config, DataConfig, override, parse_settings
from .errors import UsageError
from .measured import QUICK, Options, at_least, best, extractor_folder, label, shown, stored
from .runs import read_config, runs_root

_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"


def folder_of(given: Path) -> Path:
    """The folder itself or, as `runs` lists them, the run of that name."""
    named = runs_root() / given
    return named if not given.exists() and named.is_dir() else given


def loaded(target: Path, device: str) -> tuple[Any, Any, Config, int | None]:
    """(p, q, config, training step) of a checkpoint or run."""
    from .checkpoints import load, saved_step
    from .trainer import device_of, set_threads

    set_threads(0)
    folder = folder_of(target)
    return *load(folder, device_of(device)), read_config(folder), saved_step(folder)


def test_images(config: Config) -> str:
    """What the test images are called: some learners have seen them."""
    return "test images" if config.data.split == "train" else "test images, also trained on,"


def evaluate(o: argparse.Namespace) -> int:
    """Run the command."""
    if o.limit is not None and not o.short:
        raise UsageError("--limit goes with --short: how many images the other figures use, --n says.")
    return _short(o) if o.short else _whole(o)


def _whole(o: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .evaluation import evaluate as measure
    from .trainer import device_of, set_threads

    set_threads(0)
    device = device_of(o.device)
    given = {"n": o.n, "chain": o.chain, "inception": o.inception or None, "seed": o.seed}
    options = replace(QUICK if o.quick else Options(), **{k: v for k, v in given.items() if v is not None})
    folders = [folder_of(t) for t in o.targets]
    for folder in folders:
        stored(folder, options)  # refuses all that can be refused before the first is computed
    results = []
    for folder in folders:
        with tqdm(total=1.0, bar_format=_FORMAT, disable=None, leave=False) as bar:

            def tell(what: str, done: float, bar: Any = bar, folder: Path = folder) -> None:
                bar.set_description(f"{folder.name}: {what}", refresh=False)
                bar.update(max(0.0, done - bar.n))

            results.append(measure(folder, options, tell, device))
        if o.write:
            files.write_json(folder / "metrics.json", results[-1])
    if o.json:
        print(json.dumps(results[0] if len(results) == 1 else results, indent=2))
    else:
        print("\n".join(table(results)))
    return 0


def table(results: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of text: what was evaluated, then a row for each figure and a column for each pair."""
    lines = [_head(r, letter if len(results) > 1 else "") for r, letter in zip(results, _letters(results), strict=True)]
    rows: list[tuple[str, ...]] = [("", *(_letters(results) if len(results) > 1 else ["value"]), "unit", "n", "better")]
    groups = dict.fromkeys(g for r in results for g in r["figures"])
    for group in groups:
        rows.append((group,))
        for name in dict.fromkeys(k for r in results for k in r["figures"].get(group, {})):
            figures = [r["figures"].get(group, {}).get(name) for r in results]
            known = [f for f in figures if f]
            sizes = dict.fromkeys(f"{f['n']:,}" for f in known if f["value"] is not None)
            marked = best(figures, [r["figures"].get(group, {}).get(at_least(name)) for r in results])
            cells = [shown(f) + (" *" if i == marked else "") for i, f in enumerate(figures)]
            f = known[0]
            rows.append((f"  {label(name)}", *cells, f["unit"], "/".join(sizes), f.get("better") or ""))
    width = max(map(len, rows))
    padded = [[*row, *[""] * (width - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in padded) for i in range(width)]
    lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in padded]
    for r, letter in zip(results, _letters(results), strict=True):
        lines += [f"{letter + ': ' if len(results) > 1 else ''}no {k}: {why}" for k, why in r["missing"].items()]
        lines += _reasons(r, letter if len(results) > 1 else "")
    if len(results) > 1:
        lines.append("* the best, by more than 2 standard errors of the difference; where none is marked, none is.")
    lines.append("± is one standard error. --json tells what each figure means, and its extractor and seed.")
    return lines


def _letters(results: Sequence[dict[str, Any]]) -> list[str]:
    return [chr(ord("A") + i) if len(results) <= 26 else str(i + 1) for i in range(len(results))]


def _head(r: dict[str, Any], letter: str) -> str:
    at = "" if r["steps"] is None else f" at step {r['steps']:,}"
    options = r["options"]
    speed = "".join(f", {k} {v:,}" for k, v in r["speed"].items())
    data = f"{r['data']}{', trained on its test images, too' * r['trained on test images']}"
    return (
        f"{letter + ': ' if letter else ''}{r['name']}{at} ({data}, {r['model']}, {r['learner']}): "
        f"seed {r['seed']}, chains of {options['chain']:,}, computed in {r['seconds']:.0f} s{speed}"
    )


def _reasons(r: dict[str, Any], letter: str) -> list[str]:
    """Why figures have no value, each reason once."""
    found: dict[str, list[str]] = {}
    for figures in r["figures"].values():
        for name, f in figures.items():
            if f["value"] is None and f.get("reason"):
                found.setdefault(f["reason"], []).append(name)
    return [f"{letter + ': ' if letter else ''}{', '.join(names)}: {reason}" for reason, names in found.items()]


def _short(o: argparse.Namespace) -> int:
    """L_p, L_q and ELBO on the test set only."""
    if o.limit is not None and o.limit < 2:
        raise UsageError(f"--limit {o.limit} leaves no uncertainty to state: use at least 2 images.")
    if o.n or o.chain or o.quick or o.inception or o.write:
        raise UsageError(
            "--short is L_p, L_q and ELBO alone: --n, --chain, --quick, --inception, --write go without it."
        )
    found = [_utilities(target, o) for target in o.targets]
    if o.json:
        print(json.dumps(found[0] if len(found) == 1 else found, indent=2))
        return 0
    for r in found:
        at = "" if r["step"] is None else f" at step {r['step']:,}"
        print(f"{r['name']}{at}: {r['images']:,} {r['what']} of {r['data']}, seed {o.seed}")
        for name, f in r["figures"].items():
            if f["value"] is None:
                print(f"  {name:<15} {f['reason']}")
            else:
                error = "" if f["stderr"] is None else f" ± {f['stderr']:.3f}"
                print(f"  {name:<15} {f['value']:10.3f}{error} {f['unit']} (mean ± s.e., n = {f['n']:,})")
    return 0


def _utilities(target: Path, o: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    from .datasets import load_data
    from .metrics import utilities
    from .sources import clean

    p, q, config, step = loaded(target, o.device)
    test = load_data(config.data).test
    x = clean(test.images[: o.limit], config.data)
    labels = None if test.labels is None else test.labels[: o.limit]
    with tqdm(total=len(x), unit="image", disable=None, leave=False) as bar:
        figures = utilities(p, q, x, labels, seed=o.seed, progress=bar.update)
    return {
        "target": str(target),
        "name": config.name,
        "data": config.data.name,
        "seed": o.seed,
        "step": step,
        "split": config.data.split,
        "images": len(x),
        "what": test_images(config),
        "figures": figures,
    }


def train_extractor(o: argparse.Namespace) -> int:
    """Run the command."""
    from tqdm import tqdm

    from .classifier import train_extractor as train
    from .trainer import set_threads

    set_threads(0)
    changes = parse_settings(o.set)
    if any(not name.startswith("data.") for name in changes):
        raise UsageError("--set is for the data here, as in path=FOLDER, size=32, channels=1 or binarize=none.")
    usual = {"data.binarize": None} if o.data == "fashion_mnist" else {}  # as its presets have it
    plain = override(Config(data=DataConfig(name=o.data)), {"model.x_family": "gaussian"} | usual)  # takes grey, too
    data = override(plain, changes).data
    with tqdm(bar_format="{percentage:3.0f}%|{bar}| {remaining} left{postfix}", total=1.0, disable=None) as bar:

        def tell(step: int, steps: int, words: str) -> None:
            bar.set_postfix_str(words, refresh=False)
            bar.update(step / steps - bar.n)

        facts = train(data, o.seed, o.epochs, o.out, tell)
    print(f"{facts['accuracy']:.2%} of {facts['n']:,} test images ({facts['seen']}) right, {facts['epochs']} epochs")
    print(o.out or extractor_folder(data))
    return 0
