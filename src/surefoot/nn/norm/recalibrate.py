"""A model and data come in, batch norms with the statistics of that data go out.

After training on batches that are small, uneven or of another domain, running averages
are not the statistics that evaluation needs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.moments import Moments, merged, moments_of, no_moments
from surefoot.restore.still import still

Variance = Literal["population", "mean of batches"]
Forward = Callable[[nn.Module, Any], Any]

TENT_RATE = 1e-3
"""Adam's rate for batches of 200 (Wang et al. 2021, arXiv:2006.10726, section 4)."""


def recalibrate_bn(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    variance: Variance = "population",
    forward: Forward | None = None,
) -> tuple[str, ...]:
    """Set the running statistics of batch norms to those of data, in place.

    The passes use the statistics of each batch, as training does; all else runs as in
    evaluation. Nothing but the running statistics changes, modes included, and
    `num_batches_tracked` becomes the number of batches.

    Args:
        model: with batch norms that track statistics.
        batches: inputs, or sequences that begin with inputs. All are weighted by
            their values: a cumulative average without a horizon.
        variance: "population" is that of all values, as of one batch that holds
            everything. "mean of batches" is the mean over batches of their variances,
            which misses how their means differ: 1.09 instead of 6.40 in one case. Both
            are divided by n - 1, as torch does.
        forward: how the model is run on a batch; `model(inputs)` if not given.

    Returns:
        The names of the norms that were set.

    Raises:
        NormError: no batch came, or the model has no such norm that ran.

    Wu & Johnson 2021, arXiv:2105.07576 ("PreciseBN").

    >>> net = nn.Sequential(nn.BatchNorm1d(1))
    >>> recalibrate_bn(net, torch.tensor([[[1.0], [3.0]], [[5.0], [9.0]]]))
    ('0',)
    >>> net[0].running_mean.item(), round(net[0].running_var.item(), 3)
    (4.5, 11.667)
    """
    norms = tracked_norms(model)
    seen = {name: _Seen(norm.num_features) for name, norm in norms.items()}
    number = 0

    def see(name: str, values: Tensor, mask: Tensor | None) -> None:
        seen[name].add(values, mask)

    with still(model, training=False), torch.no_grad():
        for norm in norms.values():
            vars(norm)["training"] = True
        with watched(norms, see):
            for batch in batches:
                number += 1
                run(model, batch, forward)
    ran = {name: one for name, one in seen.items() if one.moments.total > 0}
    if not ran:
        raise NormError(
            f"{number} batches came, and {len(norms)} batch norms that track "
            "statistics; expected one batch and one such norm at least"
        )
    with torch.no_grad():
        for name, one in ran.items():
            mean, var = one.result(variance)
            norms[name].get_buffer("running_mean").copy_(mean)
            norms[name].get_buffer("running_var").copy_(var)
            norms[name].get_buffer("num_batches_tracked").fill_(one.batches)
    return tuple(ran)


def adapt_bn(
    model: nn.Module,
    batches: Sequence[Any],
    *,
    tent: bool = False,
    rate: float = TENT_RATE,
    forward: Forward | None = None,
) -> tuple[str, ...]:
    """Adapt a trained model to another domain, from inputs without labels, in place.

    The running statistics become those of the new inputs (AdaBN). With `tent`, γ and β
    of the batch norms first take a step of Adam on each batch that lowers the entropy
    of the model's predictions; no other weight changes.

    Args:
        model: a classifier for `tent`: it gives logits `[N, classes]`.
        batches: inputs of the new domain, or sequences that begin with them.
        tent: whether γ and β are trained too.
        rate: of Adam, with `tent`.
        forward: as of `recalibrate_bn`.

    Returns:
        The names of the norms that were adapted.

    Raises:
        NormError: no batch came, no batch norm ran, an entropy is not finite.
            The model is as it was.

    Li et al. 2017, arXiv:1603.04779 (AdaBN); Wang et al. 2021, arXiv:2006.10726 (Tent).

    >>> net = nn.Sequential(nn.BatchNorm1d(1)).eval()
    >>> adapt_bn(net, [torch.tensor([[10.0], [14.0]])])
    ('0',)
    >>> net[0].running_mean.item()
    12.0
    """
    given = list(batches)
    norms = tracked_norms(model)
    weights = [w for norm in norms.values() for w in norm.parameters(recurse=False)]
    before = [weight.detach().clone() for weight in weights]
    adapted: tuple[str, ...] = ()
    try:
        if tent:
            _lower_entropy(model, given, weights, rate=rate, forward=forward)
        adapted = recalibrate_bn(model, given, forward=forward)
    finally:
        if not adapted:
            _put_back(weights, before)
    return adapted


