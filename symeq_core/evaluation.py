"""Everything that is measured of a pair, as metrics.json holds it: computed once for each content, then looked up."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from . import files
from .checkpoints import load, saved_step
from .config import Config, DataConfig
from .datasets import Dataset, load_data
from .errors import SymeqError, UsageError
from .extractors import Extractor, extractor
from .gallery import Pair
from .measured import Options, beside, described, key, read, stored
from .metrics import Figure, utilities
from .runs import read_config
from .seeds import derive
from .sources import clean
from .store import check_unchanged

Progress = Callable[[str, float], object]  # what is being done, fraction done

_UTILITIES = {
    "L_p": "The decoder's utility: log p(x, z) of test images x with codes z drawn by the encoder.",
    "L_q": "The encoder's utility: log q(z | x) of codes z from the prior, with images x the decoder draws of them.",
    "ELBO": "log p(x, z) - log q(z | x) of test images x with one code z drawn by the encoder for each, KL terms in "
    "closed form where they have one: in expectation a lower bound on log p(x).",
    "label accuracy": "How often the encoder's likeliest label of a test image is the true one.",
}


def evaluate(
    folder: str | Path, options: Options | None = None, progress: Progress | None = None, device: Any = "cpu"
) -> dict[str, Any]:
    """The content of metrics.json: looked up where it was computed before, else computed and kept.

    {"format", "name", "data", "trained on test images", "model", "learner", "steps", "training seed", "seed",
    "content", "images", "options", "extractor", "version", "seconds", "speed", "figures": {group: {name: figure}},
    "chain", "missing": {group: why it is left out}}.
    SymeqError where the folder holds no whole pair, or its data are missing.
    """
    folder, options = Path(folder), options or Options()
    if options.inception:
        return _with_inception(folder, options, progress, device)
    entry = stored(folder, options)
    with suppress(SymeqError):  # a damaged metrics.json is as good as none
        if told := beside(Pair("", folder), options):
            return described(told, folder)
    if not entry.is_done():
        with entry.computing(progress) as tell:
            if not entry.is_done():  # by another process meanwhile
                result = _compute(folder, options, tell, device)
                check_unchanged(entry, stored(folder, options), folder)
                files.write_json(entry.json, result)
    return read(entry, folder)


def _with_inception(folder: Path, options: Options, progress: Progress | None, device: Any) -> dict[str, Any]:
    """The same with FID by Inception, kept apart: where its weights can't be had now, they may be the next time."""
    entry = stored(folder, options)
    plain = evaluate(folder, replace(options, inception=False), progress, device)
    if not entry.is_done():
        try:
            found = _inception(folder, options, progress or (lambda what, done: None), device)
        except SymeqError as e:
            return plain | {"missing": plain["missing"] | {"inception": str(e)}}
        check_unchanged(entry, stored(folder, options), folder)
        figures = plain["figures"] | {"inception": found}
        files.write_json(entry.json, plain | {"figures": figures, "options": asdict(options)})
    return read(entry, folder)


def _inception(folder: Path, options: Options, progress: Progress, device: Any) -> dict[str, Figure]:
    from . import quality

    config = read_config(folder)
    progress("Inception features", 0.0)
    real = quality.real_images(load_data(config.data), config.data, options.n, options.seed)
    reference = quality.inception_features(real.reference)
    p, q = load(folder, device)
    images = _images(p, q, real, options, progress)[0]
    return quality.inception_figures(images, reference, options.chain, options.seed)


def _images(p: Any, q: Any, real: Any, options: Options, tell: Progress) -> tuple[dict[str, Any], float]:
    """(the sets whose quality is scored, seconds that the chain took)."""
    from . import quality

    n = len(real.reference)
    images = {"random code": quality.random_code_images(p, n, options.seed)}
    began = time.perf_counter()
    images["limiting"] = quality.limiting_images(
        p, q, n, options.chain, options.seed, progress=lambda what, done: tell(what, 0.8 * done)
    )
    return images | {"floor": real.other}, time.perf_counter() - began


class _Stages:
    """One fraction done from that of several stages of known shares."""

    def __init__(self, shares: dict[str, float], progress: Progress) -> None:
        self.shares, self.progress = shares, progress

    def __call__(self, stage: str) -> Progress:
        names, total = list(self.shares), sum(self.shares.values())
        before = sum(self.shares[k] for k in names[: names.index(stage)])
        return lambda what, done: self.progress(what, (before + self.shares[stage] * min(1.0, done)) / total)


def _compute(folder: Path, options: Options, progress: Progress, device: Any) -> dict[str, Any]:
    began = time.perf_counter()
    progress("loading", 0.0)
    config = read_config(folder)
    before, step = key(folder, options), saved_step(folder)
    p, q = load(folder, device)
    data = load_data(config.data)
    x = clean(data.test.images[: options.limit], config.data).to(device)
    labels = None if data.test.labels is None else data.test.labels[: options.limit]
    result: dict[str, Any] = {"figures": {}, "missing": {}, "speed": {}}
    known = _extractor(config.data, result)
    stages = _Stages({"quality": 5, "likelihood": 2, "consistency": 4, "utilities": 1}, progress)
    _quality(p, q, data, config, options, known, result, stages("quality"))
    _likelihood(p, q, x, options, result, stages("likelihood"))
    _consistency(p, q, x, labels, options, known, result, stages("consistency"))
    stages("utilities")("utilities", 0.0)
    plain = utilities(p, q, x, labels, seed=derive(options.seed, "utilities"))
    result["figures"]["utilities"] = {
        k: f | {"meaning": _UTILITIES[k], "seed": options.seed, "better": "higher"} for k, f in plain.items()
    }
    return result | {
        **before,
        "steps": step,
        "seed": options.seed,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _extractor(data: DataConfig, result: dict[str, Any]) -> Extractor | None:
    try:
        return extractor(data)
    except SymeqError as e:
        result["missing"]["quality"] = str(e)
        return None


def _quality(
    p: Any,
    q: Any,
    data: Dataset,
    config: Config,
    options: Options,
    known: Extractor | None,
    result: dict[str, Any],
    tell: Progress,
) -> None:
    from . import quality

    if known is None:
        return
    try:
        real = quality.real_images(data, config.data, options.n, options.seed)
    except UsageError as e:
        result["missing"]["quality"] = str(e)
        return
    images, seconds = _images(p, q, real, options, tell)
    result["speed"]["chain images per second"] = round(len(real.reference) * options.chain / seconds)
    tell("features and distances", 0.8)
    result["figures"]["quality"] = quality.figures(images, real.reference, known, options.chain, options.seed)


def _likelihood(p: Any, q: Any, x: Any, options: Options, result: dict[str, Any], tell: Progress) -> None:
    from . import likelihood

    result["figures"]["likelihood"] = likelihood.figures(p, q, x, options.seed, tell)


def _consistency(
    p: Any,
    q: Any,
    x: Any,
    labels: Any,
    options: Options,
    known: Extractor | None,
    result: dict[str, Any],
    tell: Progress,
) -> None:
    from . import consistency, trips

    ks = sorted({*(k for k in trips.KS if k <= options.chain), options.chain})
    chain = trips.chain_statistics(
        p, q, x, labels, known, ks, options.seed, progress=lambda what, done: tell(what, 0.5 * done)
    )
    result["chain"] = chain
    result["figures"]["consistency"] = consistency.figures(
        p, q, x, labels, known, options.seed, lambda what, done: tell(what, 0.5 + 0.5 * done), chain=chain
    )
