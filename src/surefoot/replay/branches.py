"""The branches of a replay: what is known comes in, Prescriptions go out.

One visible tuple, in the order of how little each changes: the first that suffices is
the cheapest remedy. Each is one change, carried out by the autopilot like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from surefoot.replay.strange import Strange, lasting
from surefoot.replay.window import Jump, Window
from surefoot.types import Change, Prescription

ROOM = 2.5
"""A clip at two and a half times the usual length of the gradient leaves a healthy run
alone: our pilot study of policies."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an incident before its branches are chosen."""

    window: Window
    strange: Strange = field(default_factory=Strange)
    jump: Jump | None = None
    usual_norm: float = math.nan
    layers: tuple[str, ...] = ()
    settings: Mapping[str, Any] | None = None
    """Of the first optimizer's first group: its learning rate, eps, betas."""
    half: bool = False


Maker = Callable[[Known], "Change | str"]


@dataclass(frozen=True, slots=True)
class Branch:
    """One change: what it is called, its Change for an incident, what it would show.

    `make` gives a sentence where there is nothing to change; then the branch is not
    run.
    """

    name: str
    make: Maker
    expect: str
    source: str

    def prescribe(self, known: Known) -> Prescription | str:
        """The remedy as data, or why there is none for this incident."""
        change = self.make(known)
        if isinstance(change, str):
            return change
        return Prescription(self.name, (change,), self.expect, self.source)


UNCHANGED = Prescription(
    "unchanged", (), "the recorded losses again", "the incident itself"
)


def still(window: Window) -> Prescription:
    """The branch without any update: what the batches do by themselves."""
    steps = " ".join(str(one) for one in range(window.parting, window.last + 1))
    change = Change("batch", "skip", f"suspect {steps}")
    return Prescription("no updates", (change,), "the batches alone", "this replay")


def _always(change: Change) -> Maker:
    return lambda known: change


def _skip(known: Known) -> Change | str:
    steps = known.strange.steps
    if not steps:
        return "no batch is unlike the others"
    if lasting(known.strange.inputs, known.window) or lasting(steps, known.window):
        return f"all batches from step {steps[0]} on are unlike those before"
    return Change("batch", "skip", "suspect " + " ".join(map(str, steps)))


def _no_jump(known: Known) -> Change | str:
    if known.jump is None:
        return "the learning rate did not jump"
    return Change("lr", "scale", 1.0 / known.jump.factor)


def _clip(known: Known) -> Change | str:
    if not math.isfinite(known.usual_norm):
        return "no length of a gradient is known from before the onset"
    return Change("clip_norm", "set", ROOM * known.usual_norm)


def _warm_up(known: Known) -> Change | str:
    steps = known.window.last - known.window.parting + 1
    return Change("warmup_steps", "set", float(max(4 * steps, 20)))


def _moments(change: Change) -> Maker:
    def make(known: Known) -> Change | str:
        adaptive = known.settings is None or "betas" in known.settings
        return change if adaptive else "the optimizer keeps no second moment"

    return make


def _eps(known: Known) -> Change | str:
    eps = (known.settings or {}).get("eps")
    if not isinstance(eps, float):
        return "the optimizer has no epsilon"
    return Change("eps", "set", max(100.0 * eps, 1e-6))


def _float32(known: Known) -> Change | str:
    if not known.half:
        return "nothing was computed in half precision"
    return Change("precision", "set", "float32")


def _at_layers(change: Change) -> Maker:
    def make(known: Known) -> Change | str:
        if not known.layers:
            return "no layer is accused"
        return Change(change.knob, change.op, change.amount, known.layers)

    return make


