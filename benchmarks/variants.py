"""The tools that watch a training loop: a workload comes in, it goes out watched.

A tool is a function of the workload, a folder for what it writes, and the clock. It
attaches itself and returns a `Watching`: what to call after each step, and at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.clock import Clock
from benchmarks.workloads import Workload
from surefoot.autopilot.policy import Mode

Tool = Callable[[Workload, Path, Clock], "Watching"]


def _nothing(loss: torch.Tensor) -> None:
    """What is called after a step that nobody watches."""


@dataclass(frozen=True, slots=True)
class Watching:
    """`after` takes the loss of each step; it is the tool's own cost."""

    after: Callable[[torch.Tensor], Any] = _nothing
    close: Callable[[], Any] = lambda: None
    say: Callable[[], dict[str, Any]] = field(default=dict)


def bare(workload: Workload, folder: Path, clock: Clock) -> Watching:
    return Watching()


def surefoot(
    workload: Workload,
    folder: Path,
    clock: Clock,
    *,
    fixed: bool = False,
    burn_in: int | None = None,
    autopilot: Mode | None = None,
) -> Watching:
    """Surefoot by its two lines; `fixed` takes every probe each ten steps."""
    from surefoot import Options, watch

    options = Options(budget=None) if fixed else Options()
    run = watch(
        workload.model,
        workload.optimizer,
        folder=folder,
        options=options,
        autopilot=autopilot,
    )
    recorder = run.streams["main"]
    if burn_in is not None:
        for rhythm in recorder.rhythms.values():
            rhythm.burn_in = burn_in

    def say() -> dict[str, Any]:
        share = recorder.meter.share()
        recorder.meter.restart()
        return {"own share": share}

    return Watching(run.step, run.close, say)


def black_box(workload: Workload, folder: Path, clock: Clock) -> Watching:
    """The black box alone, on the hooks of the model and the optimizer."""
    from surefoot.blackbox.box import BlackBox
    from surefoot.blackbox.options import BlackBoxOptions

    box = BlackBox(
        BlackBoxOptions("1GB"),
        folder / "run",
        tell=lambda event: None,
        norms=lambda stream: None,
        about={},
    )
    box.watch({"model": workload.model}, {"main": workload.optimizer})
    return Watching(lambda loss: box.told([loss], None), box.close)


def surefoot_run(workload: Workload, folder: Path, clock: Clock) -> Watching:
    """Surefoot as `surefoot run` attaches it to a script that nobody changed."""
    from surefoot.attach import Attachment
    from surefoot.watching import open_run

    torch.autograd.backward = clock.exempt(torch.autograd.backward)
    run = open_run(folder, "script", {})
    run.look_out(print)
    Attachment(lambda: run, lambda models, optimizers: None)
    torch.autograd.backward = clock.timed(torch.autograd.backward)
    # Optimizers that are there already are found at their first step.
    return Watching(close=run.close)


def wandb_watch(
    workload: Workload, folder: Path, clock: Clock, *, every: int
) -> Watching:
    """W&B's own hooks on the gradients, and the loss logged at every step."""
    import wandb

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    run = wandb.init(mode="offline", dir=str(folder), project="x", settings=settings)
    run.watch(workload.model, log="gradients", log_freq=every)
    return Watching(lambda loss: run.log({"loss": loss.item()}), run.finish)


def tensorboard(
    workload: Workload, folder: Path, clock: Clock, *, every: int
) -> Watching:
    """A histogram of each gradient, and the loss at every step."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)
    step = 0

    def after(loss: torch.Tensor) -> None:
        nonlocal step
        writer.add_scalar("loss", loss.item(), step)
        if step % every == 0:
            for name, weight in workload.model.named_parameters():
                writer.add_histogram(name, weight.grad, step)
        step += 1

    return Watching(after, writer.close)


def lightning(workload: Workload, folder: Path, clock: Clock) -> Watching:
    """Lightning's `grad_norm`, and each norm as a number; nothing is written."""
    from lightning.pytorch.utilities import grad_norm

    def after(loss: torch.Tensor) -> list[float]:
        return [float(norm) for norm in grad_norm(workload.model, 2).values()]

    return Watching(after)


def pulsegrad(workload: Workload, folder: Path, clock: Clock) -> Watching:
    """Two lines of pulsegrad, as its manual gives them."""
    from pulsegrad import watch
    from pulsegrad._instrument import backward_patch

    backward_patch.dispatch_loss = clock.timed(backward_patch.dispatch_loss)
    session = watch(workload.model, workload.optimizer, run_dir=folder)
    return Watching(close=session.close)


def torchmortem(workload: Workload, folder: Path, clock: Clock) -> Watching:
    """Default sampling; the analysis at the end of the run is left out."""
    from torchmortem import Autopsy

    logging.getLogger("torchmortem").setLevel(logging.ERROR)
    autopsy = Autopsy(workload.model, optimizer=workload.optimizer)
    autopsy.attach()
    return Watching(lambda loss: autopsy.step(loss=loss.item()))


@dataclass(frozen=True, slots=True)
class Variant:
    """A tool in one setting, as a row of the table; `needs` is its package."""

    title: str
    tool: Tool
    needs: str = ""
    warm_up: int = 12


BARE = "bare"
ALL: dict[str, Variant] = {
    BARE: Variant("nothing", bare),
    "control": Variant("nothing, once more (control)", bare),
    "surefoot": Variant("Surefoot, always on", surefoot, warm_up=210),
    "surefoot-run": Variant("Surefoot, unchanged script", surefoot_run, warm_up=210),
    "surefoot-fixed": Variant(
        "Surefoot, every extra each 10 steps", partial(surefoot, fixed=True)
    ),
    "surefoot-guard": Variant(
        "Surefoot with its autopilot in guard",
        partial(surefoot, autopilot="guard"),
        warm_up=210,
    ),
    "surefoot-steer": Variant(
        "Surefoot with its autopilot in steer",
        partial(surefoot, autopilot="steer"),
        warm_up=210,
    ),
    "black-box": Variant("Surefoot's black box alone, 1 GB", black_box, warm_up=60),
    "surefoot-quick": Variant(
        "Surefoot, always on", partial(surefoot, burn_in=3), warm_up=40
    ),
    "wandb-1": Variant(
        "W&B watch, gradients each step", partial(wandb_watch, every=1), "wandb"
    ),
    "wandb-1000": Variant(
        "W&B watch, gradients each 1000 (default)",
        partial(wandb_watch, every=1000),
        "wandb",
    ),
    "tensorboard-1": Variant(
        "TensorBoard histograms of gradients, each step",
        partial(tensorboard, every=1),
        "tensorboard",
    ),
    "tensorboard-100": Variant(
        "TensorBoard histograms of gradients, each 100",
        partial(tensorboard, every=100),
        "tensorboard",
    ),
    "lightning": Variant("Lightning grad_norm, each step", lightning, "lightning"),
    "pulsegrad": Variant("pulsegrad (defaults)", pulsegrad, "pulsegrad"),
    "torchmortem": Variant("torchmortem (defaults)", torchmortem, "torchmortem"),
}
