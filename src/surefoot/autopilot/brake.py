"""What stands between the gradients and the weights: settings in, a changed update out.

It holds the rate's factor, the limits of one update and the states to go back to. Who
sets them is `step_knobs`; nothing of it outlives the update but the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.autopilot.signal import Limits
from surefoot.blackbox.state import State, Trained, capture, restore
from surefoot.gradients.norms import weights_of

SMALLEST = 0.02
"""RMS below which a tensor counts as this large: biases and gains begin at zero."""


class Brake:
    """Settings of the next updates of one optimizer; none of them by default.

    Attributes:
        factor: of the learning rate; the schedule never sees it.
        cap: largest norm of a tensor's update over that of the tensor.
        fade: what the cap is multiplied by, as the schedule lowers the rate.
        skip: the coming update is not made.
        shrink: what the coming gradient is multiplied by.
        states: what can be put back, by step.
    """

    def __init__(self, optimizer: Optimizer, trained: Trained) -> None:
        self.optimizer, self.trained = optimizer, trained
        self.factor, self.fade = 1.0, 1.0
        self.cap: float | None = None
        self.skip = False
        self.shrink: float | None = None
        self.states: dict[int, State] = {}
        self._grads: list[tuple[Tensor, Tensor]] = []
        self._before: list[tuple[Tensor, Tensor]] = []
        self._spare: State | None = None
        modules = [m for model in trained.models.values() for m in model.modules()]
        self._running = [b for m in modules for b in running_of(m)]
        self._ran = [buffer.clone() for buffer in self._running]
        self._found: tuple[Tensor | None] | None = None
        self._restored = False

    @property
    def idle(self) -> bool:
        """Whether the update goes through as it came."""
        plain = self.factor == 1.0 and self.cap is None
        return plain and not self.skip and self.shrink is None

    def keep(self, step: int) -> int:
        """Keep the present state under a step; its bytes."""
        reuse, self._spare = self._spare, None
        state = capture(self.trained, step, random=False, reuse=reuse)
        self.states[step] = state
        return state.nbytes

    def drop(self, but: tuple[int, ...]) -> None:
        """Forget all states but these; the memory of one is used again."""
        for step in [step for step in self.states if step not in but]:
            self._spare = self.states.pop(step)

    def put_back(self, state: State) -> None:
        """Weights, buffers and moments of a state; settings and schedules stay."""
        groups = self.optimizer.param_groups
        kept = [{k: _copy(v) for k, v in g.items() if k != "params"} for g in groups]
        restore(state, self.trained, random=False, also=False)
        self._restored = True
        for group, options in zip(groups, kept, strict=True):
            group.update(options)

    def ready(self) -> None:
        """First of all: what was lent to an update that failed comes back."""
        self._undo_last()

    def limit(self, limits: Limits, norm: Tensor) -> None:
        """Skip or shrink the coming update on the device, without waiting for it.

        A fused optimizer is told to leave it out; of any other the gradient becomes
        zero, and the update goes on with its momentum.
        """
        bad = ~torch.isfinite(norm)
        if limits.skip is not None:
            bad = bad | (norm > limits.skip)
        for buffer, before in zip(self._running, self._ran, strict=True):
            buffer.copy_(torch.where(bad, before, buffer))
        grads = [w.grad for w in weights_of(self.optimizer) if w.grad is not None]
        if limits.clip is not None:
            share = (limits.clip / norm).clamp(max=1.0)
            torch._foreach_mul_(grads, share)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        if any(group.get("fused") for group in self.optimizer.param_groups):
            self._leave_out(bad)
            return
        for grad in grads:
            grad.masked_fill_(bad, 0.0)

    def _leave_out(self, bad: Tensor) -> None:
        """Tell a fused optimizer as a GradScaler does, beside what that one told."""
        own: dict[str, Any] = vars(self.optimizer)
        self._found = (own.get("found_inf"),)
        told = bad.float()
        before = self._found[0]
        own["found_inf"] = told if before is None else torch.maximum(before, told)

    def lent(self, group: dict[str, Any], step: int) -> dict[str, Any]:
        """The rate that a parameter group has during its step."""
        return {} if self.factor == 1.0 else {"lr": group["lr"] * self.factor}

    def engage(self) -> None:
        """Just before an update."""
        if self.idle:
            return
        if self.skip:
            weights = [w for w in weights_of(self.optimizer) if w.grad is not None]
            self._grads = [(w, w.grad) for w in weights if w.grad is not None]
            for weight in weights:
                weight.grad = None
            self._forget_batch()
            return
        if self.shrink is not None:
            grads = [w.grad for w in weights_of(self.optimizer) if w.grad is not None]
            torch._foreach_mul_(grads, self.shrink)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        if self.cap is not None:
            self._before = [(w, w.detach().clone()) for w in weights_of(self.optimizer)]

    @torch.no_grad()
    def release(self) -> None:
        """Just after an update: gradients are as they were."""
        self._undo_last()
        self.skip, self.shrink = False, None
        self._restored = False
        if self._running:
            torch._foreach_copy_(self._ran, self._running)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    @torch.no_grad()
    def _forget_batch(self) -> None:
        """Running statistics as they were before a batch that is left out was seen."""
        if self._running and not self._restored:
            torch._foreach_copy_(self._running, self._ran)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    def _undo_last(self) -> None:
        """What was lent to one update comes back, even where the update failed."""
        for weight, grad in self._grads:
            weight.grad = grad
        if self._before and self.cap is not None:
            shorten(self._before, self.cap * self.fade)
        if self._found is not None:
            (before,), self._found = self._found, None
            if before is None:
                vars(self.optimizer).pop("found_inf", None)
            else:
                vars(self.optimizer)["found_inf"] = before
        self._grads, self._before = [], []


def running_of(module: nn.Module) -> list[Tensor]:
    """The running statistics of a norm: they learn in the forward pass."""
    names = ("running_mean", "running_var", "num_batches_tracked")
    held = dict(module.named_buffers(recurse=False))
    return [held[name] for name in names if name in held]


def shorten(moved: list[tuple[Tensor, Tensor]], cap: float) -> None:
    """Take back what each tensor moved beyond `cap` times its own norm.

    `moved` are weights with copies from before.
    """
    weights = [weight.detach() for weight, _ in moved]
    before = [copy for _, copy in moved]
    sizes = torch.stack(torch._foreach_norm(before))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    roots = torch.tensor([w.numel() ** 0.5 for w in weights], device=sizes.device)
    updates = torch._foreach_sub(weights, before)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    lengths = torch.stack(torch._foreach_norm(updates))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    most = cap * torch.maximum(sizes, SMALLEST * roots)
    shares = (most / (lengths + 1e-12)).clamp(max=1.0)
    torch._foreach_mul_(updates, [*shares.unbind()])  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    torch._foreach_add_(before, updates)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    torch._foreach_copy_(weights, before)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def _copy(value: Any) -> Any:
    """A setting of a group; a rate that is a tensor by its value."""
    return value.clone() if isinstance(value, Tensor) else value
