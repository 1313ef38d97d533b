"""Begin to watch: models and optimizers come in, a Run with its streams goes out.

The record is opened here, and here it is decided whether there is one at all: on
all ranks but the first, and when switched off by the environment, there is none.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from surefoot.autopilot.asking import Page, Source, Terminal
from surefoot.autopilot.joined import Autopilot
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.policy import Mode, Policy, policy_of
from surefoot.blackbox.options import BlackBoxOptions, options_from
from surefoot.probes.curvature import check_curvature
from surefoot.probes.options import Options
from surefoot.probes.streams import Watched, check, streams
from surefoot.record.folder import name_of
from surefoot.record.schema import run_path
from surefoot.record.writer import RecordWriter
from surefoot.run import Run
from surefoot.sinks.named import Opener, opener
from surefoot.terminal.view import is_terminal
from surefoot.types import Diagnosis, Event, LossFunction, Sink

OFF = ("0", "off", "false", "no")

Models = nn.Module | Mapping[str, nn.Module]
Optimizers = torch.optim.Optimizer | Mapping[str, torch.optim.Optimizer]
_log = logging.getLogger("surefoot")


def switched_off() -> bool:
    """Whether the environment variable SUREFOOT says so (off, 0, false, no)."""
    return os.environ.get("SUREFOOT", "").strip().lower() in OFF


def spare_rank() -> int:
    """This process's rank in a distributed run, 0 if there is none."""
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if ready else 0


def open_run(folder: str | Path, name: str, about: Mapping[str, Any]) -> Run:
    """A run with a fresh record and no streams yet.

    On all ranks but the first of a distributed run, and when switched off by the
    environment, nothing is recorded.

    Raises:
        RecordError: the folder cannot be made or written.
    """
    if switched_off() or spare_rank():
        return Run(None)
    now = datetime.now(UTC)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    meta = {"created": now.isoformat(), "versions": versions, **about}
    run = Run(RecordWriter(run_path(Path(folder).absolute(), name, now), meta))
    run.event(Event(0, "start", {"versions": versions, **about}))
    return run


def watch(
    model: Models,
    optimizer: Optimizers | Sequence[torch.optim.Optimizer],
    *,
    loss_fn: LossFunction | None = None,
    folder: str | Path = "surefoot-runs",
    name: str = "",
    options: Options | None = None,
    sinks: Sequence[Sink | str] = (),
    autopilot: Policy | Mode | None = None,
    blackbox: BlackBoxOptions | str | int | None = None,
) -> Run:
    """Watch a model while its optimizer trains it.

    Args:
        model: the module that is trained, or several by name.
        optimizer: its optimizer, or several by name; each becomes a stream.
        loss_fn: `loss_fn(model, batch)` gives the loss of a batch. With it and the
            batch told in `run.step`, the origin of a NaN is found in the loss too, and
            curvature can be tracked: `options=Options(curvature=3.0)`.
        folder: where the record is written; made if absent.
        name: name of the run; the model's class if empty.
        options: how densely to record.
        sinks: where the readings go beside the record: "tensorboard", "mlflow",
            "wandb", each with a colon and a place if you like ("tensorboard:logs"),
            or any `Sink` of your own. None of them can slow or end the training.
        autopilot: what may be done about trouble while the run goes on: "advise",
            "ask", "guard", "steer", or a `Policy`. Nothing, if not given.
        blackbox: host memory for the last good states and all batches since, such as
            "1GB", or `BlackBoxOptions`; on an alarm or an exception they are written
            to an incident file beside the record, which `surefoot replay` takes.

    Returns:
        The run: call `run.step(loss)` after each update, `run.close()` at the end.

    Raises:
        ValueError: a model without parameters, an optimizer that holds none of the
            model's, a sink that we do not know, curvature that was asked for and
            cannot be measured, an autopilot that cannot fly this run, or a budget of
            the black box that is no amount.
        ImportError: the package that a sink needs is not installed.
        RecordError: the folder cannot be made or written.

    >>> import tempfile, torch, surefoot
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with surefoot.watch(model, optimizer, folder=tempfile.mkdtemp()) as run:
    ...     for _ in range(5):
    ...         loss = model(torch.ones(2, 3)).square().mean()
    ...         optimizer.zero_grad(); loss.backward(); optimizer.step()
    ...         run.step(loss)
    ...     found = run.diagnose()
    >>> found
    []
    """
    models = dict(model) if isinstance(model, Mapping) else {"model": model}
    optimizers = _named(optimizer)
    check(models, optimizers)
    chosen = options or Options()
    if loss_fn is not None:
        chosen = replace(chosen, loss_fn=loss_fn)
    for watched in streams(models, optimizers) if chosen.curvature != 0 else ():
        check_curvature(chosen, watched)
    keeping = options_from(blackbox)
    to_open = [opener(sink) for sink in sinks]
    policy = None if autopilot is None else policy_of(autopilot)
    label = name or "-".join(type(m).__name__ for m in models.values())
    about = {"script": Path(sys.argv[0]).name, "argv": sys.argv[1:]}
    run = open_run(folder, label, about)
    for stream in optimizers:
        run.add(partial(stream_named, stream, models, optimizers), chosen)
    if keeping is not None:
        run.keep(keeping, about)
    if run.box is not None:
        run.box.watch(models, optimizers)
    deliver(run, to_open)
    if policy is not None:
        try:
            fly(run, policy, models=models, optimizers=optimizers)
        except KnobError as error:
            run.close("failed", str(error))
            raise
    run.look_out(_speak)
    run.close_at_exit()
    return run


