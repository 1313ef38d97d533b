"""A model and names of its parts come in; they stay as they are, or train again.

`requires_grad=False` alone leaves three holes: a gradient that is there already moves
weights once more, with it weight decay; running statistics follow the batches; and
`model.train()` puts the parts back to training. All are closed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import nn

from surefoot.nn.init.errors import InitError
from surefoot.nn.init.places import module_at
from surefoot.schedules.scheduled import Scheduled

STATISTICS = ("running_mean", "running_var", "_u")
"""Buffers that training moves without gradients: of normalisations, and the singular
vectors of `torch.nn.utils.parametrizations.spectral_norm`."""

SLACK = 1e-9
"""A line through whole numbers may pass below one by a rounding error."""


class Stays:
    """Takes the place of `train` of a module, which so stays in evaluation mode.

    Its parts follow the mode as ever.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, mode: bool = True) -> nn.Module:
        """What `module.train(mode)` does now."""
        for part in self.module.children():
            part.train(mode)
        return self.module


def freeze(model: nn.Module, *names: str) -> tuple[str, ...]:
    """Keep parts of a model as they are: weights, and running statistics.

    Their gradients are dropped, so that an optimizer leaves them alone whatever its
    weight decay or momentum. Modules with running statistics use and keep those they
    have, also after `model.train()`. Dropout stays in the mode of the model. Freeze
    before a model is wrapped for distributed training, and wrap anew after a change.

    Args:
        model: changed in place.
        names: of modules or parameters; the whole model if none is given.

    Returns:
        The names of the parameters that are frozen now and were not before.

    Raises:
        InitError: a name is unknown; nothing was changed.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    >>> freeze(model, "0", "1")
    ('0.weight', '0.bias', '1.weight', '1.bias')
    >>> model.train()[1].training
    False
    """
    parameters, modules = _found(model, names)
    done = tuple(name for name, p in parameters.items() if p.requires_grad)
    for parameter in parameters.values():
        parameter.requires_grad_(False)
        parameter.grad = None
    for module in modules:
        if _keeps_statistics(module):
            module.eval()
            vars(module)["train"] = Stays(module)
    return done


def unfreeze(model: nn.Module, *names: str) -> tuple[str, ...]:
    """Let parts of a model train again, in the mode of the model.

    Args:
        model: changed in place.
        names: of modules or parameters; the whole model if none is given.

    Returns:
        The names of the parameters that are trained now and were not before.

    Raises:
        InitError: a name is unknown; nothing was changed.
    """
    parameters, modules = _found(model, names)
    done = tuple(name for name, p in parameters.items() if not p.requires_grad)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    for module in modules:
        if isinstance(vars(module).get("train"), Stays):
            del vars(module)["train"]
            module.train(model.training)
    return done


class GradualUnfreezing:
    """A post-step action: parts of a model begin to train one after another.

    The number of parts that train is the whole part of a schedule; the others are
    frozen, so a schedule that falls freezes them again. It holds no state: a resumed
    run has the parts of its step.

    Args:
        model: whose parts they are. The optimizer holds all weights from the start.
        parts: names, or groups of names, in the order of their turn, such as the head
            first and the first layer last (Howard & Ruder 2018).
        stages: how many of them train.

    >>> import torch
    >>> from surefoot.schedules import Linear, after_step
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> slowly = GradualUnfreezing(model, ["1", "0"], stages=Linear(1, 2, steps=3))
    >>> handle = after_step(sgd, slowly)
    >>> for _ in range(4):
    ...     sgd.step()
    >>> [(event.step, event.body["unfrozen"]) for event in handle.log]
    [(3, ['0.weight', '0.bias'])]

    Raises:
        InitError: a name is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        parts: Sequence[str | Sequence[str]],
        *,
        stages: Scheduled,
    ) -> None:
        self.model = model
        self.parts = tuple((p,) if isinstance(p, str) else tuple(p) for p in parts)
        self.stages = stages
        _found(model, [name for part in self.parts for name in part])

    def begin(self, step: int) -> None:
        """Freeze and unfreeze as it is after `step` updates."""
        self(step)

    def __call__(self, step: int) -> Mapping[str, object]:
        """Take the stage of this step; say what changed."""
        stage = stage_at(self.stages, step, len(self.parts))
        frozen = [n for part in self.parts[stage:] for n in freeze(self.model, *part)]
        free = [n for part in self.parts[:stage] for n in unfreeze(self.model, *part)]
        told = {"unfrozen": free, "frozen": frozen}
        said = {word: names for word, names in told.items() if names}
        return {"stage": stage, **said} if said else {}


def stage_at(stages: Scheduled, step: int, most: int | None = None) -> int:
    """The whole part of a schedule at a step, 0 to `most`."""
    stage = max(0, math.floor(stages(step) + SLACK))
    return stage if most is None else min(stage, most)


def _found(
    model: nn.Module, names: Sequence[str]
) -> tuple[dict[str, nn.Parameter], list[nn.Module]]:
    """Parameters and modules of names; those of the whole model without any."""
    whole = dict(model.named_parameters(remove_duplicate=False))
    parameters: dict[str, nn.Parameter] = {}
    modules: list[nn.Module] = []
    for name in names or ("",):
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InitError(
                f"{name!r} came for a name; expected names of modules or parameters, "
                "one after another; unpack a list with *"
            )
        if name in whole:
            parameters[name] = whole[name]
            continue
        part = module_at(model, name)
        for inner, parameter in part.named_parameters():
            parameters[f"{name}.{inner}".strip(".")] = parameter
        modules.extend(part.modules())
    if not parameters and not modules:
        raise InitError("no part came; expected the name of a module or parameter")
    return parameters, modules


def _keeps_statistics(module: nn.Module) -> bool:
    own = dict(module.named_buffers(recurse=False))
    return any(name in own for name in STATISTICS)
