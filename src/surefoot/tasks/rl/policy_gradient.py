"""Scores of a policy and returns come in, the variance of its gradient goes out.

The score of an action is ∇ log π(a); the policy gradient is the mean of (R - b)·score
(Williams 1992). Its total variance is the sum of those of all its components.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from surefoot.nn.norm.moments import Moments, merged, moments_of, no_moments
from surefoot.tasks.rl.errors import RLError


def softmax_scores(probabilities: Tensor) -> Tensor:
    """Scores of a softmax policy, `[actions, actions]`: row a is e_a - p.

    >>> softmax_scores(torch.tensor([0.25, 0.75]))
    tensor([[ 0.7500, -0.7500],
            [-0.2500,  0.2500]])
    """
    size = probabilities.shape[-1]
    eye = torch.eye(size, device=probabilities.device, dtype=probabilities.dtype)
    return eye - probabilities


def policy_scores(policy: nn.Module, observations: Tensor, actions: Tensor) -> Tensor:
    """∇ log π(aᵢ|oᵢ) of each sample, over all parameters; `[samples, parameters]`.

    Args:
        policy: observations `[N, ...]` to logits `[N, actions]`, each for itself: no
            batch statistics.
        observations: `[N, ...]`.
        actions: `[N]`, integers.

    >>> policy = nn.Linear(2, 3)
    >>> policy_scores(policy, torch.ones(5, 2), torch.tensor([0, 1, 2, 1, 0])).shape
    torch.Size([5, 9])
    """
    weights = {n: w.detach() for n, w in policy.named_parameters() if w.requires_grad}

    def log_probability(
        weights: dict[str, Tensor], observation: Tensor, action: Tensor
    ) -> Tensor:
        logits: Tensor = functional_call(policy, weights, (observation[None],))
        return logits.log_softmax(-1)[0].gather(0, action[None])[0]

    each = vmap(grad(log_probability), in_dims=(None, 0, 0))
    found: Mapping[str, Tensor] = each(weights, observations, actions)
    return torch.cat([one.flatten(1) for one in found.values()], 1)


def policy_gradient(
    scores: Tensor,
    returns: Tensor,
    *,
    baseline: float | Tensor = 0.0,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The mean of (R - b)·score, `[parameters]`, and the total variance of one term.

    Twice the rewards, with twice the baseline, are four times the variance.

    Args:
        scores: `[samples, parameters]`.
        returns: `[samples]`.
        baseline: b, for all or `[samples]`; it must not depend on the action.
        weights: probabilities of the rows, for an exact expectation over all actions;
            samples count alike if not given.

    >>> p, r = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([1.0, 0.0, 2.0])
    >>> _, variance = policy_gradient(softmax_scores(p), r, weights=p)
    >>> round(variance.item(), 4)
    0.6648

    Raises:
        RLError: shapes do not fit.
    """
    weights = _weights(scores, returns, weights)
    terms = (returns - baseline)[:, None] * scores
    mean = weights @ terms
    return mean, (weights @ (terms - mean).square()).sum()


def mean_baseline(returns: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """The mean return: the usual baseline, and seldom the best.

    >>> p, r = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([1.0, 0.0, 2.0])
    >>> round(mean_baseline(r, weights=p).item(), 4)
    1.2
    """
    return returns.mean() if weights is None else weights @ returns


def optimal_baseline(
    scores: Tensor, returns: Tensor, *, weights: Tensor | None = None
) -> Tensor:
    """The constant baseline of least variance: E[‖score‖²·R]/E[‖score‖²].

    Greensmith, Bartlett & Baxter 2004, theorem 8. Arguments are those of
    `policy_gradient`.

    >>> p, r = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([1.0, 0.0, 2.0])
    >>> round(optimal_baseline(softmax_scores(p), r, weights=p).item(), 5)
    0.92903

    Raises:
        RLError: shapes do not fit.
    """
    lengths = _weights(scores, returns, weights) * scores.square().sum(1)
    return lengths @ returns / lengths.sum()


class PolicyGradientVariance:
    """A meter: the total variance of policy-gradient terms over all samples seen.

    Its state is JSON and tensors; a stream in any chunks gives what the whole would.

    >>> meter = PolicyGradientVariance()
    >>> meter.update(softmax_scores(torch.ones(2) / 2), torch.tensor([3.0, 1.0]))
    >>> meter.variance
    2.0

    Raises:
        RLError: shapes do not fit each other, or those that came before.
    """

    def __init__(self) -> None:
        self._moments: Moments | None = None

    @torch.no_grad()
    def update(
        self, scores: Tensor, returns: Tensor, *, baseline: float | Tensor = 0.0
    ) -> None:
        """Count samples: scores `[samples, parameters]`, returns `[samples]`."""
        _weights(scores, returns, None)
        new = moments_of((returns - baseline)[:, None] * scores)
        if self._moments is None:
            self._moments = no_moments(scores.shape[1], device=scores.device)
        if self._moments.mean.shape != new.mean.shape:
            raise RLError(
                f"{scores.shape[1]} parameters came; expected the "
                f"{self._moments.mean.shape[0]} of before"
            )
        self._moments = merged(self._moments, new)

    @property
    def gradient(self) -> Tensor:
        """The mean of all terms, `[parameters]`."""
        return self._seen().mean

    @property
    def variance(self) -> float:
        """The total variance of one term; that of a batch of n is an n-th of it."""
        return self._seen().variance().sum().item()

    def state_dict(self) -> dict[str, Any]:
        """What was seen so far."""
        return {} if self._moments is None else dict(self._moments._asdict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._moments = Moments(**state) if state else None

    def _seen(self) -> Moments:
        if self._moments is None:
            raise RLError("no samples came yet; call update(scores, returns) first")
        return self._moments


def _weights(scores: Tensor, returns: Tensor, weights: Tensor | None) -> Tensor:
    """The rows' shares, if all shapes fit."""
    fit = scores.dim() == 2 and returns.shape == scores.shape[:1]
    if not fit or (weights is not None and weights.shape != returns.shape):
        raise RLError(
            f"scores {list(scores.shape)} and returns {list(returns.shape)} came; "
            "expected [samples, parameters] and [samples], as the weights"
        )
    return torch.full_like(returns, 1 / len(returns)) if weights is None else weights