def fly(
    run: Run,
    policy: Policy,
    *,
    models: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    say: Callable[[str], None] | None = None,
) -> None:
    """Let an autopilot act on a run, unless Surefoot is switched off.

    Questions are put to the terminal that the process runs in, and to the page.

    Raises:
        KnobError: it cannot fly this run.
    """
    if switched_off():
        return
    sources: list[Source] = []
    if run.path is not None and policy.mode == "ask":
        sources.append(Page(run.path))
        if is_terminal(sys.stdin):
            sources.append(Terminal(sys.stdin, say or _log.warning))
    live = Live(models, list(optimizers.values()))
    autopilot = Autopilot(
        live,
        policy,
        streams=optimizers,
        tell=run.event,
        sources=sources,
        measured=partial(_gradient_norms, run),
    )
    run.fly_by(autopilot)


def _gradient_norms(run: Run, optimizer: torch.optim.Optimizer) -> Any:
    """The norm of each gradient of its coming update, if the recorder has them."""
    for recorder in run.streams.values():
        if recorder.watched.optimizer is optimizer:
            return recorder.gradient_norms
    return None


def deliver(run: Run, openers: Sequence[Opener]) -> None:
    """Open sinks for a run and send it to them; nothing where nothing is recorded."""
    if run.path is not None:
        for open_sink in openers:
            run.deliver_to(open_sink(name_of(run.path)))


def stream_named(
    name: str,
    models: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> Watched:
    """One of the streams of some models and optimizers."""
    return next(one for one in streams(models, optimizers) if one.name == name)


def _named(optimizer: Any) -> dict[str, torch.optim.Optimizer]:
    """Optimizers by the name of their stream; a single one is called "main"."""
    if isinstance(optimizer, Mapping):
        return dict(optimizer)
    if isinstance(optimizer, torch.optim.Optimizer):
        return {"main": optimizer}
    if isinstance(optimizer, Sequence) and len(optimizer) > 0:
        return {f"optimizer{i}": one for i, one in enumerate(optimizer)}
    raise TypeError(
        f"the optimizer came as {type(optimizer).__name__}; expected a "
        "torch.optim.Optimizer, a list or a mapping of them; pass the object whose "
        "step() trains the model"
    )


def _speak(diagnosis: Diagnosis) -> None:
    """Say one alarm through the log, where the user's own settings apply."""
    _log.warning(
        "%s in %s since step %d: %s",
        diagnosis.cause,
        diagnosis.layer,
        diagnosis.onset,
        diagnosis.about,
    )
