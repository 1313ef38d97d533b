"""Changes to the gradients before an update uses them, each with its undo."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from surefoot.autopilot.before_steps import before_steps
from surefoot.autopilot.brake import running_of
from surefoot.autopilot.live import Applied, KnobError, Live, number_of, word_of
from surefoot.gradients.adaptive import EmaClip, QuantileClip
from surefoot.gradients.clipping import Clip, NormClip
from surefoot.gradients.norms import grad_scale, total_norm, weights_of
from surefoot.gradients.unitwise import UnitwiseClip
from surefoot.schedules.stepping import steps_of
from surefoot.types import Change

OUTLIER_TIMES = 8.0
OUTLIER_HISTORY = 31
"""A gradient norm eight times the median of the last 31 steps: our pilot study of
policies, where it recovered poisoned batches and left healthy runs alone."""

NOISE_DECAY = 0.55
"""The variance of gradient noise falls as (1 + t)^-0.55 (Neelakantan et al. 2015,
arXiv:1511.06807)."""

CLIPS: Mapping[str, Callable[[], Clip]] = {
    "adaptive": lambda: QuantileClip(0.9, causal=True),
    # AdaGC begins after 100 updates at most norm 1; in the midst of a run there is no
    # time for that, and no reason for a norm of 1.
    "per_tensor": lambda: EmaClip(warmup=5, ceiling=None),
    "unitwise": UnitwiseClip,
}


def clip_norm(live: Live, change: Change) -> Applied:
    """Clip the norm of the whole gradient before each update."""
    most = number_of(change, above=True)
    undo = before_steps(live.optimizers, NormClip(most).before_step)
    return Applied("no clipping", f"clip at norm {most:g}", undo)


def clip(live: Live, change: Change) -> Applied:
    """Clip by a rule that finds its own thresholds; each optimizer has its own."""
    rule = word_of(change, tuple(CLIPS))
    clips = {id(optimizer): CLIPS[rule]() for optimizer in live.optimizers}

    def act(optimizer: Optimizer) -> None:
        clips[id(optimizer)].before_step(optimizer)

    undo = before_steps(live.optimizers, act)
    return Applied("no clipping", f"{rule} clipping", undo)


def skip_batch(live: Live, change: Change) -> Applied:
    """Skip updates: with a gradient that is no number, or an outlier, or at steps.

    The amount is "nonfinite", "outlier", or "suspect" with the numbers of the steps,
    as in "suspect 17 18". A skipped gradient is put back after the step, with zeros
    for what is not finite: who adds gradients up is not poisoned by it for good. So are
    the running statistics of norms, which the batch moved before it was judged.

    Raises:
        KnobError: it is another word, or names no step.
    """
    judge = _judge_of(live, change)
    skips = [
        _Skipping(optimizer, judge, _running(live, optimizer))
        for optimizer in live.optimizers
    ]
    undo_before = before_steps(live.optimizers, _by_optimizer(skips))

    def undo() -> None:
        undo_before()
        for skip in skips:
            skip.remove()

    what = f"with a gradient that is {change.amount}"
    if str(change.amount).startswith("suspect"):
        what = f"{', '.join(str(step) for step in _steps_of(change))}"
    return Applied("no update is skipped", f"skip updates {what}", undo)


def add_noise(live: Live, change: Change) -> Applied:
    """Add Gaussian noise of variance amount / (1 + t)^0.55 to all gradients.

    t counts updates from now on (Neelakantan et al. 2015, arXiv:1511.06807, who used
    0.01, 0.3 and 1.0).
    """
    variance = number_of(change)
    streams: dict[str, torch.Generator] = {}
    steps = {id(optimizer): 0 for optimizer in live.optimizers}
    seed = live.generator.initial_seed()

    @torch.no_grad()
    def act(optimizer: Optimizer) -> None:
        step = steps[id(optimizer)]
        steps[id(optimizer)] = step + 1
        scale = grad_scale(optimizer)
        size = math.sqrt(variance / (1 + step) ** NOISE_DECAY)
        for weight in weights_of(optimizer):
            if weight.grad is not None:
                noise = _normal_like(weight.grad, streams, seed) * size
                weight.grad.add_(noise if scale is None else noise * scale)

    _refuse_sharded(live, change)
    undo = before_steps(live.optimizers, act)
    return Applied(
        "no gradient noise", f"gradient noise of variance {variance:g}", undo
    )


def zero_gradients(live: Live, change: Change) -> Applied:
    """Zero the gradients after each update, where a script forgets to."""
    word_of(change, ("after_step",))

    def clear(optimizer: Any, args: Any, kwargs: Any) -> None:
        optimizer.zero_grad()

    undos = [steps_of(one).add(after=clear) for one in live.optimizers]

    def undo() -> None:
        while undos:
            undos.pop()()

    return Applied("gradients are kept", "gradients are zeroed after each update", undo)


Judge = Callable[[Optimizer, int], bool]
"""Whether an update of an optimizer, of this number, is to be skipped."""


class _Skipping:
    """Takes the gradients away where an update is to be skipped; returns them."""

    def __init__(
        self, optimizer: Optimizer, judge: Callable[[], Judge], running: list[Tensor]
    ) -> None:
        self.optimizer = optimizer
        self._judge = judge()
        self._count, self._skipped = 0, False
        self._running = running
        self._before = [buffer.clone() for buffer in running]
        self._taken: list[tuple[Tensor, Tensor]] = []
        self.remove = steps_of(optimizer).add(after=self._after)

    def act(self) -> None:
        """Judge the update that is about to be made."""
        count = self._count
        self._count += 1
        self._skipped = self._judge(self.optimizer, count)
        if self._skipped:
            for weight in weights_of(self.optimizer):
                if weight.grad is not None:
                    self._taken.append((weight, weight.grad))
                    weight.grad = None

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        while self._taken:
            weight, grad = self._taken.pop()
            weight.grad = grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        for buffer, before in zip(self._running, self._before, strict=True):
            old, new = (before, buffer) if self._skipped else (buffer, before)
            new.copy_(old)


def _running(live: Live, optimizer: Optimizer) -> list[Tensor]:
    """The running statistics beside the weights of one optimizer; of one alone, all."""
    held = {id(weight) for weight in weights_of(optimizer)}
    alone = len(live.optimizers) == 1
    return [
        buffer
        for model in live.models.values()
        for module in model.modules()
        if alone or any(id(weight) in held for weight in module.parameters(False))
        for buffer in running_of(module)
    ]


def _by_optimizer(skips: list[_Skipping]) -> Callable[[Optimizer], None]:
    """Each one's turn when its optimizer steps."""

    def act(optimizer: Optimizer) -> None:
        next(one for one in skips if one.optimizer is optimizer).act()

    return act


