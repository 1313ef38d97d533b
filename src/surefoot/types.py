"""Every value that crosses a folder, on one page.

In: nothing but words. Out: frozen values; torch objects appear in annotations only,
so the reading half of the package runs on a machine without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from surefoot.wording import Severity, diagnosis_html

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
Steps = npt.NDArray[np.int64]

RUN = ("run",)
"""The layer names of a quantity that belongs to the whole stream, such as the loss."""


class LossFunction(Protocol):
    """`loss_fn(model, batch)`: the loss of a batch, a tensor with one element."""

    def __call__(self, model: Any, batch: Any, /) -> torch.Tensor:
        """Run the model on the batch; the loss comes with its graph."""
        ...


# --- recording -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """What a probe may see: one optimizer step, live, on the device.

    `weights[i]` and `grads[i]` belong to parameter `names[i]`; `grads[i]` is None
    where backward produced none. `before` holds copies of the weights from before
    the update on the steps that a probe asked for them, `activations` samples of
    what the modules put out, `batch` what the model was called with. `seen` holds
    what else was prepared because a probe that is due asked for it, by the name of
    the need.
    """

    step: int
    names: tuple[str, ...]
    weights: Sequence[torch.Tensor]
    grads: Sequence[torch.Tensor | None]
    optimizer: torch.optim.Optimizer
    loss: torch.Tensor | None = None
    before: Sequence[torch.Tensor] | None = None
    activations: Any = None
    batch: Any = None
    seen: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of one quantity, spanning all its layers.

    `values` has shape `[len(layers)]`: a float32 tensor that stays on its device, or
    plain numbers that were on the host in the first place.
    """

    step: int
    quantity: str
    layers: tuple[str, ...]
    values: torch.Tensor | Sequence[float]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at one step; `body` holds JSON values only."""

    step: int
    kind: str
    body: Mapping[str, Any]
    stream: str = "main"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Readings of one quantity over time: what is written, read and diagnosed.

    `steps` has shape `[n]` (strictly increasing optimizer steps), `values` shape
    `[n, len(layers)]` (float32). A step at which a layer had no reading is NaN.
    """

    quantity: str
    layers: tuple[str, ...]
    steps: Steps
    values: Floats
    stream: str = "main"

    def of(self, layer: str) -> Floats:
        """Values of one layer, shape `[n]`.

        Raises:
            KeyError: the layer was not recorded; the message lists some that were.
        """
        if layer not in self.layers:
            raise KeyError(
                f"{self.quantity} has no layer {layer!r}; recorded: "
                f"{', '.join(self.layers[:8])}{', …' if len(self.layers) > 8 else ''}"
            )
        return self.values[:, self.layers.index(layer)]


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Numbers over axes at one step: a histogram, a spectrum, a surface.

    `axes` maps names to coordinates (numbers or texts) in the order of the dimensions
    of `values` (float32, shape the lengths of the axes). `about` holds JSON values.
    Kinds: "grad_histogram" (axes "layer", "bin"), "spectrum" ("layer",
    "eigenvalue"), "landscape" ("alpha", "beta"; `about["path"]`, if there is one,
    lists the `[alpha, beta]` that the training went through).
    """

    step: int
    kind: str
    axes: Mapping[str, Sequence[float | str]]
    values: Floats
    stream: str = "main"
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Sink(Protocol):
    """Where a run sends what it records, beside its own record.

    `write` and `event` are called in the order of the recording, and `close` once at
    the end. A sink given to `surefoot.watch` is called on a thread of its own, where
    it may be slow and may raise.
    """

    def write(self, series: Series, /) -> None:
        """Take one block of readings."""
        ...

    def event(self, event: Event, /) -> None:
        """Take one event."""
        ...

    def close(self) -> None:
        """Take what is left to its place; nothing comes after."""
        ...


# --- what is constant over a stream --------------------------------------------


@dataclass(frozen=True, slots=True)
class Module:
    """A module without children, as the recorder saw it: `kind` is its class name.

    `settings` holds the numbers that matter to training: p of a dropout; eps,
    momentum, affine and track (1 or 0) of a normalisation.
    """

    name: str
    kind: str
    settings: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter tensor of the watched model.

    `module` is the module that owns it, `held` whether the stream's optimizer
    holds it, `trainable` whether it asks for a gradient.
    """

    name: str
    module: str
    size: int
    held: bool = True
    trainable: bool = True
    shape: tuple[int, ...] = ()
    """Empty in records from before it was kept."""


@dataclass(frozen=True, slots=True)
class Technique:
    """Something that steadies training and is in use, such as "batch norm".

    `family` is what it belongs to ("normalisation", "schedule", …), `where` the
    modules that it works in, empty for what works on the whole stream, `settings` its
    numbers.
    """

    family: str
    name: str
    where: tuple[str, ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change over one stream (one optimizer and its model).

    `modules` come in the order of the first forward pass when it was seen, else in
    the order of registration. `options` are the optimizer's settings: numbers,
    strings and booleans only. `techniques` are what was recognised as steadying it.
    """

    stream: str = "main"
    model: str = ""
    optimizer: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parameters: tuple[Parameter, ...] = ()
    modules: tuple[Module, ...] = ()
    unseen: tuple[str, ...] = ()
    """Plain sentences: what could not be watched, and why."""
    techniques: tuple[Technique, ...] = ()
    """Empty in records from before it was kept."""


# --- diagnosis -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that speaks for a finding, and the bound that it crossed.

    `series` names what was looked at ("grad_norm of net.0.weight, step 120"),
    `source` says where the bound comes from: a paper or one of our experiments.
    """

    series: str
    observed: float
    bound: float
    source: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A symptom: which, in which layer, since which step, on what evidence.

    `layer` is the layer where it starts ("run" for the whole run); `layers` are
    all that show it. A finding without evidence cannot be made.
    """

    signature: str
    layer: str
    onset: int
    severity: Severity
    evidence: tuple[Evidence, ...]
    layers: tuple[str, ...] = ()
    stream: str = "main"
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Refuse a finding that nothing speaks for."""
        if not self.evidence:
            raise ValueError(
                f"finding {self.signature!r} at step {self.onset} came without "
                "evidence; expected at least one Evidence; a signature that has "
                "none must return no finding"
            )


@dataclass(frozen=True, slots=True)
class Signature:
    """One symptom: `detect` is pure, from series and facts to findings.

    `needs` are the quantities without which it stays silent, `uses` the ones that
    it takes into account where they were recorded.
    """

    name: str
    about: str
    needs: tuple[str, ...]
    detect: Callable[[Mapping[str, Series], Facts, Sequence[Event]], list[Finding]]
    uses: tuple[str, ...] = ()


# --- remedies ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One change to a run, as data: `knob` `op` `amount`, such as lr scale 0.5.

    `layers` narrows it to modules by name; empty means wherever it applies.
    """

    knob: str
    op: str
    amount: float | str
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prescription:
    """A remedy for one diagnosis: what to change, what to expect, who says so.

    No changes at all means advice that only a person can follow; `advice` is the
    sentence that is printed in either case.
    """

    remedy: str
    changes: tuple[Change, ...]
    expect: str
    source: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A cause, ranked by `confidence` (0 to 1), with the findings it explains."""

    cause: str
    about: str
    layer: str
    onset: int
    confidence: float
    findings: tuple[Finding, ...]
    prescriptions: tuple[Prescription, ...] = ()
    confirmed: bool = True
    """False when a single signal speaks for the cause."""
    stream: str = "main"
    phase: str = ""
    """When it began: "early", "middle" or "late" in the run so far; "" if unknown."""
    told_apart: str = ""
    """How the cause is told from those that look like it."""
    page: str = ""
    """Page and section of the documentation, such as "causes.md#bad-batch"."""

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return diagnosis_html(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a prescription did against a do-nothing branch, on held-out data.

    `baseline[i]` and `treated[i]` are the metric of seed `seeds[i]`, same data
    order; `effect` is the mean paired difference (treated minus baseline, signed so
    that positive is better), `interval` its two-sided 95 % interval, and `held`
    whether the whole interval lies above zero.
    """

    prescription: Prescription
    metric: str
    seeds: tuple[int, ...]
    baseline: tuple[float, ...]
    treated: tuple[float, ...]
    effect: float
    interval: tuple[float, float]
    held: bool


# --- pictures ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on a panel: a step, a layer, or both, with a short label."""

    label: str
    step: int | None = None
    layer: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """A picture as data, whatever draws it.

    kind "line": in bin `j` line `y[i]` runs from `low[i, j]` to `high[i, j]`. kind
    "heatmap": `high[i, j]` is the reading of layer `y[i]` in bin `j` that lies
    farthest from zero; `low` is the same array. Both have shape `[len(y), len(x)]`,
    NaN where there is no reading; `x` holds the first step of each bin, `width` its
    steps.
    """

    kind: Literal["line", "heatmap"]
    title: str
    x: Steps
    y: tuple[str, ...]
    low: Floats
    high: Floats
    width: int = 1
    unit: str = ""
    marks: tuple[Mark, ...] = ()
    log: bool = False
