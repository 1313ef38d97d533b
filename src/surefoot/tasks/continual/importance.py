"""A trained model and its data come in, how much each weight matters goes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from surefoot.restore.still import still
from surefoot.tasks.continual.errors import ContinualError
from surefoot.tasks.continual.likelihood import Likelihood, likelihood_of
from surefoot.tasks.continual.per_sample import Work, output_of, power_sums_of

Labels = Literal["sampled", "true"]


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """How much each weight matters for what a model has learned.

    Attributes:
        values: by parameter name, in its shape, 0 or more.
        samples: over how many it is the mean.
        kind: "Fisher, sampled labels", "Fisher, true labels" or "MAS".
        ways: how gradients of samples were found: "layers" (products of matrices),
            "vmap", "one by one".
    """

    values: Mapping[str, Tensor]
    samples: int
    kind: str
    ways: tuple[str, ...]


def fisher_diagonal(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    labels: Labels = "sampled",
    likelihood: str | Likelihood = "categorical",
    seed: int = 0,
) -> Importance:
    """The diagonal of the Fisher matrix, E[(∂ ln p(y|x)/∂θ)²], sample by sample.

    With labels drawn from the model's own distribution it is the Fisher matrix; with
    the true labels it is the "empirical Fisher", which vanishes where the model fits
    (Kunstner et al. 2019). Both are independent of the batch size, which the squared
    gradient of a batch is not. The model runs in evaluation mode and is left as it was,
    bit for bit.

    Args:
        model: from inputs to a tensor `[samples, ...]`.
        batches: pairs (inputs, targets); inputs alone will do for sampled labels.
            Inputs: a tensor, a tuple of arguments, or a mapping of named ones.
        labels: "sampled" or "true".
        likelihood: "categorical" (logits), "bernoulli" (logits), "gaussian" (means of
            variance 1), or one of your own.
        seed: of the sampled labels.

    Raises:
        ContinualError: no samples, no targets for true labels, an unknown name, or an
            output that is no tensor.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(model.weight)
    >>> batch = torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [1.0]])
    >>> found = fisher_diagonal(model, [batch], labels="true", likelihood="bernoulli")
    >>> found.values["weight"].item()  # (0.5² · 1² + 0.5² · 3²)/2
    1.25
    """
    if labels not in ("sampled", "true"):
        raise ContinualError(f"labels={labels!r} came; expected 'sampled' or 'true'")
    chosen = likelihood_of(likelihood)
    rng = np.random.default_rng(seed)

    def work(batch: Any) -> Work:
        inputs, targets = _pair(batch)
        if labels == "sampled":
            with torch.no_grad():
                targets = chosen.sample(output_of(model, inputs), rng)
        if targets is None:
            raise ContinualError(
                "a batch without targets came for labels='true'; expected pairs "
                "(inputs, targets)"
            )
        return Work(inputs, targets, chosen.loss, 2)

    return _mean(model, batches, work, f"Fisher, {labels} labels")


def mas_importance(model: nn.Module, batches: Iterable[Any]) -> Importance:
    """Memory aware synapses: E|∂‖f(x)‖²/∂θ|, sample by sample (Aljundi et al. 2018).

    It needs no labels: a weight matters if the outputs move with it.

    Args:
        model: from inputs to a tensor `[samples, ...]`; runs in evaluation mode.
        batches: inputs, or pairs (inputs, targets) whose targets are ignored.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 2.0)
    >>> mas_importance(model, [torch.tensor([[1.0], [3.0]])]).values["weight"].item()
    20.0

    Raises:
        ContinualError: no samples, or an output that is no tensor.
    """

    def squares(outputs: Tensor, _: Tensor) -> Tensor:
        return outputs.flatten(1).square().sum(1)

    def work(batch: Any) -> Work:
        inputs, _ = _pair(batch)
        first = next(t for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor))
        return Work(inputs, first.new_zeros(len(first)), squares, 1)

    return _mean(model, batches, work, "MAS")


def _mean(model: nn.Module, batches: Iterable[Any], work: Any, kind: str) -> Importance:
    totals: dict[str, Tensor] = {}
    ways: set[str] = set()
    samples = 0
    for batch in batches:
        with still(model, training=False):
            one = work(batch)
            found = power_sums_of(model, one)
        samples += one.samples
        ways |= found.ways
        for name, value in found.values.items():
            totals[name] = totals[name] + value if name in totals else value
    if not samples:
        raise ContinualError("no samples came; expected batches of (inputs, targets)")
    values = {name: total / samples for name, total in totals.items()}
    return Importance(values, samples, kind, tuple(sorted(ways)))


def _pair(batch: Any) -> tuple[Any, Tensor | None]:
    """Inputs and targets; a tensor or a mapping alone is inputs."""
    if not isinstance(batch, Sequence):
        return batch, None
    if len(batch) != 2 or not isinstance(batch[1], Tensor):
        raise ContinualError(
            f"a batch of {len(batch)} parts came; expected (inputs, targets), with "
            "inputs a tensor, a tuple of arguments or a mapping"
        )
    return batch[0], batch[1]
