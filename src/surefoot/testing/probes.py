"""Conformance of a probe: it comes in, a failure is an AssertionError.

It is run on tiny real models in training; see `check_probe` for what must hold.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from surefoot.probes.batch import finished
from surefoot.probes.catalogue import Probe
from surefoot.probes.instruments import Instruments
from surefoot.probes.meter import Meter
from surefoot.probes.ring import Ring
from surefoot.probes.shield import Shield
from surefoot.probes.streams import streams
from surefoot.record import quantities
from surefoot.testing.claims import Attempt, require
from surefoot.types import RUN, Moment, Reading

UPDATES = 3
"""Steps of each tiny model: the optimizer has no state before the first of them."""

NEEDS = ("copies", "activations", "output", "attention", "running", "pair")


def check_probe(probe: Probe) -> None:
    """Run a probe on tiny models in training: it measures and changes nothing.

    The models have float32, bfloat16 and float16 weights and gradients; parameters
    without a gradient; tied weights and integer inputs; images, batch norm, attention.
    Readings are of known quantities, with one value a layer, float32, in memory of
    their own, and the same when read twice. Weights, gradients, buffers, optimizer
    state, batch and random streams keep every bit.

    A dense probe runs at every step and must not make the host wait for the device.
    So it is also run on tensors of the "meta" device, which hold no numbers: there
    `.item()`, `float(…)`, `if tensor:` and boolean indexing fail.

    Raises:
        AssertionError: one of this does not hold.

    >>> from surefoot.probes.gradients import grad_norm
    >>> check_probe(Probe("gradients", grad_norm, "before", dense=True))
    """
    where = f"probe {probe.name!r}"
    require(
        probe.name.strip() and set(probe.needs) <= set(NEEDS),
        f"{where} needs {probe.needs}; expected a name, and needs among {NEEDS}",
    )
    require(
        not (probe.dense and probe.needs),
        f"{where} is dense and needs {probe.needs}, which are prepared for periodic "
        "probes only; make it dense=False",
    )
    found = 0
    with torch.random.fork_rng(devices=[]):
        for case in _cases("cpu"):
            for moment in _moments(case, probe):
                found += _check_moment(probe, moment, case)
        for case in _cases("meta") if probe.dense else ():
            for moment in _moments(case, probe):
                with Attempt(f"{where} on the meta device, where nothing is known"):
                    probe.read(moment)
    require(
        found,
        f"{where} returned no reading for any of the models; expected one at least",
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """A tiny model in training."""

    label: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: torch.Tensor
    targets: torch.Tensor


class _Tied(nn.Module):
    """Tokens in, scores out, by one and the same matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores of the next token."""
        return self.head(torch.tanh(self.embedding(tokens)))


class _Unused(nn.Module):
    """Holds a layer that no batch passes through."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 11))
        self.unused = nn.Linear(6, 8)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores by the used layers."""
        return self.used(rows)


class _Attention(nn.Module):
    """Each row is a sequence of numbers that look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Linear(1, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 11)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores from the mean over the sequence."""
        wide = self.widen(rows[..., None])
        mixed, _ = self.attention(wide, wide, wide)
        return self.head(mixed.mean(1))


def _cases(device: str) -> Iterator[_Case]:
    """The models, on the CPU or on the meta device."""
    torch.manual_seed(0)
    rows, targets = torch.randn(4, 6), torch.randint(11, (4,))

    def plain() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 11))

    pixels = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(144, 11),
    )  # fmt: skip
    adam = partial(torch.optim.AdamW, lr=0.01)
    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
    made: list[tuple[str, nn.Module, Any, torch.Tensor]] = [
        ("float32", plain(), adam, rows),
        ("bfloat16", plain().bfloat16(), adam, rows.bfloat16()),
        ("float16", plain().half(), sgd, rows.half()),
        ("parameters without a gradient", _Unused(), adam, rows),
        ("tied weights", _Tied(), adam, targets),
        ("images", pixels, sgd, torch.randn(4, 1, 8, 8)),
        ("attention", _Attention(), adam, rows),
    ]
    for label, model, optimizer, inputs in made:
        live = model.to(device)
        trained_by = optimizer(live.parameters())
        yield _Case(label, live, trained_by, inputs.to(device), targets.to(device))


def _moments(case: _Case, probe: Probe) -> Iterator[Moment]:
    """Train for a few steps; what the probe would see of each goes out."""
    watched = streams({"model": case.model}, {"main": case.optimizer})[0]
    shield = Shield(_refuse)
    instruments = Instruments(watched, Meter(), shield, passes=lambda: 1)
    for step in range(UPDATES):
        instruments.arm(probe.needs, step)
        loss = functional.cross_entropy(case.model(case.inputs).float(), case.targets)
        loss.backward()
        instruments.before(probe.needs)
        if probe.when != "before":
            case.optimizer.step()
        instruments.outlook.see_batch((case.inputs, case.targets))
        seen = instruments.seen(probe.needs)
        seen["output"] = instruments.outlook.take(scored=True)
        yield Moment(
            step=step,
            names=watched.names,
            weights=watched.weights,
            grads=[weight.grad for weight in watched.weights],
            optimizer=case.optimizer,
            before=instruments.copies,
            activations=seen.get("activations"),
            batch=((case.inputs,), {}),
            seen=seen,
        )
        if probe.when == "before":
            case.optimizer.step()
        instruments.after(step)
        case.optimizer.zero_grad()
    instruments.remove()


def _refuse(name: str, error: str) -> None:
    """What is prepared for a probe must not fail on the tiny models."""
    raise AssertionError(f"{name} could not be prepared: {error}")


def _check_moment(probe: Probe, moment: Moment, case: _Case) -> int:
    """Read one moment and check what comes; the number of readings goes out."""
    where = f"probe {probe.name!r}, model with {case.label}, step {moment.step}"
    before = {part: _bits(value) for part, value in _live(moment, case).items()}
    with Attempt(where):
        readings = list(probe.read(moment))
        again = list(probe.read(moment))
    after = {part: _bits(value) for part, value in _live(moment, case).items()}
    changed = [part for part in before if before[part] != after[part]]
    require(
        not changed,
        f"{where}: it changed {', '.join(changed)}; expected every bit as before; work "
        "on copies, and draw randomness from a torch.Generator of its own",
    )
    require(
        [_bits(one.values) for one in readings] == [_bits(one.values) for one in again],
        f"{where}: a second read gave other values; expected a function of the moment",
    )
    tensors = pytree.tree_leaves(_live(moment, case))
    memory = {_memory(one) for one in tensors if isinstance(one, torch.Tensor)}
    for reading in readings:
        _check_reading(reading, moment, where, memory=memory)
    return len(readings)


def _live(moment: Moment, case: _Case) -> dict[str, Any]:
    """Everything that a probe must leave as it is, by a name for messages."""
    rows = zip(moment.names, moment.weights, moment.grads, strict=True)
    parts: dict[str, Any] = {}
    for name, weight, grad in rows:
        parts |= {f"the weight {name}": weight, f"the gradient of {name}": grad}
    samples = moment.activations
    return parts | {
        "a buffer": list(case.model.buffers()),
        "a training mode": [module.training for module in case.model.modules()],
        "the optimizer": case.optimizer.state_dict(),
        "the batch": [case.inputs, case.targets],
        "the copies": moment.before,
        "the samples": None if samples is None else samples.matrix,
        "torch's random stream": torch.get_rng_state(),
        "Python's random stream": repr(random.getstate()),
        "NumPy's random stream": repr(np.random.get_state()),
    }


def _bits(value: Any) -> list[bytes]:
    """The bits of all tensors and numbers in a value."""
    return [
        leaf.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        if isinstance(leaf, torch.Tensor)
        else repr(leaf).encode()
        for leaf in pytree.tree_leaves(value)
    ]


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _check_reading(
    reading: Reading, moment: Moment, where: str, *, memory: set[int]
) -> None:
    """One reading: its step, its layers and its values."""
    where = f"{where}, {reading.quantity}"
    layers, values = reading.layers, reading.values
    late = reading.step == moment.step - 1 and moment.seen.get("pair") is not None
    require(
        (reading.step == moment.step or late)
        and len(set(layers)) == len(layers) == len(values),
        f"{where}: {len(values)} values of step {reading.step} for the layers "
        f"{layers}; expected step {moment.step}, different layers, one value each",
    )
    if isinstance(values, torch.Tensor):
        require(
            values.dtype == torch.float32 and not values.requires_grad,
            f"{where}: values of {values.dtype}, requires_grad={values.requires_grad}; "
            "expected a detached float32 tensor; use .detach().float()",
        )
        require(
            _memory(values) not in memory,
            f"{where}: the values are a view of live memory, which the next step will "
            "write to; expected a tensor of its own; use .clone()",
        )
    ring = Ring(reading, 1, "main")
    ring.put(reading)
    block = ring.drain()
    for series in finished(block) if block is not None else ():
        with Attempt(where):
            axis = quantities.named(series.quantity).axis
        expected = {"run": RUN, "parameter": moment.names}.get(axis, series.layers)
        require(
            set(series.layers) <= set(expected),
            f"{where}: layers {series.layers} for an axis of kind {axis!r}; expected "
            f"some of {expected}",
        )
