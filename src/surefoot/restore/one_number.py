"""What a loss function gave comes in, its one number goes out, with its graph."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def one_number(loss: Any, error: type[ValueError] = ValueError) -> Tensor:
    """A loss with shape `[]`.

    Raises:
        error: it is no tensor with one element.

    >>> import torch
    >>> one_number(torch.ones(1, 1))
    tensor(1.)
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        came = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise error(
            f"loss_fn gave {came}; expected a tensor with one element; reduce the "
            "loss with .mean() or .sum(), and do not call .item() on it"
        )
    return loss.reshape(())
