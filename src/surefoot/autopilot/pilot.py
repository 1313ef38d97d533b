"""The live autopilot of a run: losses come in, its optimizers are steered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.autopilot.helm import KEY, Helm, refuse_closure
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.modes import rules_of
from surefoot.autopilot.policy import Policy
from surefoot.blackbox.state import Trained
from surefoot.gradients.norms import weights_of
from surefoot.types import Event


def nobody_measured_of(optimizer: Optimizer) -> None:
    """No norms are known."""


class Pilot:
    """The autopilot of one run: on each optimizer, from now until `close()`.

    Each optimizer is judged by itself. In a distributed run all ranks have one.

    Args:
        live: the models and optimizers of the run.
        policy: how much it may do; "advise" and "ask" do nothing by themselves.
        tell: who hears of everything that is done.
        measured: gives the norms of the gradients of an optimizer's coming update,
            where somebody took them already.

    Raises:
        KnobError: an optimizer has an autopilot already, or cannot have one.

    >>> model = torch.nn.Linear(2, 1)
    >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> told = []
    >>> pilot = Pilot(Live({"m": model}, [sgd]), Policy(mode="guard"), tell=told.append)
    >>> for scale in (1.0, float("nan")):
    ...     loss = scale * model(torch.ones(1, 2)).square().mean()
    ...     pilot.see_loss(loss)
    ...     loss.backward()
    ...     sgd.step()
    >>> [event.body["after"] for event in told]
    ['the update is skipped']
    >>> pilot.close()
    """

    def __init__(
        self,
        live: Live,
        policy: Policy,
        *,
        tell: Callable[[Event], None],
        measured: Callable[[Optimizer], Any] = nobody_measured_of,
    ) -> None:
        self.live, self.policy = live, policy
        chosen = live.optimizers if policy.acts else ()
        for optimizer in chosen:
            _check(optimizer)
        self.helms: list[Helm] = []
        for optimizer in chosen:
            trained = _trained_by(optimizer, live)
            rules = rules_of(policy, optimizers=len(chosen))
            helm = Helm(
                trained,
                optimizer,
                rules=rules,
                tell=tell,
                measured=partial(measured, optimizer),
            )
            helm.memory = policy.memory_bytes // len(chosen)
            self.helms.append(helm)

    def see_loss(self, loss: Tensor, *, optimizer: Optimizer | None = None) -> None:
        """A loss of the update that is made next, or was just made.

        Losses of one update, as under gradient accumulation, are averaged.

        Args:
            loss: one element; it is not waited for.
            optimizer: whose update it leads to; None for all of them.
        """
        for helm in self.helms:
            if optimizer is None or helm.optimizer is optimizer:
                helm.see_loss(loss)

    def close(self) -> None:
        """Take all hooks off; the weights stay as they are."""
        for helm in self.helms:
            helm.close()
        self.helms = []


def _check(optimizer: Optimizer) -> None:
    """Refuse what cannot have an autopilot.

    Raises:
        KnobError: it has one, or computes gradients inside its step.
    """
    if KEY in optimizer.__dict__:
        raise KnobError(
            f"a second autopilot came for one {type(optimizer).__name__}; close the "
            "first one, with run.close() or at the end of its with block"
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        refuse_closure()


def _trained_by(optimizer: Optimizer, live: Live) -> Trained:
    """What an optimizer trains: the models, or of several optimizers its own share."""
    if len(live.optimizers) == 1:
        return Trained(live.models, {"main": optimizer})
    return Trained({"share": _Share(optimizer, live)}, {"main": optimizer})


class _Share(nn.Module):
    """The weights of one optimizer, and the buffers of the modules they are in."""

    def __init__(self, optimizer: Optimizer, live: Live) -> None:
        super().__init__()
        weights = list(weights_of(optimizer))
        self.weights = nn.ParameterList(weights)
        held = {id(one) for one in weights}
        modules = [m for model in live.models.values() for m in model.modules()]
        buffers = [
            buffer
            for module in modules
            if any(id(one) in held for one in module.parameters(recurse=False))
            for buffer in module.buffers(recurse=False)
        ]
        for place, buffer in enumerate(buffers):
            self.register_buffer(f"buffer{place}", buffer)
