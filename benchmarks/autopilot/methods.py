"""What people do against instability: a task comes in, a method at work goes out.

Each method sees a run where its users would call it: between `backward` and `step`, and
after it. Those of other packages are used as they come, with their own defaults; where
an interval was made for runs of many thousand steps, it is shortened, and says so.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import pytorch_optimizer
import torch
from pytorch_optimizer.optimizer.agc import agc
from torch import nn
from zclip import ZClip

from benchmarks.autopilot.tasks import Task, cosine
from surefoot.gradients import EmaClip

WARM_UP = 0.1
"""Share of a run in which the learning rate rises, where it does."""
DECAY = 0.01
"""Weight decay of AdamW, torch's default."""


class Method:
    """Plain training: a cosine of the learning rate and nothing else."""

    recovers = False
    """Whether weights that are not finite may be put back."""

    model: nn.Module
    optimizer: torch.optim.Optimizer

    def start(self, task: Task, model: nn.Module, rate: float) -> None:
        """Before the first step."""
        self.task, self.model = task, model
        self.optimizer = self.made(rate)

    def made(self, rate: float) -> torch.optim.Optimizer:
        """The optimizer."""
        weights = self.model.parameters()
        if self.task.adam:
            return torch.optim.AdamW(weights, lr=rate, weight_decay=DECAY)
        return torch.optim.SGD(weights, lr=rate, momentum=0.9)

    def share(self, step: int) -> float:
        """The share of the learning rate at a step."""
        return cosine(step, self.task.steps)

    def permits(self, loss: torch.Tensor) -> bool:
        """Whether the optimizer takes its step, now that the gradients are there."""
        return True

    def stepped(self, loss: torch.Tensor) -> None:
        """After the optimizer's step, or in its place."""

    def ended(self) -> Mapping[str, int]:
        """After the last step, before the held-out loss; how often it did what."""
        return {}


def warmed(step: int, steps: int) -> float:
    """The cosine, after a linear rise over a tenth of the run."""
    return min(1.0, (step + 1) / (WARM_UP * steps)) * cosine(step, steps)


def grad_norm(model: nn.Module) -> float:
    """The norm of the whole gradient."""
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return nn.utils.get_total_norm(grads).item()


class Clipped(Method):
    """The whole gradient clipped at norm 1."""

    def permits(self, loss: torch.Tensor) -> bool:
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        return True


class WarmUp(Clipped):
    """A linear warm-up over a tenth of the run, and the whole gradient clipped at 1."""

    def share(self, step: int) -> float:
        return warmed(step, self.task.steps)


class Agc(Method):
    """Adaptive gradient clipping by units at 0.01, but for the last layer."""

    def permits(self, loss: torch.Tensor) -> bool:
        *body, _, _ = self.model.parameters()
        for weight in body:
            if weight.grad is not None:
                weight.grad = agc(weight.detach(), weight.grad)
        return True


class Zscore(Method):
    """ZClip with its defaults."""

    def start(self, task: Task, model: nn.Module, rate: float) -> None:
        super().start(task, model, rate)
        self.clip = ZClip()

    def permits(self, loss: torch.Tensor) -> bool:
        self.clip.step(self.model)
        return True


class AdaGC(Method):
    """AdaGC; the averages begin with 30 steps in place of 100."""

    def start(self, task: Task, model: nn.Module, rate: float) -> None:
        super().start(task, model, rate)
        EmaClip(warmup=30).attach(self.optimizer)


class StableAdamW(Method):
    """StableAdamW, whose learning rate shrinks where the second moment lags."""

    def made(self, rate: float) -> torch.optim.Optimizer:
        return pytorch_optimizer.StableAdamW(
            self.model.parameters(), lr=rate, betas=(0.9, 0.999), weight_decay=DECAY
        )


class SkipSixSigma(Method):
    """No step where the loss or the norm is 6 deviations above the last 128."""

    WINDOW, SIGMAS = 128, 6.0

    def start(self, task: Task, model: nn.Module, rate: float) -> None:
        super().start(task, model, rate)
        self.past = tuple(deque[float](maxlen=self.WINDOW) for _ in range(2))
        self.skipped = 0

    def permits(self, loss: torch.Tensor) -> bool:
        now = (loss.item(), grad_norm(self.model))
        usual = all(map(self._usual, self.past, now))
        for values, value in zip(self.past, now, strict=True):
            values.append(value)
        self.skipped += not usual
        return usual

    def _usual(self, past: deque[float], value: float) -> bool:
        if len(past) < self.WINDOW // 2:
            return True
        if not all(map(math.isfinite, past)):
            return math.isfinite(value)
        return value <= fmean(past) + self.SIGMAS * stdev(past)

    def ended(self) -> Mapping[str, int]:
        return {"skip": self.skipped}


class Rollback(Method):
    """The last good weights and half the rate once the smoothed loss has risen.

    What users write by hand: a snapshot every 20 steps while the loss is near its best,
    an alarm where its average has lost a fifth of its progress and lies 4 mean
    deviations above its best, or is not finite.
    """

    recovers = True
    EVERY, KEPT, SMOOTH = 20, 3, 0.7

    def start(self, task: Task, model: nn.Module, rate: float) -> None:
        super().start(task, model, rate)
        self.kept = deque[tuple[dict[str, Any], dict[str, Any], float]](
            maxlen=self.KEPT
        )
        self.first = self.best = self.average = math.nan
        self.deviation, self.factor, self.step, self.rollbacks = 0.0, 1.0, 0, 0

    def share(self, step: int) -> float:
        return self.factor * super().share(step)

    def permits(self, loss: torch.Tensor) -> bool:
        value = loss.item()
        if not self.kept:
            self.first = self.best = self.average = value
        off = abs(value - self.average)
        self.average = self.SMOOTH * self.average + (1 - self.SMOOTH) * value
        least = 0.05 * self.first
        lost = max(0.2 * (self.first - self.best), 4 * self.deviation, least)
        risen = not self.average <= self.best + lost
        if risen:
            self._roll_back()
        else:
            self.best = min(self.best, self.average)
            self.deviation = 0.95 * self.deviation + 0.05 * off
            self._keep(near=self.average <= self.best + 0.3 * lost)
        self.step += 1
        return not risen

    def _keep(self, *, near: bool) -> None:
        if not self.kept or (near and self.step % self.EVERY == 0):
            states = (self.model.state_dict(), self.optimizer.state_dict())
            model, optimizer = copy.deepcopy(states)
            self.kept.append((model, optimizer, self.average))

    def _roll_back(self) -> None:
        """To the newest state; the older one where that leads to the same again."""
        model, optimizer, self.average = (
            self.kept.pop() if len(self.kept) > 1 else self.kept[-1]
        )
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.model.load_state_dict(model)
        self.optimizer.load_state_dict(copy.deepcopy(optimizer))
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.factor, self.best = self.factor / 2, self.average
        self.rollbacks += 1

    def ended(self) -> Mapping[str, int]:
        return {"rollback": self.rollbacks}


class Prodigy(Method):
    """Prodigy, which finds its learning rate, as its authors advise it."""

    def made(self, rate: float) -> torch.optim.Optimizer:
        return pytorch_optimizer.Prodigy(
            self.model.parameters(),
            weight_decay=DECAY,
            bias_correction=True,
            safeguard_warmup=True,
        )


class DAdaptation(Method):
    """D-Adaptation of Adam or of SGD, which finds its learning rate."""

    def made(self, rate: float) -> torch.optim.Optimizer:
        weights = self.model.parameters()
        if self.task.adam:
            return pytorch_optimizer.DAdaptAdam(weights, weight_decay=DECAY)
        return pytorch_optimizer.DAdaptSGD(weights, momentum=0.9)


class ScheduleFree(Method):
    """Schedule-free AdamW or SGD with a warm-up over a tenth of the run."""

    def made(self, rate: float) -> torch.optim.Optimizer:
        weights, warm = self.model.parameters(), int(WARM_UP * self.task.steps)
        if self.task.adam:
            made = pytorch_optimizer.ScheduleFreeAdamW(
                weights, lr=rate, weight_decay=DECAY, warmup_steps=warm
            )
        else:
            made = pytorch_optimizer.ScheduleFreeSGD(
                weights, lr=rate, momentum=0.9, warmup_steps=warm
            )
        made.train()
        self.free = made
        return made

    def share(self, step: int) -> float:
        return 1.0

    def ended(self) -> Mapping[str, int]:
        self.free.eval()
        return {}


@dataclass(frozen=True, slots=True)
class Row:
    """A method as a row of the table.

    `one_rate` says that it finds its own learning rate, so one run stands for all;
    `adam_only` that it is a variant of Adam.
    """

    name: str
    made: Callable[[], Method]
    one_rate: bool = False
    adam_only: bool = False


NONE = "none"
PEERS: tuple[Row, ...] = (
    Row(NONE, Method),
    Row("warm-up + clip 1", WarmUp),
    Row("clip 1", Clipped),
    Row("AGC", Agc),
    Row("rollback", Rollback),
    Row("ZClip", Zscore),
    Row("AdaGC", AdaGC),
    Row("StableAdamW", StableAdamW, adam_only=True),
    Row("skip 6σ", SkipSixSigma),
    Row("schedule-free", ScheduleFree),
    Row("Prodigy", Prodigy, one_rate=True),
    Row("D-Adaptation", DAdaptation, one_rate=True),
)
"""What others do; the order is that of the table."""
