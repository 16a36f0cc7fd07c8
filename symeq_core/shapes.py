"""What files that anybody may have made have to look like: metrics.json, statistics of chains, events. No torch.

Only what is read is checked, so that files of later versions, which say more, are taken, too.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import pydantic
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # typing's own suffices pydantic from Python 3.12 on

from . import files
from .errors import SymeqError

_OPEN = ConfigDict(strict=True, extra="allow")
LARGEST = 1e15  # of anything measured: what is larger is no measurement, and no chart or table could show it
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Error = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=int(LARGEST))]
Text = Annotated[str, Field(max_length=2000)]
Name = Annotated[str, Field(max_length=100)]
Packed = Annotated[str, Field(max_length=60_000)]  # numbers in base64


# --- metrics.json ---


@with_config(_OPEN)
class Figure(TypedDict):
    """One figure of an evaluation."""

    value: Number | None
    n: Count
    unit: Text
    stderr: NotRequired[Error | None]
    meaning: NotRequired[Text]
    better: NotRequired[Literal["lower", "higher"] | None]
    bound: NotRequired[Literal["lower", "upper"] | None]
    extractor: NotRequired[Text | None]
    reason: NotRequired[Text | None]
    seed: NotRequired[int]
    each: NotRequired[Packed]
    images: NotRequired[Text]


Values = list[Number | None] | None


@with_config(_OPEN)
class Group(TypedDict):
    """One statistic along a chain, a value for each step looked at; none of them where there is a reason."""

    unit: Text
    meaning: Text
    reason: Text | None
    value: Values
    stderr: NotRequired[list[Error | None] | None]
    floor: NotRequired[Number | None]
    chance: NotRequired[Values]


@with_config(_OPEN)
class Distances(Group):
    """The Fréchet distance along a chain."""

    n_reference: Count | None


@with_config(_OPEN)
class Transitions(TypedDict):
    """Which class became which: counts [step][from][to]."""

    unit: Text
    meaning: Text
    reason: Text | None
    ks: list[Count] | None
    counts: list[list[list[Count]]] | None


@with_config(_OPEN)
class _Statistics(TypedDict):
    n: Count
    seed: int
    start: Literal["test", "prior", "noise"]
    ks: Annotated[list[Count], Field(min_length=1)]
    steps: Count
    frechet: Distances
    retention: Group
    classes: Group
    effective_classes: Group
    pixel_autocorrelation: Group
    latent_autocorrelation: Group
    prior_drift: Group
    prior_correlation: Group
    transitions: Transitions


def _whole(s: dict[str, Any]) -> dict[str, Any]:
    """Every list has one entry for each step, and what sentences are made of is known at each."""
    length = len(s["ks"])
    if s["ks"] != sorted(set(s["ks"])) or s["steps"] != s["ks"][-1]:
        raise ValueError("ks must rise, up to steps")
    for name, group in s.items():
        if not isinstance(group, dict):
            continue
        for column in ("value", "stderr", "chance"):
            if isinstance(found := group.get(column), list) and len(found) != length:
                raise ValueError(f"{name}.{column} must have {length} entries, one for each of ks")
    for name, columns in {"retention": ("value", "stderr", "chance"), "frechet": ("value", "stderr")}.items():
        if s[name]["value"] is not None and any(v is None for c in columns for v in s[name].get(c) or [None]):
            raise ValueError(f"{name} must have a number for each of ks in {', '.join(columns)}")
    if s["frechet"]["value"] is not None and None in (s["frechet"].get("floor"), s["frechet"]["n_reference"]):
        raise ValueError("frechet must have a floor and n_reference")
    t = s["transitions"]
    if (t["ks"] is None) != (t["counts"] is None) or len(t["ks"] or []) != len(t["counts"] or []):
        raise ValueError("transitions must have counts for each of their ks")
    if any(len(row) != len(m) for m in t["counts"] or [] for row in m):
        raise ValueError("transitions.counts must be square")
    return s


Statistics = Annotated[_Statistics, pydantic.AfterValidator(_whole)]


@with_config(_OPEN)
class Metrics(TypedDict):
    """What `evaluate` writes."""

    content: Name
    figures: Annotated[dict[Name, Annotated[dict[Name, Figure], Field(max_length=200)]], Field(max_length=50)]
    seconds: NotRequired[Error]
    steps: NotRequired[Count | None]
    missing: NotRequired[dict[Name, Text]]
    speed: NotRequired[dict[Name, Number]]
    chain: NotRequired[Statistics]


@with_config(_OPEN)
class Chains(TypedDict):
    """What `chain --write` writes: statistics by start, of all starts that are not in metrics.json."""

    content: Name
    prior: NotRequired[Statistics]
    noise: NotRequired[Statistics]


# --- events ---

PerPlayer = dict[Literal["p", "q"], Number]
Step = Annotated[int, Field(ge=-1, le=int(LARGEST))]  # -1: before the first


@with_config(_OPEN)
class _Event(TypedDict):
    step: NotRequired[Step]
    time: NotRequired[Error]


@with_config(_OPEN)
class _Measured(_Event):
    seconds: Error
    utility: Annotated[PerPlayer, Field(min_length=1)]
    grad_norm: PerPlayer
    terms: NotRequired[dict[Literal["p", "q"], Annotated[dict[Name, Number], Field(max_length=100)]]]
    images_per_s: NotRequired[Error]


@with_config(_OPEN)
class _Probed(TypedDict):
    value: Number | None
    stderr: Error | None
    unit: Text
    n: Count


@with_config(_OPEN)
class _Probe(_Event):
    seconds: Error
    figures: Annotated[dict[Name, _Probed], Field(max_length=100)]


@with_config(_OPEN)
class _Data(_Event):
    what: Text
    done: Count
    total: Count | None


@with_config(_OPEN)
class _Why(_Event):
    why: NotRequired[Text]


EVENTS: dict[str, Any] = {"metrics": _Measured, "probe": _Probe, "data": _Data, "failed": _Why, "refused": _Why}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def is_event(event: dict[str, Any]) -> bool:
    """Whether an event says what one of its kind does."""
    try:
        _adapter(EVENTS.get(event["event"], _Event)).validate_python(event)
    except pydantic.ValidationError:
        return False
    return True


@files.once
def read(path: Path, kind: Any, way_out: str) -> Any:
    """A JSON file of results, shared by all who read it: never change it; SymeqError where it isn't of this kind."""
    return checked(files.read_json(path, limit=4 << 20), kind, path, way_out)


def checked(found: Any, kind: Any, path: Path, way_out: str) -> Any:
    """What was read of a file, as it is; SymeqError with one sentence where it isn't of this kind."""
    try:
        _adapter(kind).validate_python(found)
    except pydantic.ValidationError as e:
        error = e.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(k)[:60] for k in error["loc"][:6])
        why = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")[:120]
        raise SymeqError(
            f"{path} is not in the form we write it in ({f'{where}: ' * bool(where)}{why}): {way_out}."
        ) from None
    return found
