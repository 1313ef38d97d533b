"""Inputs and weights come in; a linear layer with some weights dropped goes out.

DropConnect (Wan et al. 2013, "Regularization of neural networks using DropConnect"):
y = (M∘W)x + b, where each entry of M is 1 with probability 1 - p. Of y = Σ M_j w_j x_j
the mean is (1-p) Σ w_j x_j and the variance p(1-p) Σ (w_j x_j)².
"""

from __future__ import annotations

import math
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot.nn.regularize.errors import RegularizeError, checked_share, shown

Inference = Literal["mean", "gaussian"]


def drop_connect(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    p: float | Tensor,
    per_sample: bool = True,
    scale: bool = False,
) -> Tensor:
    """A linear layer (M∘W)x + b with a fresh mask M; the bias is not dropped.

    Args:
        input: `[N, ..., in]`; one mask holds for all of what belongs to a sample.
        weight: `[out, in]`.
        bias: `[out]`, or None.
        p: the probability of dropping a weight.
        per_sample: a mask for each of the N samples, as in the paper, which takes
            memory for N·out·in numbers; else one for the whole batch.
        scale: divide the kept weights by 1 - p, as dropout does. The paper does not.

    >>> x, w = torch.ones(1, 2), torch.tensor([[1.0, 2.0]])
    >>> drop_connect(x, w, p=0.0)
    tensor([[3.]])
    >>> drop_connect(x, w, p=1.0)
    tensor([[0.]])
    """
    _checked_shapes(input, weight)
    kept = 1 - p
    factor = weight / kept if scale else weight
    if not per_sample or input.dim() == 1:
        mask = torch.rand(weight.shape, device=weight.device) >= p
        return functional.linear(input, factor * mask, bias)
    shape = (len(input), *weight.shape)
    mask = torch.rand(shape, device=weight.device) >= p
    rows = input.reshape(len(input), math.prod(input.shape[1:-1]), input.shape[-1])
    found = rows @ (factor * mask).mT
    found = found.reshape(*input.shape[:-1], len(weight))
    # Under autocast the product is in half precision, and stays so as in nn.Linear.
    return found if bias is None else found + bias.to(found.dtype)


def drop_connect_moments(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    p: float | Tensor,
    scale: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mean and variance of `drop_connect` over masks, in closed form.

    Returns:
        (1-p)Wx + b and p(1-p)W²x², shape `[..., out]` each; with `scale` Wx + b and
        p/(1-p)·W²x².

    >>> x, w = torch.ones(1, 2), torch.tensor([[1.0, 2.0]])
    >>> drop_connect_moments(x, w, p=0.5)
    (tensor([[1.5000]]), tensor([[1.2500]]))
    """
    _checked_shapes(input, weight)
    kept = 1 - p
    mean = functional.linear(input, weight if scale else kept * weight, bias)
    share = p / kept if scale else p * kept
    variance = share * functional.linear(input.square(), weight.square())
    return mean, variance


class DropConnect(nn.Module):
    """A linear layer that drops weights while training.

    In evaluation "mean" gives the activation of the mean, as dropout does; "gaussian"
    is the paper's: the mean of the activation over draws from a Gaussian with the
    layer's own mean and variance, which is not the same behind a bent activation.

    Args:
        in_features: size of each input sample.
        out_features: size of each output sample.
        p: the probability of dropping a weight, 0.5 in the paper; the buffer `p` may
            follow a schedule (`surefoot.schedules.Vary`).
        bias: whether there is one; it is not dropped.
        per_sample: a mask for each sample, else one for the batch.
        scale: divide kept weights by 1 - p; the paper does not.
        activation: applied to what comes out; "gaussian" needs one.
        inference: "mean" or "gaussian".
        samples: draws of "gaussian".
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        `[N, ..., in_features]` to `[N, ..., out_features]`.

    Raises:
        RegularizeError: a setting out of its range, or "gaussian" without an
            activation, whose mean "mean" gives exactly.

    >>> layer = DropConnect(3, 2, p=0.5)
    >>> layer.eval()(torch.ones(4, 3)).shape
    torch.Size([4, 2])
    >>> layer
    DropConnect(in_features=3, out_features=2, p=0.5, per_sample=True, inference=mean)
    """

    p: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        p: float = 0.5,
        bias: bool = True,
        per_sample: bool = True,
        scale: bool = False,
        activation: nn.Module | None = None,
        inference: Inference = "mean",
        samples: int = 32,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if inference not in get_args(Inference) or samples < 1:
            raise RegularizeError(
                f"inference={inference!r} and samples={samples!r} came; expected "
                "'mean' or 'gaussian', and 1 or more"
            )
        if inference == "gaussian" and activation is None:
            raise RegularizeError(
                "inference='gaussian' came without an activation; give one, or use "
                "'mean', which is the exact mean of a layer without"
            )
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.in_features, self.out_features = in_features, out_features
        self.per_sample, self.scale = per_sample, scale
        self.inference, self.samples = inference, samples
        self.activation = activation
        self.weight = nn.Parameter(torch.empty(out_features, in_features, **made))
        self.bias = nn.Parameter(torch.empty(out_features, **made)) if bias else None
        self.register_buffer("p", torch.tensor(checked_share(p, "p"), device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias as `nn.Linear` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """A masked layer while training, its moments otherwise."""
        if self.training:
            found = drop_connect(
                input, self.weight, self.bias,
                p=self.p, per_sample=self.per_sample, scale=self.scale,
            )  # fmt: skip
            return self._bent(found)
        mean, variance = drop_connect_moments(
            input, self.weight, self.bias, p=self.p, scale=self.scale
        )
        if self.inference == "mean":
            return self._bent(mean)
        noise = torch.randn(
            (self.samples, *mean.shape), device=mean.device, dtype=mean.dtype
        )
        return self._bent(mean + variance.clamp(min=0).sqrt() * noise).mean(0)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"p={shown(self.p)}, per_sample={self.per_sample}, "
            f"inference={self.inference}"
        )

    def _bent(self, values: Tensor) -> Tensor:
        if self.activation is None:
            return values
        return cast(Tensor, self.activation(values))


def _checked_shapes(input: Tensor, weight: Tensor) -> None:
    if weight.dim() != 2 or input.dim() < 1 or input.shape[-1] != weight.shape[1]:
        raise RegularizeError(
            f"input of shape {tuple(input.shape)} and weight of {tuple(weight.shape)} "
            "came; expected [..., in] and [out, in]"
        )
