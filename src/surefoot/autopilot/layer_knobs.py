"""Layers come in; they stay as they are, or their dead units begin anew."""

from __future__ import annotations

from torch import nn

from surefoot.autopilot.live import Applied, KnobError, Live, modules_of
from surefoot.autopilot.structure_knobs import whole
from surefoot.gradients.norms import weights_of
from surefoot.nn.init.errors import InitError
from surefoot.nn.init.freezing import freeze, unfreeze
from surefoot.nn.init.joining import check_unwrapped
from surefoot.types import Change


def freeze_layers(live: Live, change: Change) -> Applied:
    """Keep layers as they are: weights, and running statistics.

    Raises:
        KnobError: no layer is named, nothing would be left to train, or the model is
            wrapped for distributed training.
    """
    if not change.layers:
        raise KnobError(
            "the change layer freeze came without layers; expected the names of those "
            "that are to stay as they are"
        )
    parts = modules_of(live, change.layers)
    held = {id(p) for part in parts.values() for p in part.parameters()}
    free = [w for o in live.optimizers for w in weights_of(o) if w.requires_grad]
    if live.optimizers and not any(id(weight) not in held for weight in free):
        raise KnobError(
            f"the change layer freeze came for {', '.join(parts)}, which is all that "
            "is trained; expected some layers to be left"
        )
    kept = [_Kept(module) for part in parts.values() for module in part.modules()]
    try:
        for model in live.models.values():
            check_unwrapped(model)
        done = freeze(whole(live), *parts)
    except InitError as error:
        raise KnobError(str(error)) from error

    def undo() -> None:
        unfreeze(whole(live), *parts)
        for one in kept:
            one.put_back()

    after = f"{len(done)} parameters stay as they are"
    return Applied(f"{', '.join(parts)} trained", after, undo)


class _Kept:
    """Which of a module's parameters are trained, and in what mode it is."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training
        self._train = vars(module).get("train")
        self._rows = [(p, p.requires_grad) for p in module.parameters(recurse=False)]

    def put_back(self) -> None:
        """As it was; a gradient of before would be a stale one."""
        if self._train is not None:
            vars(self._module)["train"] = self._train
        self._module.training = self._training
        for parameter, trained in self._rows:
            parameter.requires_grad_(trained)