def _judge_of(live: Live, change: Change) -> Callable[[], Judge]:
    """What makes a judge for one optimizer."""
    if str(change.amount).startswith("suspect"):
        suspects = {step - live.step for step in _steps_of(change)}
        return lambda: lambda optimizer, count: count in suspects
    word = word_of(change, ("nonfinite", "outlier", "suspect 17 18"))
    return lambda: _long(outliers=word == "outlier")


def _long(*, outliers: bool) -> Judge:
    """Whether a gradient is not finite, or far longer than those before it."""
    history: deque[float] = deque(maxlen=OUTLIER_HISTORY)

    def judge(optimizer: Optimizer, count: int) -> bool:
        norm = total_norm(optimizer).item()
        known = len(history) == OUTLIER_HISTORY and outliers
        most = OUTLIER_TIMES * median(history) if known else math.inf
        if math.isfinite(norm) and norm <= most:
            history.append(norm)
            return False
        return True

    return judge


def _steps_of(change: Change) -> tuple[int, ...]:
    """The steps that an amount such as "suspect 17 18" names."""
    steps = tuple(int(digits) for digits in re.findall(r"\d+", str(change.amount)))
    if not steps:
        raise KnobError(
            f"the change batch skip {change.amount!r} came; expected the numbers of "
            "the steps after the word, as in 'suspect 17 18'"
        )
    return steps


def _normal_like(
    grad: Tensor, streams: dict[str, torch.Generator], seed: int
) -> Tensor:
    """Numbers from a stream of the change's own, on the device of a gradient."""
    device = grad.device
    if str(device) not in streams:
        streams[str(device)] = torch.Generator(device).manual_seed(seed)
    return torch.empty_like(grad).normal_(generator=streams[str(device)])


def _refuse_sharded(live: Live, change: Change) -> None:
    sharded = any(
        hasattr(weight, "full_tensor")
        for optimizer in live.optimizers
        for weight in weights_of(optimizer)
    )
    if sharded:
        raise KnobError(
            f"the change {change.knob} {change.op} came for sharded parameters; "
            "expected whole ones, since each rank would draw numbers of its own"
        )
