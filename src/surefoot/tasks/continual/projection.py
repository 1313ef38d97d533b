"""Gradients of a new task and of old ones come in, what does not disturb goes out.

A-GEM (Chaudhry et al. 2019) takes out of a gradient what opposes that of a memory; OGD
(Farajtabar et al. 2020) takes out all that lies in the span of old tasks' gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.restore.still import still
from surefoot.tasks.continual.errors import ContinualError
from surefoot.tasks.continual.per_sample import output_of


def agem_projection(gradient: Tensor, reference: Tensor) -> Tensor:
    """Take out of a gradient g what opposes another, r: g - min(0, ⟨g, r⟩)/‖r‖² · r.

    Args:
        gradient: of the new task, `[n]`.
        reference: of the memory's loss, `[n]`.

    >>> agem_projection(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0]))
    tensor([0.5000, 0.5000])

    Raises:
        ContinualError: the shapes differ.
    """
    if gradient.shape != reference.shape:
        raise ContinualError(
            f"gradients {list(gradient.shape)} and {list(reference.shape)} came; "
            "expected the same shape"
        )
    square = (reference * reference).sum()
    against = (gradient * reference).sum().clamp(max=0.0)
    return gradient - against / torch.where(square > 0, square, 1.0) * reference


@torch.no_grad()
def agem_(parameters: Iterable[Tensor], reference: Sequence[Tensor | None]) -> Tensor:
    """Project the `.grad` of parameters in place; as one vector over all of them.

    Args:
        parameters: with the gradient of the new task in `.grad`.
        reference: the gradient of the memory's loss, one tensor a parameter, as
            `torch.autograd.grad` gives it.

    Returns:
        Whether there was a conflict, a boolean `[]` on the device.

    >>> weight = torch.zeros(2, requires_grad=True)
    >>> weight.grad = torch.tensor([1.0, 0.0])
    >>> agem_([weight], [torch.tensor([-1.0, 1.0])]).item(), weight.grad
    (True, tensor([0.5000, 0.5000]))

    Raises:
        ContinualError: their numbers or shapes differ; nothing is changed then.
    """
    weights = list(parameters)
    mine = [w.grad if w.grad is not None else torch.zeros_like(w) for w in weights]
    fits = len(reference) == len(weights) and all(
        old is None or old.shape == weight.shape
        for old, weight in zip(reference, weights, strict=False)
    )
    if not fits:
        raise ContinualError(
            f"{len(reference)} reference gradients came for {len(weights)} parameters, "
            "or of other shapes; expected one for each, in its shape"
        )
    pairs = zip(reference, weights, strict=True)
    old = [torch.zeros_like(weight) if one is None else one for one, weight in pairs]
    flat = torch.cat([one.flatten() for one in mine])
    along = torch.cat([one.flatten() for one in old])
    projected = agem_projection(flat, along)
    for weight, part in zip(weights, _parts(projected, weights), strict=True):
        if weight.grad is not None:
            weight.grad.copy_(part)
        elif bool(part.any()):
            weight.grad = part.clone()
    return (flat * along).sum() < 0


class OldGradients:
    """An orthonormal basis of gradients that old tasks depend on (OGD).

    A step outside their span leaves the old outputs as they were to first order, and
    exactly if the model is linear in its weights. `add` takes gradients of outputs;
    `project_` changes `.grad` before a step, `OrthogonalUpdates` whole updates after.

    Args:
        parameters: the weights, in order.
        most: gradients that are kept; later ones are refused, since the memory is
            `most` times that of the weights.

    >>> weight = torch.zeros(3, requires_grad=True)
    >>> old = OldGradients([weight])
    >>> old.add_rows(torch.tensor([[2.0, 0.0, 0.0]]))
    1
    >>> old.outside(torch.tensor([1.0, 2.0, 3.0]))
    tensor([0., 2., 3.])
    """

    def __init__(self, parameters: Iterable[Tensor], *, most: int = 200) -> None:
        self.parameters = list(parameters)
        if not self.parameters or most < 1:
            raise ContinualError(
                f"{len(self.parameters)} parameters and most={most} came; expected 1 "
                "or more of both"
            )
        self.most = most
        size = sum(weight.numel() for weight in self.parameters)
        self.basis = self.parameters[0].detach().new_zeros(0, size)

    def add(self, model: nn.Module, batches: Iterable[Any]) -> int:
        """Add the gradients of every output of every sample; how many were new.

        The model runs in evaluation mode and is left as it was.

        Args:
            model: which holds the parameters.
            batches: inputs: tensors, tuples of arguments, or mappings.

        Raises:
            ContinualError: more gradients than `most`, all of that batch refused.
        """
        new = 0
        for inputs in batches:
            with still(model, training=False):
                outputs = output_of(model, inputs).flatten()
                rows = [self._gradient(one) for one in outputs]
            new += self.add_rows(torch.stack(rows))
        return new

    @torch.no_grad()
    def add_rows(self, rows: Tensor) -> int:
        """Add gradients `[k, n]`; how many directions were new.

        Raises:
            ContinualError: their length is another, or more than `most` would be kept.
        """
        if rows.dim() != 2 or rows.shape[1] != self.basis.shape[1]:
            raise ContinualError(
                f"rows {list(rows.shape)} came; expected [k, {self.basis.shape[1]}]"
            )
        basis = list(self.basis)
        floor = 16 * torch.finfo(rows.dtype).eps
        for row in rows.to(self.basis):
            left = _outside(row, torch.stack(basis) if basis else self.basis)
            if left.norm() > floor * row.norm():
                basis.append(left / left.norm())
        if len(basis) > self.most:
            raise ContinualError(
                f"{len(basis)} gradients would be kept and most={self.most}; give "
                "fewer samples, or a larger most="
            )
        new = len(basis) - len(self.basis)
        if new:
            self.basis = torch.stack(basis)
        return new

    def outside(self, vector: Tensor) -> Tensor:
        """What of a vector `[n]` lies outside the span."""
        return _outside(vector, self.basis)

    @torch.no_grad()
    def project_(self) -> None:
        """Project `.grad`, before a step without momentum and weight decay."""
        flat = torch.cat(
            [
                (torch.zeros_like(w) if w.grad is None else w.grad).flatten()
                for w in self.parameters
            ]
        )
        parts = _parts(self.outside(flat), self.parameters)
        for weight, part in zip(self.parameters, parts, strict=True):
            if weight.grad is not None:
                weight.grad.copy_(part)

    def state_dict(self) -> dict[str, Any]:
        """The basis."""
        return {"basis": self.basis}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.basis = state["basis"].to(self.basis).clone()

    def _gradient(self, output: Tensor) -> Tensor:
        found = torch.autograd.grad(
            output,
            self.parameters,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([one.flatten() for one in found])


class OrthogonalUpdates:
    """A post-step action: keep only what of each update lies outside old gradients.

    Exact with any optimizer, momentum and weight decay included, as it acts on what was
    done to the weights; it holds a copy of them. Register it with `after_step`.

    >>> from surefoot.schedules import after_step
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> old = OldGradients([weight])
    >>> _ = old.add_rows(torch.tensor([[1.0, 0.0]]))
    >>> adam = torch.optim.Adam([weight], lr=0.1)
    >>> _ = after_step(adam, OrthogonalUpdates(old))
    >>> weight.grad = torch.tensor([1.0, 1.0])
    >>> adam.step()
    >>> weight.detach()
    tensor([ 0.0000, -0.1000])
    """

    def __init__(self, old: OldGradients) -> None:
        self.old = old
        self.begin(0)

    def begin(self, step: int) -> None:
        """Take the weights as they are for the start of the next update."""
        self._before = self._flat()

    def __call__(self, step: int) -> Mapping[str, float]:
        """Put the weights where the projected update leads."""
        update = self._flat() - self._before
        after = self._before + self.old.outside(update)
        weights = self.old.parameters
        with torch.no_grad():
            for weight, part in zip(weights, _parts(after, weights), strict=True):
                weight.copy_(part)
        self._before = after
        return {}

    def _flat(self) -> Tensor:
        return torch.cat([weight.detach().flatten() for weight in self.old.parameters])


def _outside(vector: Tensor, basis: Tensor) -> Tensor:
    """Twice: once leaves rounding of the size of what was taken out."""
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector


def _parts(flat: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    sizes = [weight.numel() for weight in weights]
    pairs = zip(flat.split(sizes), weights, strict=True)
    return [part.view_as(weight) for part, weight in pairs]
