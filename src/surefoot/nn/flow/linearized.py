"""A module and an input come in; products with its Jacobian there go out.

One pass is made, and both directions are taken from its graph: Jᵀu is a backward pass,
and Jv is the derivative of Jᵀu (linear in u) by u. So dropout keeps one mask, and any
module that can be differentiated twice will do. Only `rows` needs a single derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from surefoot.nn.flow.errors import FlowError
from surefoot.restore.still import still

Block = Callable[[Tensor], Any]

CHUNK = 2**24
"""Elements of the rows that are computed at once."""


class Linearized:
    """The Jacobian of a block at one input, known by its products.

    Attributes:
        inputs: elements of the input, columns of the Jacobian.
        outputs: elements of the output, rows of the Jacobian.
        output: what the block gave, without its graph.
    """

    def __init__(self, given: Tensor, output: Tensor) -> None:
        self._given, self._output = given, output
        self.inputs, self.outputs = given.numel(), output.numel()
        self.output = output.detach()
        self._back: tuple[Tensor, Tensor] | None = None

    def rows(self) -> Tensor:
        """All of it, `[outputs, inputs]`."""
        eye = torch.eye(
            self.outputs, dtype=self.output.dtype, device=self.output.device
        )
        many = max(1, CHUNK // max(self.inputs, self.outputs))
        found = [
            torch.autograd.grad(
                self._output,
                self._given,
                part.reshape(-1, *self._output.shape),
                retain_graph=True,
                is_grads_batched=True,
            )[0].reshape(len(part), -1)
            for part in eye.split(many)
        ]
        return torch.cat(found)

    def back(self, vector: Tensor) -> Tensor:
        """Jᵀu for u `[outputs]`."""
        (found,) = torch.autograd.grad(
            self._output,
            self._given,
            vector.reshape(self._output.shape),
            retain_graph=True,
        )
        return found.reshape(-1)

    def ahead(self, vector: Tensor) -> Tensor:
        """Jv for v `[inputs]`."""
        if self._back is None:
            direction = torch.zeros_like(self._output, requires_grad=True)
            (found,) = torch.autograd.grad(
                self._output, self._given, direction, create_graph=True
            )
            self._back = direction, found
        direction, found = self._back
        if not found.requires_grad:
            return torch.zeros_like(self.output).reshape(-1)
        (moved,) = torch.autograd.grad(
            found, direction, vector.reshape(found.shape), retain_graph=True
        )
        return moved.reshape(-1)


@contextmanager
def linearized(block: Block, given: Tensor) -> Generator[Linearized]:
    """A block's Jacobian at one input; modules are held still.

    Raises:
        FlowError: the input is not of floating point, or the output is no tensor, not
            finite, or was not computed from the input.
    """
    if not given.is_floating_point() or not given.numel():
        raise FlowError(
            f"an input {list(given.shape)} of {given.dtype} came; expected floating "
            "point; for token ids give the module after the embedding"
        )
    calm = still(block) if isinstance(block, nn.Module) else nullcontext()
    with calm, torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        leaf = given.detach().clone().requires_grad_()
        output = first_tensor(block(leaf))
        yield Linearized(leaf, _checked(output))


def first_tensor(output: Any) -> Tensor | None:
    """The output, or the first of several."""
    if isinstance(output, tuple | list) and output:
        return first_tensor(output[0])
    return output if isinstance(output, Tensor) else None


def _checked(output: Tensor | None) -> Tensor:
    if output is None or not output.is_floating_point():
        raise FlowError(
            "the output is no tensor of floating point, nor a tuple that begins with "
            "one; wrap the module in a function that returns the tensor meant"
        )
    if not output.requires_grad:
        raise FlowError(
            "the output was not computed from the input, or not differentiably; check "
            "for detach() and no_grad() in the module"
        )
    if not torch.isfinite(output).all():
        raise FlowError("the output holds NaN or infinity; expected finite numbers")
    return output
