"""Configurations: frozen dataclasses, their presets, and the way to and from plain dicts. Imports no torch."""

import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import cache
from typing import Annotated, Any, Literal

import pydantic
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from .errors import UsageError

_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # which pydantic would take for 0 or 1
        raise ValueError(f"must be a number, but it is {json.dumps(value)}")
    return value


_Number = pydantic.BeforeValidator(_number)
Positive = Annotated[int, Field(ge=1, le=2**62), _Number]
Natural = Annotated[int, Field(ge=0, le=2**62), _Number]
Size = Annotated[int, Field(ge=1, le=65536), _Number]  # bounds refuse in time what no memory would hold
Batch = Annotated[int, Field(ge=1, le=1_000_000), _Number]
Moves = Annotated[int, Field(ge=0, le=100), _Number]
Rate = Annotated[float, Field(gt=0, le=10), _Number]
ChainLength = Annotated[int, Field(ge=0, le=100_000), _Number]
Name = Annotated[str, Field(max_length=200)]
Fraction = Annotated[float, Field(ge=0, le=1), _Number]
Image = tuple[Annotated[int, Field(ge=1, le=4)], Size, Size]


LATENT_UNITS = {"bernoulli": "bits", "gaussian": "reals", "categorical": "classes"}


@dataclass(frozen=True, config=_STRICT)
class Latent:
    """One discrete or continuous layer: `bernoulli:30`, `categorical:5x10` (units x classes), `gaussian:2`."""

    family: Literal["bernoulli", "categorical", "gaussian"]
    units: Size
    classes: Annotated[int, Field(ge=2, le=65536), _Number] | None = None

    def __post_init__(self) -> None:
        if (self.family == "categorical") != (self.classes is not None):
            raise ValueError("a categorical layer, and only that, is written units x classes, as in categorical:5x10")

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one value."""
        return (self.units,) if self.classes is None else (self.units, self.classes)

    @property
    def said(self) -> str:
        """As one says it: `30 bits`."""
        return f"{'×'.join(map(str, self.event))} {LATENT_UNITS[self.family]}"

    @staticmethod
    def parse(text: str) -> "dict[str, Any]":
        """`family:units[xclasses]` -> fields."""
        family, _, size = text.strip().partition(":")
        units, _, classes = size.partition("x")
        if not units.isdecimal() or (classes and not classes.isdecimal()):
            raise ValueError(f"'{text}' is not a layer; write one as bernoulli:30, categorical:5x10 or gaussian:2")
        return {"family": family, "units": int(units)} | ({"classes": int(classes)} if classes else {})

    def __str__(self) -> str:
        return f"{self.family}:" + "x".join(map(str, self.event))


def _layer(value: Any) -> Any:
    return value if isinstance(value, dict | Latent) else Latent.parse(str(value))


def _items(value: Any) -> Any:
    """`a b`, `a, b` or a single number -> a list."""
    if isinstance(value, str):
        return value.replace(",", " ").split()
    return [value] if isinstance(value, int) else value


Layer = Annotated[Latent, pydantic.BeforeValidator(_layer)]
Layers = Annotated[tuple[Layer, ...], pydantic.BeforeValidator(_items), Field(min_length=1, max_length=16)]


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """pi(x), and pi(x, y) where labels are used."""

    name: str = "digits"
    split: Literal["train", "all"] = "train"  # all: train on every image, as the authors do
    path: str | None = None  # folder: where the images are
    size: Annotated[int, Field(ge=4, le=1024), _Number] | None = None  # celeba, folder: side in pixels
    channels: Literal[1, 3] | None = None  # folder
    binarize: Fraction | None = 0.4375  # x = 1 where the grey value is above; none keeps [0, 1]
    flip: Fraction = 0.001  # binarised training pixels flipped with this probability
    noise: Fraction = 0.0  # s.d. of Gaussian noise added to training pixels
    labelled: Natural = 0  # how many training images show their label; 0: unsupervised


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """The pair (p, q). `x_shape` and `label` follow from the data and are filled in when a run is made."""

    kind: Literal["flat", "ladder", "reverse"] = "flat"
    latents: Layers = (Latent("bernoulli", 16),)  # z0 (top) first
    x_family: Literal["bernoulli", "gaussian", "gaussian-scale"] = "bernoulli"
    x_shape: Image | None = None
    label: Layer | None = None
    prior: str = "fixed"  # of z0: fixed, learned (wake-sleep, ELBO) or implicit:NAME
    label_prior: Literal["uniform", "empirical"] = "uniform"  # empirical: known by samples, so implicit
    nets: Literal["mlp", "conv"] = "mlp"
    hidden: Annotated[tuple[Size, ...], pydantic.BeforeValidator(_items), Field(max_length=16)] = (
        256,
    )  # mlp: widths from x upwards
    width: Size = 600  # conv: H, the encoder's features
    middle: Size = 600  # conv: width between two latent layers
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = "tanh"
    decoder_activation: Literal["tanh", "relu", "elu", "gelu", "silu"] | None = None  # none: as `activation`

    def __post_init__(self) -> None:
        if self.kind == "flat" and len(self.latents) != 1:
            raise ValueError(
                f"a flat model has one latent layer, not {len(self.latents)}: choose ladder or reverse for more"
            )

    @property
    def latent_names(self) -> tuple[str, ...]:
        """z0 (top) to z_{L-1} (next to x)."""
        return tuple(f"z{k}" for k in range(len(self.latents)))


@dataclass(frozen=True, config=_STRICT)
class LearnerConfig:
    """What each player maximises."""

    name: Literal["symmetric", "elbo", "wake_sleep"] = "symmetric"
    estimator: Literal["auto", "pathwise", "zgr", "score"] = "auto"  # elbo only
    samples: Annotated[int, Field(ge=1, le=64), _Number] = 2  # score function: samples of z for each x
    labelled_weight: Annotated[float, Field(ge=0, le=1e6), _Number] = 1.0  # of the terms E_pi(x,y)


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """How the moves are made."""

    steps: Positive = 5000
    batch: Batch = 128
    labelled_batch: Batch = 64
    lr: Rate = 1e-3  # Adam
    lr_q: Rate | None = None  # none: as lr
    cooldown: Natural = 0  # iterations at the end over which the step sizes fall linearly to nothing
    schedule: Literal["alternating", "simultaneous"] = "alternating"
    moves_p: Moves = 1  # per iteration
    moves_q: Moves = 1
    device: str = "cpu"
    threads: Natural = 0  # 0: one less than there are cores
    log_every: Positive = 50  # iterations between metrics
    probe_every: Natural = 500  # iterations between L_p, L_q, ELBO of the probe set; 0: never
    snapshot_every: Natural = 500  # iterations between snapshots, and a few early ones; 0: never
    snapshot_chain: ChainLength = 0  # round trips from noise to a snapshot's limiting images; 0: none
    save_seconds: Annotated[float, Field(ge=0), _Number] = 15.0  # between checkpoints

    def __post_init__(self) -> None:
        if self.moves_p == 0 and self.moves_q == 0:
            raise ValueError("moves_p and moves_q are both 0, so nobody would ever move")


@dataclass(frozen=True, config=_STRICT)
class Config:
    """A complete run: with `seed`, all that is needed to repeat it."""

    name: Name = "run"
    seed: Natural = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    format: Literal[1] = 1

    def __post_init__(self) -> None:
        if self.model.x_family == "bernoulli" and self.data.binarize is None:
            raise ValueError(
                "a Bernoulli x needs binary images: set data.binarize to a threshold such as 0.4375, "
                "or model.x_family to gaussian-scale"
            )
        if self.data.path and self.data.name != "folder":
            raise ValueError(f"data.path is for data.name=folder, but the data are {self.data.name}")
        if self.data.size and self.data.name not in ("folder", "celeba"):
            raise ValueError(f"data.size is for folder and celeba; {self.data.name} has a size of its own")
        if self.data.noise and self.data.binarize is not None:
            raise ValueError("data.noise is for images that are not binarised: set data.binarize=none, or data.noise=0")
        if self.learner.estimator != "auto" and self.learner.name != "elbo":
            raise ValueError(
                f"learner.estimator is for the ELBO; {self.learner.name} passes no gradient through samples"
            )


LIVE = ("train.", "learner.labelled_weight")  # fields that may change while a run is under way
FIXED = ("train.device", "train.threads", "data.path")  # and those that may when it is resumed


@cache
def _adapter() -> TypeAdapter:
    return TypeAdapter(Config)


def from_dict(values: Mapping[str, Any], what: str = "The configuration") -> Config:
    """A validated Config; UsageError with one sentence that names the first wrong field."""
    try:
        return _adapter().validate_python(dict(values))
    except pydantic.ValidationError as e:
        raise UsageError(f"{what} is not valid: {_first(e)}.") from None


def _first(e: pydantic.ValidationError) -> str:
    error = e.errors(include_url=False)[0]
    where = ".".join(str(k) for k in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        return f"there is no field '{where}'"
    if error["type"] == "missing":
        return f"{where} is missing"
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    message = message.replace("Input should be", "must be").replace("a valid tuple", "a list")
    if error["type"] != "value_error":
        message = message.split(", ")[0] if error["type"].endswith(("_parsing", "_from_float")) else message
        message += f", but it is {json.dumps(error['input'], default=str)[:80]}"
    return f"{where}{' ' if message.startswith('must be') else ': '}{message}" if where else message


def to_dict(config: Config) -> dict[str, Any]:
    """Plain JSON types, complete."""
    return _adapter().dump_python(config, mode="json")


def _fields() -> list[str]:
    """Every field as section.name, or name at the top."""

    def walk(kind: Any, prefix: str) -> list[str]:
        found = []
        for name, hint in typing.get_type_hints(kind, include_extras=False).items():
            section = hint in (DataConfig, ModelConfig, LearnerConfig, TrainConfig)
            found += walk(hint, f"{prefix}{name}.") if section else [prefix + name]
        return found

    return walk(Config, "")


def full_name(name: str) -> str:
    """`lr` -> `train.lr`; UsageError where the name is unknown or ambiguous."""
    fields = _fields()
    if name in fields:
        return name
    matches = [f for f in fields if name and f.endswith("." + name.removeprefix("."))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"'{name}' could be {' or '.join(matches)}: write the whole name.")
    import difflib

    near = difflib.get_close_matches(name, [*fields, *(f.rpartition(".")[2] for f in fields)], n=1)
    hint = f"did you mean {near[0]}?" if near else "`python -m symeq_core presets NAME` shows them all."
    raise UsageError(f"There is no field '{name}'; {hint}")


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["lr=1e-3", "model.latents=bernoulli:8"]` -> {"train.lr": 0.001, "model.latents": "bernoulli:8"}."""
    found = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if name == "name":
            raise UsageError(
                "'name' could be data.name or learner.name: write the whole name. What a run is called follows from "
                "its preset, and its folder from --out."
            )
        if not equals:
            raise UsageError(f"'{setting}' is not a setting: write it as name=value.")
        try:
            value = None if text.lower() == "none" else json.loads(text)
        except json.JSONDecodeError:
            value = text
        found[full_name(name.strip())] = value
    return found


