"""Rates from curvature: gradients and curvatures come in, step sizes go out.

`SignalToNoiseLR` is vSGD of Schaul, Zhang and LeCun 2013 (arXiv 1206.1106), "No more
pesky learning rates". Where the loss is quadratic with curvature h, and a sample's
gradient has mean ḡ and mean square v̄, the step of rate ḡ²/(h v̄) lowers the expected
loss the most: Newton's 1/h without noise, half of it where the noise is as strong as
the signal.

Whole optimizers with damped, clipped curvature are in the pytorch_optimizer package
(`SophiaH`, `AdaHessian`); `damped_step` is the rule that they share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from surefoot.curvature.errors import CurvatureError, explained
from surefoot.curvature.losses import with_graph

Parameters: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]]


def signal_to_noise_rate(mean: Tensor, square: Tensor, *, curvature: Tensor) -> Tensor:
    """The rate ḡ²/(h v̄), element by element; 0 where there was no gradient yet.

    Args:
        mean: the mean gradient E g.
        square: the mean square E g², at least (E g)².
        curvature: h, positive.

    >>> two = torch.tensor(2.0)
    >>> signal_to_noise_rate(two, two**2, curvature=torch.tensor(5.0))
    tensor(0.2000)
    >>> signal_to_noise_rate(two, 2 * two**2, curvature=torch.tensor(5.0))
    tensor(0.1000)
    """
    bound = curvature * square
    return torch.where(bound > 0, mean.square() / bound, torch.zeros_like(bound))


def damped_step(
    gradient: Tensor,
    curvature: Tensor,
    *,
    damping: float,
    clip: float | None = None,
) -> Tensor:
    """A second-order step g/(max(h, 0) + μ), each element clipped to ±`clip`.

    Subtract it from the weights, times a rate. Negative curvature is taken for none,
    as a Newton step would climb along it. Sophia (Liu et al. 2023, arXiv 2305.14342)
    clips in this way; AdaHessian and SophiaH of pytorch_optimizer are whole optimizers.

    Args:
        gradient: any shape.
        curvature: the Hessian's diagonal, or an estimate; the same shape.
        damping: μ, above 0: the step is at most g/μ.
        clip: the most that an element may move; None for no limit.

    Raises:
        ValueError: damping or clip is not above 0, or the shapes differ.

    >>> damped_step(torch.tensor(2.0), torch.tensor(3.0), damping=1.0)
    tensor(0.5000)
    """
    if not damping > 0 or (clip is not None and not clip > 0):
        raise ValueError(f"damping is {damping}, clip is {clip}; expected above 0")
    if gradient.shape != curvature.shape:
        raise ValueError(
            f"gradient has shape {tuple(gradient.shape)}, curvature "
            f"{tuple(curvature.shape)}; expected the same"
        )
    step = gradient / (curvature.clamp(min=0) + damping)
    return step if clip is None else step.clamp(-clip, clip)


class SignalToNoiseLR(torch.optim.Optimizer):
    """Descent whose rate is ḡ²/(h v̄) for each weight: there is no rate to tune.

    Running means forget at the pace 1/τ, and τ grows where the signal is weak:
    τ ← (1 − ḡ²/v̄)τ + 1. The first means are over `warmup` gradients, at which no
    weight moves; after them v̄ is raised by `caution`, as too few gradients make too
    low a variance (Schaul 2013, section 4.2: a tenth of the number of samples).

    The curvature h is the mean of |z·Hz| over probes z of random signs; give the loss
    to `see` before `backward`, at each step or every few. It costs one product with
    the Hessian. Large batches and rates of BatchNorm nets are outside of what the
    paper tried.

    Args:
        params: parameters or groups, as for any optimizer.
        warmup: gradients that are only averaged.
        caution: factor on v̄ after the warm-up, 1 or more; it fades as means forget.
        most: the largest rate of any weight: where the curvature is almost 0 the rate
            has no bound of its own.
        seed: of the probes.

    Raises:
        ValueError: an argument out of its range.

    >>> weight = torch.nn.Parameter(torch.tensor([4.0, 4.0]))
    >>> h = torch.tensor([1.0, 10.0])
    >>> optimizer = SignalToNoiseLR([weight], warmup=1, caution=1.0)
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (h * weight**2).sum() / 2
    ...     optimizer.see(loss)
    ...     loss.backward()
    ...     _ = optimizer.step()
    >>> weight.abs().max().item() < 1e-6
    True
    """

    def __init__(
        self,
        params: Parameters,
        *,
        warmup: int = 5,
        caution: float = 2.0,
        most: float = 1.0,
        seed: int = 0,
    ) -> None:
        if warmup < 1 or not caution >= 1 or not most > 0:
            raise ValueError(
                f"warmup is {warmup}, caution {caution}, most {most}; expected "
                "warmup >= 1, caution >= 1 and most > 0"
            )
        super().__init__(
            params, {"warmup": warmup, "caution": caution, "most": most, "seed": seed}
        )

    def see(self, loss: Tensor) -> None:
        """Measure the curvature of this loss; call before `loss.backward()`.

        The graph of the loss is kept for it.

        Raises:
            CurvatureError: the loss has no graph, is not finite, or an operation in it
                has no second derivative.
        """
        weights = list(_trained(self.param_groups))
        probes = [self._probe(place, one) for place, one in enumerate(weights)]
        for weight, probe, product in zip(
            weights, probes, _products(with_graph(loss), weights, probes), strict=True
        ):
            self._note_curvature(weight, (probe * product).abs())

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take a step with each weight's own rate.

        Args:
            closure: computes the loss and its gradients anew, if given.

        Raises:
            CurvatureError: `see` was never called.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if "curvature" not in state:
            raise CurvatureError(
                "no curvature was seen yet: call optimizer.see(loss) before "
                "loss.backward(), at the first step and as often as you like after it"
            )
        grad = weight.grad
        assert grad is not None
        self._average(state, grad, group)
        if state["step"] > group["warmup"]:
            rate = signal_to_noise_rate(
                state["mean"], state["square"], curvature=state["curvature"]
            )
            weight.sub_(rate.clamp(max=group["most"]) * grad)

    def _average(
        self, state: dict[str, Any], grad: Tensor, group: dict[str, Any]
    ) -> None:
        """Plain means while warming up, then means that forget at 1/τ."""
        step = state["step"] = state.get("step", 0) + 1
        if step == 1:
            state["mean"], state["square"] = grad.clone(), grad.square()
            state["memory"] = torch.ones_like(grad)
            return
        if step <= group["warmup"]:
            state["memory"] = torch.full_like(grad, float(step))
        share = 1 / state["memory"]
        state["mean"] = torch.lerp(state["mean"], grad, share)
        state["square"] = torch.lerp(state["square"], grad.square(), share)
        if step == group["warmup"]:
            state["square"] = state["square"] * group["caution"]
        if step > group["warmup"]:
            signal = _share(state["mean"].square(), state["square"])
            state["memory"] = (1 - signal) * state["memory"] + 1

    def _note_curvature(self, weight: Tensor, seen: Tensor) -> None:
        """A running mean over as many steps as the gradients' own."""
        state = self.state[weight]
        count = state["seen"] = state.get("seen", 0) + 1
        if "curvature" not in state:
            state["curvature"] = seen
            return
        memory = state.get("memory", torch.ones_like(seen)).clamp(min=min(count, _FEW))
        state["curvature"] = torch.lerp(state["curvature"], seen, 1 / memory)

    def _probe(self, place: int, weight: Tensor) -> Tensor:
        """Random signs that depend on seed, step and place only: no state to save."""
        seen = self.state[weight].get("seen", 0) if weight in self.state else 0
        seed = hash((self.param_groups[0]["seed"], seen, place)) % 2**63
        stream = torch.Generator().manual_seed(seed)
        bits = torch.randint(0, 2, weight.shape, generator=stream)
        return (2 * bits - 1).to(weight)


_FEW = 10
"""Curvatures that are averaged at least: one probe's z·Hz is off by the whole
off-diagonal part of its row (Bekas et al. 2007)."""


def _trained(groups: Iterable[dict[str, Any]]) -> Iterable[Tensor]:
    for group in groups:
        yield from (one for one in group["params"] if one.requires_grad)


def _products(
    loss: Tensor, weights: list[Tensor], probes: list[Tensor]
) -> list[Tensor]:
    """Hz of each weight; zeros where the loss does not depend on it."""
    try:
        slopes = torch.autograd.grad(
            loss, weights, create_graph=True, materialize_grads=True
        )
        curved = [one.requires_grad for one in slopes]
        if not any(curved):
            return [torch.zeros_like(one) for one in weights]
        found = torch.autograd.grad(
            [one for one, yes in zip(slopes, curved, strict=True) if yes],
            weights,
            [one for one, yes in zip(probes, curved, strict=True) if yes],
            retain_graph=True,
            materialize_grads=True,
        )
    except RuntimeError as error:
        raise explained(error) from error
    return list(found)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Between 0 and 1; 0 of nothing."""
    return torch.where(whole > 0, part / whole, torch.zeros_like(whole)).clamp(0, 1)