def tracked_norms(model: nn.Module) -> dict[str, Any]:
    """The batch norms of a model that have running statistics, by name."""
    kind = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, kind) and module.running_mean is not None
    }


See = Callable[[str, Tensor, Tensor | None], None]
"""Takes the name of a norm, values `[N, C, *]` that it is given, and their mask."""


@contextmanager
def watched(norms: Mapping[str, nn.Module], see: See) -> Generator[None]:
    """Inside, what comes into the norms is seen."""

    def hook(name: str) -> Callable[..., None]:
        def seen(module: nn.Module, args: Any, named: Any) -> None:
            mask = named.get("mask", args[1] if len(args) > 1 else None)
            see(name, args[0].detach(), mask)

        return seen

    hooks = [
        norm.register_forward_pre_hook(hook(name), with_kwargs=True)
        for name, norm in norms.items()
    ]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def run(model: nn.Module, batch: Any, forward: Forward | None) -> Any:
    """What a model makes of a batch: inputs, or a sequence that begins with them."""
    if forward is not None:
        return forward(model, batch)
    return model(batch[0] if isinstance(batch, tuple | list) else batch)


def of_channels(values: Tensor, mask: Tensor | None = None) -> Moments:
    """Moments of the channels of values `[N, C, *]`, of what a mask `[N, *]` leaves."""
    return moments_of(values.movedim(1, -1), mask)


class _Seen:
    """What one norm has been given: moments of all values, and of batches."""

    def __init__(self, channels: int) -> None:
        self.batches = 0
        self.moments = no_moments(channels)
        self.variances = torch.zeros(channels, dtype=torch.float64)

    def add(self, values: Tensor, mask: Tensor | None) -> None:
        """Count the values of one batch."""
        found = of_channels(values, mask)
        if self.batches == 0:
            self.moments = no_moments(values.shape[1], device=values.device)
            self.variances = self.moments.mean.clone()
        self.batches += 1
        self.moments = merged(self.moments, found)
        self.variances += found.variance(correction=1) * found.total

    def result(self, variance: Variance) -> tuple[Tensor, Tensor]:
        """Mean and variance."""
        if variance == "population":
            return self.moments.mean, self.moments.variance(correction=1)
        return self.moments.mean, self.variances / self.moments.total


def _lower_entropy(
    model: nn.Module,
    batches: Sequence[Any],
    weights: Sequence[nn.Parameter],
    *,
    rate: float,
    forward: Forward | None,
) -> None:
    """A step of Adam for each batch on the mean entropy of what is predicted."""
    trained = [weight for weight in weights if weight.requires_grad]
    if not trained:
        raise NormError("no batch norm has weights to train; expected affine ones")
    optimizer = torch.optim.Adam(trained, lr=rate)
    norms = tracked_norms(model)
    kept = [weight.grad for weight in trained]
    try:
        for batch in batches:
            with still(model, training=False):
                for norm in norms.values():
                    vars(norm)["training"] = True
                gradients = _of_entropy(run(model, batch, forward), trained)
            for weight, gradient in zip(trained, gradients, strict=True):
                weight.grad = gradient
            optimizer.step()
    finally:
        for weight, gradient in zip(trained, kept, strict=True):
            weight.grad = gradient


def _of_entropy(
    logits: Tensor, weights: Sequence[nn.Parameter]
) -> Sequence[Tensor | None]:
    """The gradient of the mean entropy of predictions."""
    logs = torch.log_softmax(logits, dim=1)
    entropy = -(logs.exp() * logs).sum(1).mean()
    if not torch.isfinite(entropy):
        raise NormError(
            f"an entropy of {entropy.item()} came; expected logits [N, classes] that "
            "are finite"
        )
    return torch.autograd.grad(entropy, weights, allow_unused=True)


@torch.no_grad()
def _put_back(weights: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)
