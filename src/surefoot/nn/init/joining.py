"""An optimizer and new parameters come in; it trains them too, from its next update.

They are appended to the groups of their neighbours, so that learning rate, decay and
schedulers hold for them as they are. Nothing that the optimizer remembers of others
changes; it knows nothing of the new ones, which so begin at step 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from surefoot.nn.init.errors import GrowthError

FLAT = ("LBFGS", "ZeroRedundancyOptimizer")
"""Optimizers that lay out all parameters when they are made."""

WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel")
"""Modules that lay out all parameters when they are made."""

Place = tuple[dict[str, Any], str, nn.Parameter]


def check_unwrapped(model: nn.Module) -> None:
    """Refuse a model whose wrapper knows the parameters of before.

    Raises:
        GrowthError: it is wrapped for distributed training.
    """
    for module in model.modules():
        kinds = {kind.__name__ for kind in type(module).__mro__}
        if kinds.intersection(WRAPPERS) or "FSDPModule" in kinds:
            raise GrowthError(
                f"a model inside {type(module).__name__} came, which sends the "
                "gradients of the parameters that it was made with; change the model "
                "itself (wrapper.module), the same way in all processes, and wrap anew"
            )


class Joining:
    """New parameters with their places in an optimizer, found before anything changes.

    Args:
        optimizer: who is to train them; None for nobody.
        new: whose parameters they are.
        beside: whose parameters are in the groups that they go to: one of as many
            dimensions (a weight beside a weight, a bias beside a bias) if there is one.
        group: the number of the group for all of them instead.

    Raises:
        GrowthError: no group can be told, or the optimizer cannot take new ones.
    """

    def __init__(
        self,
        optimizer: Optimizer | None,
        new: nn.Module,
        *,
        beside: nn.Module,
        group: int | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._places: list[Place] = []
        if optimizer is None:
            return
        if type(optimizer).__name__ in FLAT:
            raise GrowthError(
                f"{type(optimizer).__name__} came, which lays out its parameters when "
                "it is made; make a new one with the parameters of the changed model"
            )
        held = {id(p) for one in optimizer.param_groups for p in one["params"]}
        for name, parameter in new.named_parameters():
            if id(parameter) not in held:
                where = _group(optimizer, parameter, beside, group)
                self._places.append((where, name, parameter))

    def commit(self, model: nn.Module) -> Callable[[], None]:
        """Append them; what takes them out again comes back.

        Where the optimizer keeps names, they become those of the model as it is now.
        """
        groups = [] if self._optimizer is None else self._optimizer.param_groups
        before = [
            (group, key, list(group[key]))
            for group in groups
            for key in ("params", "param_names")
            if key in group
        ]
        for group, name, parameter in self._places:
            group["params"].append(parameter)
            if "param_names" in group:
                group["param_names"].append(name)
        names = {id(p): name for name, p in model.named_parameters()}
        for group in groups:
            if "param_names" in group:
                pairs = zip(group["params"], group["param_names"], strict=True)
                group["param_names"][:] = [names.get(id(p), old) for p, old in pairs]

        def take_out() -> None:
            for group, key, held in before:
                group[key][:] = held
            for _, _, parameter in self._places:
                if self._optimizer is not None:
                    self._optimizer.state.pop(parameter, None)

        return take_out


def _group(
    optimizer: Optimizer, parameter: nn.Parameter, beside: nn.Module, group: int | None
) -> dict[str, Any]:
    """The group that a new parameter goes to."""
    groups = optimizer.param_groups
    if group is not None:
        if not -len(groups) <= group < len(groups):
            raise GrowthError(
                f"group={group} came; the optimizer has {len(groups)}: expected a "
                "number from 0 on"
            )
        return groups[group]
    by_id = {id(p): one for one in groups for p in one["params"]}
    near = [p for p in beside.parameters() if id(p) in by_id]
    alike = [p for p in near if (p.dim() > 1) == (parameter.dim() > 1)]
    if near:
        return by_id[id((alike or near)[0])]
    if len(groups) == 1:
        return groups[0]
    raise GrowthError(
        f"a new parameter beside {type(beside).__name__} came, none of whose own is "
        f"in the {len(groups)} groups of the optimizer; give group= its number"
    )
