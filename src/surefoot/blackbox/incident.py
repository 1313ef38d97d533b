"""An Incident comes in, all that led to a fault; one file goes out, and back.

The file is safetensors with JSON in its metadata: whoever opens it runs nothing, and it
is read with any safetensors library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from surefoot.blackbox.checks import IncidentError, check_random, check_rest
from surefoot.blackbox.files import FileError, read_tensors, write_tensors
from surefoot.blackbox.pack import Json, Packer, PackError, unpack
from surefoot.blackbox.state import State
from surefoot.restore.random_streams import RandomStreams

Value = TypeVar("Value")

VERSION = 1
"""Format of an incident file; a reader knows its own and those before."""

ENDING = ".incident.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Micro:
    """One micro-batch of an update, and the random streams as its forward pass began.

    `kind` says what `batch` is: "told", as it was given to `run.step`, or "call",
    `((args, kwargs), targets)` of the model's call as it was seen under `surefoot run`.
    Tensors are on the host. `scored` tells for each of the targets which loss function
    of torch took it, and its settings.
    """

    batch: Any
    random: RandomStreams | None
    kind: str = "told"
    scored: tuple[tuple[str, Mapping[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StepRecord:
    """One update: its losses, the rates it was made with, and what it was made from.

    `rates` has for each optimizer that stepped the rate of every group. `grad_norm` is
    NaN where nothing measured it. `micro` is empty where the batches did not fit into
    the budget.
    """

    step: int
    losses: tuple[float, ...]
    rates: Mapping[str, tuple[float, ...]]
    grad_norm: float = math.nan
    micro: tuple[Micro, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Incident:
    """The last good state of a run, and all that was done since.

    Args:
        about: when, by which script, with which versions; names and shapes of weights.
        reason: the diagnosis or the exception, in words.
        step: the update at which it was noticed.
        onset: the update at which it began, as far as that is known.
        layers: the layers that are accused.
        state: from before `onset` where the ring still had one.
        steps: the updates since `state`, without a gap.
    """

    about: Mapping[str, Any]
    reason: str
    step: int
    onset: int
    layers: tuple[str, ...]
    state: State
    steps: tuple[StepRecord, ...] = field(default=())


def write_incident(incident: Incident, path: str | Path) -> Path:
    """Write an incident to one file, whole or not at all.

    Batches that hold something that cannot be packed are left out, and
    `about["left_out"]` names it.

    Raises:
        OSError: the file cannot be written, as on a full disk; nothing of it is left.
    """
    packer = Packer()
    steps = [_pack_step(one, packer) for one in incident.steps]
    about = {**incident.about, "left_out": packer.left_out}
    told = {
        "kind": "incident",
        "version": VERSION,
        "about": Packer().pack(about, "about"),
        "reason": incident.reason,
        "step": incident.step,
        "onset": incident.onset,
        "layers": list(incident.layers),
        "state": {"step": incident.state.step, "rest": incident.state.rest},
        "steps": steps,
    }
    state = _state_tensors(incident.state)
    write_tensors(Path(path), {**state, **packer.tensors}, told)
    return Path(path)


def write_state(state: State, about: Mapping[str, Any], path: Path) -> None:
    """Write a state alone.

    Raises:
        OSError: the file cannot be written; nothing of it is left.
    """
    told = {
        "kind": "state",
        "version": VERSION,
        "about": Packer().pack(about, "about"),
        "state": {"step": state.step, "rest": state.rest},
    }
    write_tensors(path, _state_tensors(state), told)


def read_state(path: Path) -> tuple[State, dict[str, Any]]:
    """A state that was written alone, and what is known of its run.

    Raises:
        IncidentError: it is damaged, of a version that is not known, or no state.
    """
    return _read(
        path,
        "state",
        lambda tensors, told: (
            _state(tensors, told["state"]),
            _dict(unpack(told["about"], tensors)),
        ),
    )


def write_steps(steps: Sequence[StepRecord], path: Path) -> None:
    """Write updates alone; what cannot be packed is left out.

    Raises:
        OSError: the file cannot be written; nothing of it is left.
    """
    packer = Packer()
    rows = [_pack_step(one, packer) for one in steps]
    write_tensors(
        path, packer.tensors, {"kind": "steps", "version": VERSION, "steps": rows}
    )


def read_steps(path: Path) -> list[StepRecord]:
    """Updates that were written alone.

    Raises:
        IncidentError: the file is damaged, of a version that is not known, or another.
    """
    return _read(
        path,
        "steps",
        lambda tensors, told: [_step(row, tensors) for row in _list(told["steps"])],
    )


def read_incident(path: str | Path) -> Incident:
    """Read an incident file; nothing in it is executed.

    Raises:
        IncidentError: it is damaged, of a version that is not known, or no incident.
    """
    return _read(Path(path), "incident", _incident)


def _read(
    path: Path, kind: str, build: Callable[[dict[str, Tensor], dict[str, Any]], Value]
) -> Value:
    """What a file of a kind holds, built and checked."""
    try:
        tensors, told = read_tensors(path)
        _check_kind(told, kind)
        return build(tensors, told)
    except FileError as error:
        raise IncidentError(str(error)) from error
    except (IncidentError, PackError) as error:
        raise IncidentError(f"{path} is no {kind} file of ours: {error}") from error
    except (KeyError, TypeError, ValueError, RecursionError, IndexError) as error:
        what = str(error)[:120] if str(error) else type(error).__name__
        raise IncidentError(
            f"{path} is no {kind} file of ours: its JSON lacks or misnames something "
            f"({type(error).__name__}: {what})"
        ) from error


def _pack_step(one: StepRecord, packer: Packer) -> Json:
    name = f"steps/{one.step}"
    micro: list[Json] = []
    for i, batch in enumerate(one.micro):
        label = f"{name}/{i}"
        try:
            packed = packer.pack(batch.batch, f"{label}/batch")
        except PackError as error:
            packer.left_out.append(str(error))
            continue
        random = None if batch.random is None else batch.random.values()
        micro.append(
            {
                "kind": batch.kind,
                "batch": packed,
                "random": packer.pack(random, f"{label}/random"),
                "scored": packer.pack(batch.scored, f"{label}/scored"),
            }
        )
    row = (one.losses, dict(one.rates), one.grad_norm)
    return {"step": one.step, "row": packer.pack(row, name), "micro": micro}


def _check_kind(told: Mapping[str, Any], kind: str) -> None:
    if told.get("kind") != kind:
        raise IncidentError(f"its kind is {str(told.get('kind'))[:40]!r}")
    if told.get("version") != VERSION:
        raise IncidentError(
            f"its format is version {str(told.get('version'))[:20]}; this Surefoot "
            f"reads version {VERSION}; install the Surefoot that wrote it"
        )


def _state_tensors(state: State) -> dict[str, Tensor]:
    state.wait()
    return {f"state/{name}": one for name, one in state.tensors.items()}


def _state(tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> State:
    own = {n.removeprefix("state/"): t for n, t in tensors.items() if n[:6] == "state/"}
    check_rest(told["rest"], own)
    nbytes = sum(one.nbytes for one in own.values())
    return State(_whole(told["step"]), nbytes, own, told["rest"])


def _incident(tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> Incident:
    state = _state(tensors, told["state"])
    steps = tuple(_step(row, tensors) for row in _list(told["steps"]))
    first = range(state.step, state.step + len(steps))
    if [one.step for one in steps] != list(first):
        raise IncidentError("its steps do not follow each other from its state on")
    return Incident(
        about=_dict(unpack(told["about"], tensors)),
        reason=_text(told["reason"]),
        step=_whole(told["step"]),
        onset=_whole(told["onset"]),
        layers=tuple(_text(one) for one in _list(told["layers"])),
        state=state,
        steps=steps,
    )


def _step(row: Any, tensors: Mapping[str, Tensor]) -> StepRecord:
    losses, rates, grad_norm = unpack(row["row"], tensors)
    return StepRecord(
        step=_whole(row["step"]),
        losses=_numbers(losses),
        rates={_text(key): _numbers(of) for key, of in _dict(rates).items()},
        grad_norm=_number(grad_norm),
        micro=tuple(_micro(one, tensors) for one in _list(row["micro"])),
    )


def _micro(row: Any, tensors: Mapping[str, Tensor]) -> Micro:
    random = unpack(row["random"], tensors)
    kind = _text(row["kind"])
    if kind not in ("told", "call"):
        raise IncidentError(f"a batch is of the unknown kind {kind[:40]!r}")
    scored = tuple(
        (_text(name), _dict(settings))
        for name, settings in unpack(row["scored"], tensors)
    )
    streams = None if random is None else check_random(random)
    return Micro(unpack(row["batch"], tensors), streams, kind, scored)


def _expecting(kind: type, words: str) -> Callable[[Any], Any]:
    """A check that a value is of a kind; the value goes out."""

    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise IncidentError(f"{words} was expected, {str(value)[:40]!r} came")
        return value

    return check


_whole: Callable[[Any], int] = _expecting(int, "a whole number")
_text: Callable[[Any], str] = _expecting(str, "a text")
_list: Callable[[Any], list[Any]] = _expecting(list, "a list")
_dict: Callable[[Any], dict[str, Any]] = _expecting(dict, "an object")
_number: Callable[[Any], float] = _expecting(float, "a number")


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(_number(one) for one in values)
