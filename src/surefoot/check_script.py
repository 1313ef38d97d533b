"""`surefoot check`: a script nobody changed comes in, a Report goes out.

Runs as a program of its own (`python -m surefoot.check_script`). The script runs until
its first update would be made; the loss is computed again from what it did to get it.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from surefoot.attach import roots_of
from surefoot.preflight.check import check
from surefoot.preflight.check_norms import too_few_to_run
from surefoot.preflight.report import Report
from surefoot.preflight.sarif import baseline_text, read_baseline
from surefoot.preflight.tape import Tape
from surefoot.probes.streams import unwrapped
from surefoot.restore.around import around
from surefoot.types import LossFunction

CLEAN, FINDING, USAGE = 0, 1, 2

CLIPPED = 0.99
"""A gradient shorter than this share of the one computed again was clipped."""


class _ReachedError(BaseException):
    """The first update is about to be made: the script has come far enough."""


class Rehearsal:
    """A script up to its first update, and what it used to get there.

    As a context manager: whatever ends the script ends it here.
    """

    def __init__(self) -> None:
        self.tape = Tape()
        self.loss: torch.Tensor | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.error: BaseException | None = None
        self.grad_norm = 0.0
        self._unscaled: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._restore: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        self._restore = [
            register_optimizer_step_pre_hook(self._stepping).remove,
            around(torch.autograd, "backward", self._backward),
            around(torch.amp.GradScaler, "scale", self._scaling),
            _watching_off(),
        ]
        self.tape.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> bool:
        self.tape.__exit__(kind, error, at)
        for restore in self._restore:
            restore()
        self.error = None if isinstance(error, _ReachedError) else error
        return True

    def _backward(self, original: Any, tensors: Any, *args: Any, **kwargs: Any) -> Any:
        """The loss is what `backward` is called on."""
        if isinstance(tensors, torch.Tensor) and tensors.numel() == 1:
            self.loss = self._unscaled.get(id(tensors), (tensors, tensors))[1]
        return original(tensors, *args, **kwargs)

    def _scaling(self, original: Any, scaler: Any, outputs: Any) -> Any:
        """A GradScaler scales the loss: remember the unscaled one."""
        result = original(scaler, outputs)
        if isinstance(outputs, torch.Tensor):
            self._unscaled[id(result)] = (result, outputs)
        return result

    def _stepping(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """The first update is about to be made: stop the script here."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is not None:
            with torch.enable_grad():
                closure()
        self.optimizer = optimizer
        grads = [w.grad for g in optimizer.param_groups for w in g["params"]]
        self.grad_norm = _norm(grads)
        raise _ReachedError


def _watching_off() -> Callable[[], None]:
    """A script that is watched leaves no record of a rehearsal; undo goes out."""
    before = os.environ.get("SUREFOOT")
    os.environ["SUREFOOT"] = "off"

    def undo() -> None:
        del os.environ["SUREFOOT"]
        if before is not None:
            os.environ["SUREFOOT"] = before

    return undo