BRANCHES: tuple[Branch, ...] = (
    Branch(
        "skip the strange batches",
        _skip,
        "only those updates did the harm",
        "the batches of the incident itself",
    ),
    Branch(
        "take back the jump of the rate",
        _no_jump,
        "the rate of before does no harm",
        "the recorded learning rates",
    ),
    Branch(
        "clip at the usual norm",
        _clip,
        "single long gradients did the harm",
        "Pascanu et al. 2013, arXiv:1211.5063",
    ),
    Branch(
        "clip adaptively",
        _always(Change("clip", "set", "adaptive")),
        "single long gradients did the harm",
        "Seetharaman et al. 2020, arXiv:2007.14469",
    ),
    Branch(
        "clip each tensor",
        _always(Change("clip", "set", "per_tensor")),
        "long gradients of some tensors did the harm",
        "Wang et al. 2025, arXiv:2502.11034",
    ),
    Branch(
        "shorten the second moment",
        _moments(Change("moments", "shorten", 5.0)),
        "the optimizer divided by gradients of long ago",
        "Molybog et al. 2023, arXiv:2304.09871",
    ),
    Branch(
        "lower beta2",
        _moments(Change("betas.1", "set", 0.95)),
        "the optimizer divided by gradients of long ago",
        "Zhai et al. 2023, arXiv:2303.15343",
    ),
    Branch(
        "reset the moments",
        _moments(Change("moments", "reset", "all")),
        "what the optimizer remembered did the harm",
        "Ma & Yarats 2021, arXiv:1910.04209",
    ),
    Branch(
        "half the rate",
        _always(Change("lr", "scale", 0.5)),
        "the updates were too long",
        "Wortsman et al. 2023, arXiv:2309.14322",
    ),
    Branch(
        "warm up again",
        _warm_up,
        "the updates were too long, for a while",
        "Gotmare et al. 2019, arXiv:1810.13243",
    ),
    Branch(
        "a tenth of the rate",
        _always(Change("lr", "scale", 0.1)),
        "the updates were far too long",
        "Wortsman et al. 2023, arXiv:2309.14322",
    ),
    Branch(
        "raise epsilon",
        _eps,
        "the optimizer divided by next to nothing",
        "Wortsman et al. 2023, arXiv:2309.14322",
    ),
    Branch(
        "weight decay",
        _always(Change("weight_decay", "set", 0.01)),
        "the weights had grown too long",
        "Loshchilov & Hutter 2019, arXiv:1711.05101",
    ),
    Branch(
        "gradient noise",
        _always(Change("grad_noise", "set", 0.01)),
        "the weights were held where there is no slope",
        "Neelakantan et al. 2015, arXiv:1511.06807",
    ),
    Branch(
        "float32",
        _float32,
        "half precision was too narrow",
        "Micikevicius et al. 2018, arXiv:1710.03740",
    ),
    Branch(
        "freeze the accused layers",
        _at_layers(Change("layer", "freeze", "")),
        "the updates of these layers did the harm",
        "the layers that the alarm named",
    ),
    Branch(
        "re-initialise dead units",
        _always(Change("units", "reinitialize", "dead")),
        "units that were dead learn again",
        "Sokar et al. 2023, arXiv:2302.12902",
    ),
    Branch(
        "normalise the accused layers",
        _at_layers(Change("norm", "insert", "layer_norm")),
        "the scale of these layers did the harm",
        "Ba et al. 2016, arXiv:1607.06450",
    ),
)
"""All branches, the one that changes least first."""


def chosen(names: str, known: tuple[Branch, ...] = BRANCHES) -> tuple[Branch, ...]:
    """The branches whose names contain one of some words, given with commas.

    Raises:
        ValueError: a word fits none.

    >>> [one.name for one in chosen("clip at, half")]
    ['clip at the usual norm', 'half the rate']
    """
    words = [word.strip() for word in names.split(",") if word.strip()]
    lost = [word for word in words if not any(word in one.name for one in known)]
    if lost:
        raise ValueError(
            f"the branch {lost[0]!r} came; expected a part of one of: "
            f"{', '.join(one.name for one in known)}"
        )
    return tuple(one for one in known if any(word in one.name for word in words))
