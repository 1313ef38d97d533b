"""Layers of a model that trains come in; units that died in them are drawn anew.

A unit is dead when nothing positive came out of it and no gradient came back to it in
several updates. Both: a layer before a dead one gets no gradient either, but its units
still speak.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.autopilot.before_steps import before_steps
from surefoot.autopilot.live import (
    Applied,
    KnobError,
    Live,
    modules_of,
    optimizer_of,
    word_of,
)
from surefoot.nn.init.draws import WEIGHTED
from surefoot.nn.init.errors import InitError
from surefoot.nn.init.joining import check_unwrapped
from surefoot.restore.hooks import VanishingHook
from surefoot.types import Change, Event

UPDATES = 4
"""Updates in which a unit must have been silent. Sokar et al. 2023 (arXiv:2302.12902)
look at one batch; with batches of 32, four of them leave a unit that speaks on one
example in twenty unseen once in 700 times."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def reinitialize_units(live: Live, change: Change) -> Applied:
    """Draw dead units anew, once it is known after a few updates which they are.

    Their weights are drawn as for ReLU, biases zero; of a batch norm, weight 1 and
    bias 0. Optimizers forget their moments. An event tells how many there were.

    Raises:
        KnobError: the layers hold no linear layer, convolution or batch norm, or the
            model is wrapped for distributed training, where ranks see other examples.
    """
    word_of(change, ("dead",))
    try:
        for model in live.models.values():
            check_unwrapped(model)
    except InitError as error:
        raise KnobError(str(error)) from error
    found = {
        f"{name}.{inner}".strip("."): module
        for name, part in modules_of(live, change.layers or ("",)).items()
        for inner, module in part.named_modules()
        if isinstance(module, (*WEIGHTED, *NORMS)) and "weight" in _own(module)
    }
    if not found:
        raise KnobError(
            f"the change units reinitialize came for {', '.join(change.layers)}; "
            "expected layers with units: linear, convolution or batch norm"
        )
    rebirth = _Rebirth(live, found, change)
    return Applied("as they are", "dead units are drawn anew", rebirth.undo)


class _Rebirth:
    """Looks at layers for a few updates, draws their dead units anew, and is gone."""

    def __init__(
        self, live: Live, layers: Mapping[str, nn.Module], change: Change
    ) -> None:
        self._live, self._change = live, change
        self._seen = {name: _Seen(module) for name, module in layers.items()}
        self._owners = {n: optimizer_of(live, m) for n, m in layers.items()}
        held = {id(o): o for o in self._owners.values() if o is not None}
        self._updates = 0
        self._undos: list[Callable[[], None]] = []
        self._stop = before_steps(list(held.values()), self._look)

    def undo(self) -> None:
        """Look no more; put back what was drawn."""
        self._leave()
        while self._undos:
            self._undos.pop()()

    def _leave(self) -> None:
        self._stop()
        for seen in self._seen.values():
            seen.hook.remove()

    def _look(self, optimizer: Optimizer) -> None:
        """Gradients are there: draw anew when they were looked at often enough."""
        mine = [n for n, owner in self._owners.items() if owner is optimizer]
        first = self._owners[next(iter(self._owners))]
        for name in mine:
            self._seen[name].look()
        self._updates += optimizer is first
        if self._updates >= UPDATES and optimizer is first:
            self._leave()
            counts = {name: self._draw(name) for name in self._seen}
            self._tell({name: n for name, n in counts.items() if n})

    def _draw(self, name: str) -> int:
        """Draw the dead units of one layer; their number goes out."""
        dead = self._seen[name].dead()
        if dead is None or not len(dead):
            return 0
        module, owner = self._seen[name].module, self._owners[name]
        for parameter in module.parameters(recurse=False):
            state: Mapping[str, Any] = owner.state.get(parameter, {}) if owner else {}
            like = [v for v in state.values() if _of_shape(v, parameter)]
            for tensor in (parameter.detach(), *like):
                self._undos.append(_putter(tensor, dead))
                tensor[dead] = 0.0
        _draw_rows(module, dead, self._live.generator)
        return len(dead)

    def _tell(self, counts: Mapping[str, int]) -> None:
        total = sum(counts.values())
        body = {
            "knob": self._change.knob,
            "op": self._change.op,
            "amount": self._change.amount,
            "layers": list(counts),
            "before": f"{total} dead units",
            "after": "drawn anew" if total else "nothing to draw",
            "why": f"silent in {UPDATES} updates",
        }
        self._live.tell(Event(self._live.step + UPDATES - 1, "change", body))


class _Seen(VanishingHook):
    """What was seen of one layer's units: whether each spoke, or got a gradient."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._active: Tensor | None = None
        self.hook = module.register_forward_hook(self)

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or not torch.is_grad_enabled():
            return
        axis = -1 if isinstance(module, nn.Linear) else 1
        spoke = (output.detach().movedim(axis, 0).flatten(1) > 0).any(1)
        self._active = spoke if self._active is None else self._active | spoke

    def look(self) -> None:
        """Take notice of the gradients of one update."""
        grad = _own(self.module)["weight"].grad
        if grad is None or self._active is None:
            return
        moved = (grad.detach().reshape(len(grad), -1) != 0).any(1)
        self._active = self._active | moved

    def dead(self) -> Tensor | None:
        """The numbers of the units that never did; None if nothing was seen."""
        if self._active is None or _own(self.module)["weight"].grad is None:
            return None
        return (~self._active).nonzero().flatten()


@torch.no_grad()
def _draw_rows(module: nn.Module, rows: Tensor, generator: torch.Generator) -> None:
    weight = _own(module)["weight"]
    if isinstance(module, NORMS):
        weight[rows] = 1.0
        return
    fan = weight[0].numel()
    fresh = torch.empty((len(rows), *weight.shape[1:]))
    fresh.normal_(0.0, math.sqrt(2.0 / fan), generator=generator)
    weight[rows] = fresh.to(weight.device, weight.dtype)


def _own(module: nn.Module) -> dict[str, nn.Parameter]:
    return dict(module.named_parameters(recurse=False))


def _putter(tensor: Tensor, rows: Tensor) -> Callable[[], None]:
    """What puts rows of a tensor back."""
    kept = tensor[rows].clone()

    def put() -> None:
        tensor[rows] = kept

    return put


def _of_shape(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape
