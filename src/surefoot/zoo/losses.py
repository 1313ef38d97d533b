"""Losses and held-out scores: a model and a batch come in, numbers go out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from surefoot.zoo.datasets import held_out_digits, held_out_text
from surefoot.zoo.task import Floats, Scores, Task


def cross_entropy(model: nn.Module, batch: Any) -> torch.Tensor:
    """Of logits `[..., classes]` and integer targets `[...]`."""
    logits = model(batch[0])
    return F.cross_entropy(logits.flatten(0, -2), batch[1].flatten())


def squared_error(model: nn.Module, batch: Any) -> torch.Tensor:
    """Of outputs `[batch, 1]` and targets `[batch]`."""
    return F.mse_loss(model(batch[0]).squeeze(-1), batch[1])


def binary(model: nn.Module, batch: Any) -> torch.Tensor:
    """Of logits `[batch, 1]` and targets 0 or 1, `[batch]`."""
    return F.binary_cross_entropy_with_logits(model(batch[0]).squeeze(-1), batch[1])


def numbers(values: torch.Tensor) -> Floats:
    """A tensor as float64 on the host."""
    return values.detach().double().numpy().astype(np.float64)


def classification(x: torch.Tensor, y: torch.Tensor) -> Callable[[Task], Scores]:
    """Scores by cross-entropy and accuracy on `x` and its classes `y`."""

    def scores(task: Task) -> Scores:
        logits = task.model(x).float().flatten(0, -2)
        loss = F.cross_entropy(logits, y.flatten(), reduction="none")
        right = (logits.argmax(-1) == y.flatten()).numpy()
        return Scores(numbers(loss), right & np.isfinite(numbers(loss)))

    return scores


def digit_scores() -> Callable[[Task], Scores]:
    """Scores on the digits that are held out."""
    return classification(*held_out_digits())


def text_scores() -> Callable[[Task], Scores]:
    """Scores on the text that is held out."""
    x, y = held_out_text()
    return classification(x, y)
