"""Parameters with gradients come in; the gradients are scaled down where too long.

Every clip is the same few lines: the norm of the whole gradient (unscaled, over all
processes), a threshold, a factor, one multiplication. What differs is where the
threshold comes from. A clip is called between `backward` and `step`, or attached to an
optimizer, which then calls it before each of its updates: with accumulated gradients
once, and not at all where a gradient scaler skips the update.

Nothing is copied to the host, unless the gradients are there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from surefoot.gradients.norms import (
    grad_scale,
    norm_row,
    uniform,
    unscaled,
    weights_of,
)
from surefoot.gradients.numbers import HOST, Norms, norms_as_numbers
from surefoot.gradients.scaling import scale_, shortened
from surefoot.restore.hooks import Hooked
from surefoot.schedules.scheduled import Scheduled, value_at

NonFinite = Literal["keep", "skip", "raise"]
NONFINITE: tuple[str, ...] = ("keep", "skip", "raise")
SAVED = "clips"
"""The key of an optimizer's state dict."""


class ClipError(ValueError):
    """A threshold, a state or gradients that a clip cannot work with."""


class Clip(ABC):
    """What all clips have: a step, a memory, and a place before an optimizer's step.

    Attributes:
        step: how many times it was called; schedules are read there.
        memory: its tensors by name, which `state_dict` holds.
    """

    def __init__(self) -> None:
        self.step = 0
        self.memory: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(
        self,
        parameters: Tensor | Iterable[Tensor],
        *,
        scale: float | Tensor | None = None,
    ) -> Tensor:
        """Clip the gradients of parameters in place.

        Args:
            parameters: those without a gradient are passed over.
            scale: what the gradients were multiplied by, as
                `torch.amp.GradScaler.get_scale()` where they are not unscaled yet.

        Returns:
            The norm of the whole gradient before it was clipped, unscaled, shape `[]`.

        Raises:
            ClipError: a gradient is not finite, if so asked for.
        """
        one = isinstance(parameters, Tensor)
        weights = [parameters] if one else list(parameters)
        norm = self._clip(weights, scale)
        self.step += 1
        return norm

    @abstractmethod
    def _clip(self, weights: Sequence[Tensor], scale: float | Tensor | None) -> Tensor:
        """Clip, and give the norm of the whole."""

    def attach(
        self,
        optimizer: Optimizer,
        *,
        parameters: Iterable[Tensor] | None = None,
        name: str = "",
    ) -> AttachedClip:
        """Clip before each update of an optimizer; its memory is saved with it.

        Args:
            optimizer: whose step is preceded.
            parameters: those of the optimizer, if not given.
            name: what its saved state is called; the clip's class if not given.

        Returns:
            A handle with `remove()`; a `with` block ends it, too.

        Raises:
            ClipError: the optimizer computes gradients inside its step, or the name is
                taken.
        """
        chosen = None if parameters is None else list(parameters)
        return AttachedClip(self, optimizer, parameters=chosen, name=name)

    def before_step(self, optimizer: Optimizer, *_: Any) -> None:
        """What `attach` registers: clip all of an optimizer's gradients."""
        self(weights_of(optimizer), scale=grad_scale(optimizer))

    def state_dict(self) -> dict[str, Any]:
        """The step and the memory."""
        kept = {name: one.detach().clone() for name, one in self.memory.items()}
        return {"kind": type(self).__name__, "step": self.step, "memory": kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ClipError: it is that of another kind of clip, or of another size.
        """
        told: Mapping[str, Tensor] = state["memory"]
        self._check(state["kind"], told)
        self.step = int(state["step"])
        self.memory = {name: one.detach().clone() for name, one in told.items()}

    def _check(self, kind: str, told: Mapping[str, Tensor]) -> None:
        own = type(self).__name__
        if kind != own:
            raise ClipError(f"the state of a {kind} came; expected that of a {own}")
        for name, one in self.memory.items():
            if name not in told or told[name].shape != one.shape:
                found = tuple(told[name].shape) if name in told else "nothing"
                raise ClipError(
                    f"{name} of shape {found} came in the state of a {own}; expected "
                    f"{tuple(one.shape)}: it was saved with other settings"
                )

    def _recall(self, name: str, norms: Norms) -> Any:
        """What is remembered, as the numbers of these norms; to be written in place."""
        held = self.memory[name]
        if held.device != norms.home:
            held = self.memory[name] = held.to(norms.home)
        return held.numpy() if norms.xp is HOST else held

    def _remember(self, name: str, numbers: Any) -> None:
        """Keep an array or a tensor."""
        one = numbers if isinstance(numbers, Tensor) else torch.from_numpy(numbers)
        self.memory[name] = one


class AttachedClip(Hooked):
    """A clip that an optimizer calls before each update, until `remove()`."""

    def __init__(
        self,
        clip: Clip,
        optimizer: Optimizer,
        *,
        parameters: Sequence[Tensor] | None,
        name: str,
    ) -> None:
        self.clip, self.parameters = clip, parameters
        self.name = name or type(clip).__name__
        taken: tuple[str, ...] = optimizer.__dict__.get(SAVED, ())
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ClipError(
                "LBFGS computes gradients inside of its step, where no clip sees them; "
                "call the clip in the closure, after backward()"
            )
        if self.name in taken:
            raise ClipError(
                f"a second clip named {self.name!r} came for one optimizer; give it "
                "another name=, so that both can be told apart in its state"
            )
        optimizer.__dict__[SAVED] = (*taken, self.name)
        self._optimizer = optimizer
        super().__init__(
            (
                optimizer.register_step_pre_hook(self._before),
                optimizer.register_state_dict_post_hook(self._saved),
                optimizer.register_load_state_dict_pre_hook(self._loaded),
            )
        )

    def remove(self) -> None:
        """Clip no longer."""
        super().remove()
        names = self._optimizer.__dict__[SAVED]
        self._optimizer.__dict__[SAVED] = tuple(n for n in names if n != self.name)

    def _before(self, optimizer: Optimizer, *_: Any) -> None:
        if self.parameters is None:
            self.clip.before_step(optimizer)
        else:
            self.clip(self.parameters, scale=grad_scale(optimizer))

    def _saved(self, _: Any, state: dict[str, Any]) -> None:
        state.setdefault(SAVED, {})[self.name] = self.clip.state_dict()

    def _loaded(self, _: Any, state: dict[str, Any]) -> None:
        saved = state.get(SAVED, {})
        if self.name in saved:
            self.clip.load_state_dict(saved[self.name])


class NormClip(Clip):
    """Scale the gradient to a norm of at most `ceiling`, which may be scheduled.

    What torch's `clip_grad_norm_` does, with a threshold that may vary, gradients of
    fused optimizers unscaled, and a word on those that are not finite. The factor is
    exactly threshold/norm, and a gradient that is not too long keeps its bits.

    Args:
        ceiling: the threshold: a number, a schedule, or None for none.
        nonfinite: what to do with a gradient that is not finite. "keep" leaves it as
            it came, to be seen; "skip" removes it, so that the optimizer leaves the
            weights alone; "raise" refuses it. The last two wait for the device at each
            step. No memory ever takes notice of it.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> NormClip(1.0)([weight]), weight.grad
    (tensor(5.), tensor([0.6000, 0.8000]))

    Raises:
        ClipError: the threshold is no positive number, or `nonfinite` another word.
    """

    def __init__(
        self, ceiling: float | Scheduled | None, *, nonfinite: NonFinite = "keep"
    ) -> None:
        super().__init__()
        if ceiling is not None:
            positive(ceiling, "ceiling")
        if nonfinite not in NONFINITE:
            raise ClipError(
                f"nonfinite={nonfinite!r} came; expected one of {', '.join(NONFINITE)}"
            )
        self.ceiling, self.nonfinite = ceiling, nonfinite

    def __repr__(self) -> str:
        names = [name for name in vars(self) if name not in ("step", "memory")]
        shown = ", ".join(f"{n}={getattr(self, n)!r}" for n in names if n[0] != "_")
        return f"{type(self).__name__}({shown})"

    def _clip(self, weights: Sequence[Tensor], scale: float | Tensor | None) -> Tensor:
        grads = [one.grad for one in weights if one.grad is not None]
        if not grads:
            return torch.zeros(())
        few = len(grads) < len(weights)
        absent = [i for i, one in enumerate(weights) if few and one.grad is None]
        alike = uniform(grads)
        row = unscaled(norm_row(grads, alike=alike), scale)
        total = torch.linalg.vector_norm(row)
        norms = norms_as_numbers(row, total, absent=absent)
        skipped = self._refused(norms)
        # What cannot be computed of a norm that is not finite is not chosen either.
        with np.errstate(all="ignore"):
            factor = self._factor(norms)
        if skipped:
            for one in weights:
                one.grad = None
        else:
            scale_(grads, factor, alike=alike)
        return total

    def _refused(self, norms: Norms) -> bool:
        """Whether the gradients are to be removed, as they are not finite."""
        if self.nonfinite == "keep" or math.isfinite(norms.whole):
            return False
        if self.nonfinite == "raise":
            raise ClipError(
                f"the gradient of update {self.step} of this clip is not finite; look "
                "for the first layer whose gradient is NaN or infinite"
            )
        return True

    def _factor(self, norms: Norms) -> Any:
        """What to multiply by: one number, or `[present]` for one each.

        Norms may be NaN or infinite; then it is 1.
        """
        threshold = self._threshold(norms)
        if self.ceiling is not None:
            highest = value_at(self.ceiling, self.step)
            if isinstance(threshold, Tensor):
                threshold = threshold.clamp(max=highest)
            else:
                threshold = min(threshold, highest)
        return shortened(norms.xp, norms.whole, threshold)

    def _threshold(self, norms: Norms) -> Any:
        """The threshold before the ceiling; infinite if there is none."""
        return math.inf


def positive(value: float | Scheduled, name: str, *, most: float = math.inf) -> None:
    """Refuse a number that is not above zero, or above `most`; schedules pass.

    Raises:
        ClipError: it is such a number.
    """
    if isinstance(value, Scheduled):
        return
    if not (math.isfinite(value) and 0 < value <= most):
        bound = f"of at most {most:g}" if most < math.inf else "that is finite"
        raise ClipError(f"{name}={value!r} came; expected a positive number {bound}")


def whole(value: Any, name: str) -> int:
    """A whole number of 1 or more.

    Raises:
        ClipError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ClipError(f"{name}={value!r} came; expected a whole number, 1 or more")
    return value
