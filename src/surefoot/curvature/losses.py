"""A model, data and a loss function come in; losses and gradients go out, traceless."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.curvature.batches import counted, held, several
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.space import Space
from surefoot.restore.one_number import one_number
from surefoot.restore.still import still
from surefoot.types import LossFunction


class Losses:
    """The loss of fixed data, computed as often as one likes at the weights of then.

    Each time the same batches, the same random numbers (dropout) and the same buffers
    are used, and the model stays as it is. Batches weigh as their numbers of samples.
    `passes` counts what was computed, `rounding` is the machine epsilon of the loss.

    Args:
        model: what is run.
        data: one batch, a DataLoader, or several batches as `Batches`.
        loss_fn: the mean loss of a batch.
        training: the mode of all modules; None leaves each in its own.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        *,
        loss_fn: LossFunction,
        training: bool | None = None,
    ) -> None:
        self.model, self.loss_fn, self._mode = model, loss_fn, training
        self.passes, self.rounding = 0, 0.0
        self._batches = held(several(data))
        weights = counted(self._batches, alone=True)
        self._shares = [one / sum(weights) for one in weights]

    def value(self) -> float:
        """The mean loss, NaN and infinity included; no graph is made."""
        found = 0.0
        self.passes += 1
        for batch, share in zip(self._batches, self._shares, strict=True):
            with still(self.model, training=self._mode), torch.no_grad():
                loss = one_number(self.loss_fn(self.model, batch), CurvatureError)
            self.rounding = torch.finfo(loss.dtype).eps
            found += share * float(loss.detach())
        return found

    def gradient(self, over: Space) -> Tensor:
        """The gradient of the mean loss, flat `[n]`; `.grad` is not touched.

        Raises:
            CurvatureError: the loss has no graph, or is not finite.
        """
        found = torch.zeros(over.size, dtype=over.dtype, device=over.device)
        self.passes += 1
        for batch, share in zip(self._batches, self._shares, strict=True):
            with still(self.model, training=self._mode):
                loss = with_graph(self.loss_fn(self.model, batch))
                slopes = torch.autograd.grad(loss, over.tensors, allow_unused=True)
            found = found + share * over.flat(slopes).detach()
        return found


def with_graph(loss: Any) -> Tensor:
    """A finite loss with shape `[]` that knows the weights it was made of.

    Raises:
        CurvatureError: it is no tensor with one element, has no graph, or is not
            finite.
    """
    number = one_number(loss, CurvatureError)
    if not number.requires_grad:
        raise CurvatureError(
            "the loss has no graph: nothing between the weights and it can be "
            "differentiated; do not detach it, nor compute it under torch.no_grad()"
        )
    if not math.isfinite(float(number.detach())):
        raise CurvatureError(
            f"the loss is {float(number.detach())}; expected a finite one: look for "
            "the first module that puts out NaN or infinity"
        )
    return number
