"""A tensor that may be sharded comes in, the part of this process goes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def local(tensor: Tensor) -> Tensor:
    """The values that this process holds; shares memory with the tensor."""
    whole: Any = tensor
    with torch.no_grad():
        return whole.to_local() if hasattr(whole, "to_local") else tensor.detach()


def alike(value: Tensor, model: Tensor) -> Tensor:
    """A new tensor with these local values, sharded and placed as a model is."""
    if hasattr(model, "to_local") and value.shape == local(model).shape:
        made = torch.zeros_like(model, dtype=value.dtype)
        local(made).copy_(value)
        return made
    return value.to(local(model).device, copy=True)
