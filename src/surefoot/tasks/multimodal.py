"""Several inputs of one sample come in; how much each is relied on goes out, and cures.

A net that learns from two modalities at once tends to lean on the one that is easier,
and falls with it. Inputs are named: `{"image": [N, ...], "text": [N, ...]}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from surefoot.nn.norm.across import sum_over_processes
from surefoot.nn.regularize.errors import checked_share, shown
from surefoot.restore.still import still

Inputs = Mapping[str, Tensor]
Model = nn.Module
"""From named inputs to logits `[N, classes]`: `model({"image": ..., "text": ...})`."""

Absent = Literal["mean", "zero"]


class ModalityError(ValueError):
    """Inputs, names or settings that do not go together."""


# --- how much each is relied on -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reliance:
    """What a model makes of each of its modalities.

    shares: of the change of the scores, root mean square, when a modality is taken
        away; they add up to 1 (all 0 if nothing changes a score).
    alone: accuracy with this modality only; NaN without targets.
    lost: accuracy with all of them less that without this one; NaN without targets.
    """

    shares: Mapping[str, float]
    alone: Mapping[str, float]
    lost: Mapping[str, float]


def reliance(
    model: Model,
    inputs: Inputs,
    targets: Tensor | None = None,
    *,
    absent: Absent | Inputs = "mean",
) -> Reliance:
    """How much the scores of a model depend on each modality.

    The model runs in evaluation mode and is as before afterwards, bit for bit.

    Args:
        model: from the named inputs to logits `[N, classes]` (or any scores).
        inputs: of the samples it is asked for.
        targets: classes `[N]`, for accuracies.
        absent: what stands in the place of what is taken away: its mean over the
            samples, zeros, or tensors by name.

    >>> class Sum(nn.Module):
    ...     def forward(self, inputs):
    ...         return inputs["vision"] + 3 * inputs["text"]
    >>> x = torch.tensor([[1.0], [-1.0]])
    >>> reliance(Sum(), {"vision": x, "text": x}).shares
    {'vision': 0.25, 'text': 0.75}

    Raises:
        ModalityError: fewer than two modalities, or of different numbers of samples.
    """
    count = _samples(inputs, least=2)
    gone = {name: _absent(name, one, absent) for name, one in inputs.items()}
    with still(model, training=False), torch.no_grad():
        whole = model(dict(inputs))
        without = {m: model({**inputs, m: gone[m]}) for m in inputs}
        only = {m: model({**gone, m: inputs[m]}) for m in inputs}
    changes = {m: _rms(whole - scores) for m, scores in without.items()}
    total = sum(changes.values())
    right = _accuracy(whole, targets, count)
    return Reliance(
        {m: change / total if total else 0.0 for m, change in changes.items()},
        {m: _accuracy(scores, targets, count) for m, scores in only.items()},
        {m: right - _accuracy(s, targets, count) for m, s in without.items()},
    )


def score_ratios(scores: Inputs, targets: Tensor) -> dict[str, Tensor]:
    """How far each modality is ahead: its probability of the labels over the others'.

    ρ_m = Σ p_m(y) / mean over the other modalities of the same sum, as in Peng et al.
    2022 (arXiv:2203.15332) for two. The sums are those over all processes of a
    distributed run, each of which must call this.

    Args:
        scores: logits `[N, classes]` that each modality gives alone; of a linear head
            on joined features, its own part of the weights and of the bias.
        targets: classes `[N]`.

    Raises:
        ModalityError: fewer than two modalities, or of different numbers of samples.

    >>> told = {"a": torch.tensor([[0.0, 0.0]]), "b": torch.tensor([[0.0, 0.0]])}
    >>> score_ratios(told, torch.tensor([0]))
    {'a': tensor(1.), 'b': tensor(1.)}
    """
    _samples(scores, least=2)
    sums = [
        one.detach().float().softmax(-1).gather(1, targets[:, None]).sum()
        for one in scores.values()
    ]
    # Replicas must slow a modality alike, or their weights would drift apart.
    owns = sum_over_processes(torch.stack(sums))
    others = (owns.sum() - owns) / (len(sums) - 1)
    return dict(zip(scores, (owns / others).unbind(), strict=True))


# --- gradients of those that are ahead ------------------------------------------


def modulation(ratio: Tensor | float, *, alpha: float = 0.1) -> Tensor:
    """The factor 1 - tanh(αρ) for a modality that is ahead (ρ > 1), else 1.

    Args:
        ratio: ρ, any shape.
        alpha: how strongly it is slowed; 0.1 to 0.8 in Peng et al. 2022.

    >>> [round(modulation(2.0, alpha=a).item(), 5) for a in (0.1, 0.8)]
    [0.80262, 0.07833]

    Raises:
        ModalityError: α is negative.
    """
    if not alpha >= 0:
        raise ModalityError(f"alpha={alpha!r} came; expected 0 or more")
    told = torch.as_tensor(ratio)
    return torch.where(told > 1, 1 - torch.tanh(alpha * told), torch.ones_like(told))


class GradientModulation:
    """Slows the encoder of a modality that is ahead, so that the others catch up.

    Call it between `backward` and `optimizer.step()`. On-the-fly gradient modulation
    of Peng et al. 2022 (arXiv:2203.15332).

    Args:
        encoders: the module of each modality; they share no parameter.
        alpha: see `modulation`; it may be changed at any time.
        noise: add Gaussian noise with the standard deviation of each gradient before
            it was scaled, as the authors' code does; off by default.
        seed: of that noise.

    >>> encoders = {"a": nn.Linear(1, 2), "b": nn.Linear(1, 2)}
    >>> slow = GradientModulation(encoders, alpha=0.8)
    >>> ahead, behind = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    >>> factors = slow({"a": ahead, "b": behind}, torch.tensor([0]))
    >>> factors["a"].item() < 1, factors["b"].item()
    (True, 1.0)

    Raises:
        ModalityError: fewer than two encoders, or a parameter in two of them.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        *,
        alpha: float = 0.1,
        noise: bool = False,
        seed: int = 0,
    ) -> None:
        modulation(1.0, alpha=alpha)
        held = [id(w) for one in encoders.values() for w in one.parameters()]
        if len(encoders) < 2 or len(held) != len(set(held)):
            raise ModalityError(
                f"encoders of {list(encoders)} came; expected two or more that share "
                "no parameter: a gradient can be slowed for one modality only"
            )
        self.encoders = dict(encoders)
        self.alpha, self.noise = alpha, noise
        self.seed, self.calls = seed, 0

    @torch.no_grad()
    def __call__(self, scores: Inputs, targets: Tensor) -> dict[str, Tensor]:
        """Scale the gradients of each encoder in place; the factors go out.

        Raises:
            ModalityError: the scores are of other modalities than the encoders.
        """
        if scores.keys() != self.encoders.keys():
            raise ModalityError(
                f"scores of {list(scores)} came; expected {list(self.encoders)}"
            )
        ratios = score_ratios(scores, targets)
        factors = {m: modulation(r, alpha=self.alpha) for m, r in ratios.items()}
        held = [
            (weight.grad, factors[name])
            for name, encoder in self.encoders.items()
            for weight in encoder.parameters()
            if weight.grad is not None
        ]
        for place, (grad, factor) in enumerate(held):
            self._scale(grad, factor, place)
        self.calls += 1
        return factors

    def state_dict(self) -> dict[str, int]:
        """What the next call's noise depends on."""
        return {"calls": self.calls}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from what `state_dict` gave."""
        self.calls = int(state["calls"])

    def _scale(self, grad: Tensor, factor: Tensor, place: int) -> None:
        spread = grad.float().std(correction=0)
        grad.mul_(factor.to(grad.dtype))
        if self.noise:
            seed = hash((self.seed, self.calls, place)) % 2**63
            stream = torch.Generator(grad.device).manual_seed(seed)
            drawn = torch.randn(grad.shape, device=grad.device, generator=stream)
            # Only what was slowed lost the noise that this gives back.
            grad.add_((drawn * spread * (factor < 1)).to(grad.dtype))


# --- dropping, and weighing by confidence ---------------------------------------


class ModalityDropout(nn.Module):
    """Drops whole modalities, sample by sample, while training.

    What is dropped is 0 and gets no gradient. Neverova et al. 2016 (arXiv:1501.00102).

    Args:
        p: how often each named modality is dropped. Each is a buffer `p_NAME`, which
            may follow a schedule.
        keep_one: where a sample would lose all of them, one drawn at random stays.

    Shape:
        Named tensors `[N, ...]` to the same.

    >>> drop = ModalityDropout({"image": 1.0, "text": 0.0})
    >>> drop({"image": torch.ones(1, 2), "text": torch.ones(1, 2)})
    {'image': tensor([[0., 0.]]), 'text': tensor([[1., 1.]])}
    >>> drop
    ModalityDropout(image=1, text=0, keep_one=True)

    Raises:
        ModalityError: fewer than two modalities, or a name that no attribute can have.
        RegularizeError: a rate outside 0 to 1.
    """

    def __init__(
        self,
        p: Mapping[str, float],
        *,
        keep_one: bool = True,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if len(p) < 2 or not all(name.isidentifier() for name in p):
            raise ModalityError(
                f"rates of {list(p)} came; expected two modalities or more, with names "
                "of letters, digits and underscores"
            )
        self.names = tuple(p)
        self.keep_one = keep_one
        for name, rate in p.items():
            told = torch.tensor(checked_share(rate, name), device=device)
            self.register_buffer(f"p_{name}", told)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """The inputs, with some modalities of some samples at 0.

        Raises:
            ModalityError: other modalities came, or different numbers of samples.
        """
        if tuple(sorted(inputs)) != tuple(sorted(self.names)):
            raise ModalityError(f"{list(inputs)} came; expected {list(self.names)}")
        count = _samples(inputs, least=2)
        if not self.training:
            return {name: inputs[name] for name in self.names}
        rates = torch.stack([self.rate(name) for name in self.names]).float()
        kept = self._kept(torch.rand(2, count, len(rates), device=rates.device), rates)
        return {
            name: _masked(inputs[name], kept[:, place])
            for place, name in enumerate(self.names)
        }

    def rate(self, name: str) -> Tensor:
        """How often a modality is dropped, the live buffer."""
        return self.get_buffer(f"p_{name}")

    def extra_repr(self) -> str:
        """The settings."""
        told = ", ".join(f"{name}={shown(self.rate(name))}" for name in self.names)
        return f"{told}, keep_one={self.keep_one}"

    def _kept(self, drawn: Tensor, rates: Tensor) -> Tensor:
        """Which stays, `[N, modalities]`, from even draws `[2, N, modalities]`."""
        kept = drawn[0] >= rates
        if not self.keep_one:
            return kept
        chosen = nn.functional.one_hot(drawn[1].argmax(1), len(rates)).bool()
        return kept | (~kept.any(1, keepdim=True) & chosen)


def confidence_weights(log_variances: Tensor, *, dim: int = 0) -> Tensor:
    """Weights in proportion to 1/variance, which add up to 1 over modalities.

    Args:
        log_variances: ln σ² of each modality's estimate, modalities along `dim`;
            infinite for one that is missing.
        dim: of the modalities.

    >>> confidence_weights(torch.tensor([1.0, 4.0]).log())
    tensor([0.8000, 0.2000])
    """
    return torch.softmax(-log_variances, dim=dim)


def confidence_fusion(
    estimates: Tensor, log_variances: Tensor, *, dim: int = 0
) -> tuple[Tensor, Tensor]:
    """The estimate of least variance, if errors are independent, and its ln σ².

    Args:
        estimates: modalities along `dim`, any shape.
        log_variances: of the same shape, or one that broadcasts to it.
        dim: of the modalities.

    >>> found, log_variance = confidence_fusion(
    ...     torch.tensor([0.0, 1.0]), torch.tensor([1.0, 4.0]).log()
    ... )
    >>> round(found.item(), 4), round(log_variance.exp().item(), 4)
    (0.2, 0.8)
    """
    told = log_variances.expand_as(estimates)
    fused = (confidence_weights(told, dim=dim) * estimates).sum(dim)
    return fused, -torch.logsumexp(-told, dim)


# --- parts ----------------------------------------------------------------------


def _samples(inputs: Inputs, *, least: int) -> int:
    counts = {name: len(one) if one.dim() else 0 for name, one in inputs.items()}
    if len(counts) < least or len(set(counts.values())) != 1:
        raise ModalityError(
            f"modalities with these numbers of samples came: {counts}; expected "
            f"{least} or more modalities of the same samples"
        )
    return next(iter(counts.values()))


def _absent(name: str, one: Tensor, absent: Absent | Inputs) -> Tensor:
    """What stands for a modality that is taken away."""
    if not isinstance(absent, str):
        if name not in absent:
            raise ModalityError(
                f"nothing came to stand for {name!r}; expected a tensor for each of "
                "the modalities, or 'mean' or 'zero'"
            )
        return absent[name].expand_as(one)
    if absent == "mean" and one.is_floating_point():
        return one.mean(0, keepdim=True).expand_as(one)
    return torch.zeros_like(one)


def _masked(one: Tensor, kept: Tensor) -> Tensor:
    """Zeros where a sample is not kept; what was not finite there is gone too."""
    shape: Sequence[int] = [len(one), *[1] * (one.dim() - 1)]
    mask = kept.to(one.device).reshape(shape)
    return torch.where(mask, one, torch.zeros_like(one))


def _rms(change: Tensor) -> float:
    return float(change.double().square().mean().sqrt())


def _accuracy(scores: Tensor, targets: Tensor | None, count: int) -> float:
    if targets is None:
        return float("nan")
    return float((scores.argmax(-1) == targets).double().sum()) / count