def override(config: Config, changes: Mapping[str, Any]) -> Config:
    """The config with changed fields, {"train.lr": 0.001, ...}; UsageError where a name or value is wrong."""
    values = to_dict(config)
    for name, value in changes.items():
        *section, leaf = full_name(name).split(".")
        target = values
        for key in section:
            target = target[key]
        target[leaf] = value
    return from_dict(values, "The setting")


def check_live(changes: Iterable[str]) -> None:
    """UsageError unless every change may be made while the run is under way."""
    for name in map(full_name, changes):
        if name in FIXED:
            raise UsageError(f"{name} can't change while the run goes on: stop it and resume it with --set {name}=...")
        if not name.startswith(LIVE):
            raise UsageError(f"{name} can't change within a run: start a new run with this setting.")


def differences(a: Config, b: Config) -> dict[str, tuple[Any, Any]]:
    """The fields in which two configs differ, by full name."""

    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        out: dict[str, Any] = {}
        for k, v in values.items():
            nested = isinstance(v, dict) and prefix == "" and k in ("data", "model", "learner", "train")
            out |= flat(v, f"{k}.") if nested else {prefix + k: v}
        return out

    left, right = flat(to_dict(a)), flat(to_dict(b))
    return {k: (left[k], right[k]) for k in left if left[k] != right[k]}