def rehearsed(script: Path, arguments: Sequence[str]) -> Rehearsal:
    """Run a script as `__main__` until its first update."""
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(script.resolve().parent)
    rehearsal = Rehearsal()
    with rehearsal:
        runpy.run_path(str(script), run_name="__main__")
    return rehearsal


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a script was about to train: `loss_fn` computes its loss again.

    The batch is what its model was called with; the loss holds on to the targets.
    """

    model: nn.Module
    batch: Any
    loss_fn: LossFunction
    optimizer: torch.optim.Optimizer


def trained_by(rehearsal: Rehearsal) -> Rehearsed:
    """Model, batch, loss and optimizer of a script that came to its first update.

    Raises:
        ValueError: it took no update, or trains weights of no module.
    """
    loss, optimizer, tape = rehearsal.loss, rehearsal.optimizer, rehearsal.tape
    if optimizer is None or loss is None:
        raise ValueError(
            "the script ended before its first update; expected one that calls "
            "backward() on a loss and step() on an optimizer of torch.optim; check "
            "that it trains when it is run like this"
        )
    model = _model(optimizer, tape)
    batch = [(call.args, call.kwargs) for call in tape.calls]

    def loss_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return tape.replay(loss)

    return Rehearsed(model, batch, loss_fn, optimizer)


def report_on(rehearsal: Rehearsal, seconds: float) -> Report:
    """The report on what a script was about to do.

    Raises:
        ValueError: it took no update, or its loss cannot be computed again.
    """
    if isinstance(rehearsal.error, ValueError):
        notice = too_few_to_run(rehearsal.error)
        if notice is not None:
            return Report((notice,), ("the script stopped in its forward pass",))
    found = trained_by(rehearsal)
    clip = _clip(rehearsal)
    return check(
        found.model,
        found.batch,
        loss_fn=found.loss_fn,
        optimizer=found.optimizer,
        max_grad_norm=clip,
        seconds=seconds,
    )


def _model(optimizer: torch.optim.Optimizer, tape: Tape) -> nn.Module:
    """The model that was called, of those that the optimizer trains."""
    roots = [unwrapped(one) for one in roots_of([optimizer]).values()]
    called = [unwrapped(call.module) for call in tape.calls]
    for root in roots:
        if any(one is root for one in called):
            return root
    if not roots and called:
        return called[0]
    if not roots:
        raise ValueError(
            "the optimizer holds weights of no module; expected weights of a "
            "torch.nn.Module; register them with nn.Parameter in a module"
        )
    return roots[0]


def _clip(rehearsal: Rehearsal) -> float | None:
    """The norm that the script clipped its gradient to; None if it did not."""
    if rehearsal.loss is None:
        return None
    weights = [w for g in _groups(rehearsal) for w in g["params"] if w.requires_grad]
    again = rehearsal.tape.replay(rehearsal.loss)
    if not weights or not again.requires_grad:
        return None
    whole = _norm(torch.autograd.grad(again, weights, allow_unused=True))
    clipped = 0 < rehearsal.grad_norm < CLIPPED * whole
    return rehearsal.grad_norm if clipped else None


def _groups(rehearsal: Rehearsal) -> list[dict[str, Any]]:
    return [] if rehearsal.optimizer is None else rehearsal.optimizer.param_groups


def _norm(grads: Sequence[torch.Tensor | None]) -> float:
    present = [g.detach().float().norm() for g in grads if g is not None]
    return float(torch.stack(present).norm()) if present else 0.0


# --- the command ----------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a script; the exit status goes out."""
    options = _parser().parse_args(arguments)
    script = Path(options.script)
    if not script.is_file():
        kind = "a folder" if script.is_dir() else "no file"
        return _refuse(
            f"{script} is {kind}; expected a Python script; check the path, options "
            "of surefoot stand before it"
        )
    try:
        known = read_baseline(Path(options.baseline)) if options.baseline else None
        places = [Path(p).absolute() if p else None for p in
                  (options.sarif, options.write_baseline)]  # fmt: skip
        rehearsal = rehearsed(script, options.arguments)
        if rehearsal.error is not None and not isinstance(rehearsal.error, ValueError):
            _show(rehearsal.error)
        report = report_on(rehearsal, options.seconds)
    except (ValueError, OSError) as error:
        return _refuse(str(error))
    left = report.without(known or frozenset())
    _write(places[0], left.to_sarif(str(script)))
    _write(places[1], baseline_text([one.fingerprint for one in report.flaws]))
    sys.stdout.write((left.to_json() if options.json else str(left)) + "\n")
    accepted = len(report.findings) - len(left.findings)
    if accepted and not options.json:
        sys.stdout.write(f"  accepted by the baseline: {accepted}\n")
    return CLEAN if left.ok or options.write_baseline else FINDING


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        path.write_text(text, encoding="utf-8")


def _refuse(message: str) -> int:
    sys.stderr.write(f"surefoot: {message}\n")
    return USAGE


def _show(error: BaseException) -> None:
    """What ended the script before it came to an update, as Python shows it."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="surefoot check",
        description="Check a training script before its first update is made. "
        "Status 0: ready; 1: something is wrong; 2: it could not be checked.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--sarif", default="", help="write SARIF 2.1.0 to this file")
    parser.add_argument("--baseline", default="", help="accept the findings in a file")
    parser.add_argument("--write-baseline", default="", help="accept today's findings")
    parser.add_argument("--seconds", type=float, default=20.0, help="for trial updates")
    parser.add_argument("script", help="the training script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    return parser


if __name__ == "__main__":
    sys.exit(main())
