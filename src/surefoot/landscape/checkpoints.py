"""The path of a checkpoint comes in, a state dict that fits a model goes out.

Nothing in a checkpoint is executed: tensors and plain values are read, and a file that
holds more is refused.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from surefoot.landscape.weights import State

DEEPEST = 3
"""Levels of a checkpoint that are searched: `{"trainer": {"model": {…}}}` has three."""

STEPS = ("step", "global_step", "steps", "iteration")
"""Entries that tell how many updates a checkpoint has seen."""

NAMED = 5  # weights that a message names; the rest is counted

WRAPPERS = ("_orig_mod.", "module.")
"""What `torch.compile` and `DistributedDataParallel` put before names."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a model from a file.

    `state` has the names of the model; `step` is None where the file does not tell.
    """

    path: Path
    state: dict[str, Tensor]
    step: int | None = None


def read_checkpoint(path: str | Path, model: nn.Module) -> Checkpoint:
    """Read the state of a model from a `.safetensors` file or one of `torch.save`.

    The state dict may lie inside other entries ("model", "state_dict", …), and its
    names may carry what wrappers and trainers put before them.

    Raises:
        CheckpointError: the file cannot be read safely, holds no state dict, or one of
            another model; the message names weights that do not fit.
    """
    place = Path(path)
    told = _content(place)
    states = list(_states(told, DEEPEST))
    if not states:
        raise CheckpointError(
            f"{place} holds no state dict; expected names with tensors, plain or below "
            "a key such as 'model'; save model.state_dict()"
        )
    wanted = model.state_dict()
    fitting = [_renamed(one, wanted) for one in states]
    best = max(fitting, key=lambda one: len(one.keys() & wanted.keys()))
    _check(place, best, model)
    kept = {name: best[name] for name in wanted if name in best}
    return Checkpoint(place, kept, _step(told))


def load_into(model: nn.Module, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Give a model the weights and buffers of a checkpoint; buffers it lacks go out."""
    left = model.load_state_dict(checkpoint.state, strict=False)
    weights = dict(model.named_parameters(remove_duplicate=False))
    return tuple(name for name in left.missing_keys if name not in weights)


def _content(path: Path) -> Any:
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no file"
        raise CheckpointError(f"{path} is {kind}; expected a checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # What torch says of it ends with the advice to execute it all the same.
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise CheckpointError(
            f"{path} holds more than tensors and plain values"
            f"{f', {asked[1]},' if asked else ''} which is not executed, or is no "
            "checkpoint; save model.state_dict() instead"
        ) from error
    except (
        SafetensorError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        zipfile.BadZipFile,
    ) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({_first_line(error)}); expected "
            "a file of torch.save or safetensors"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def _states(told: Any, levels: int) -> Iterator[dict[str, Tensor]]:
    """All groups of named tensors in a checkpoint, the outermost first."""
    if not isinstance(told, Mapping):
        return
    entries = cast(Mapping[Any, Any], told)
    tensors = {
        name: one
        for name, one in entries.items()
        if isinstance(name, str) and isinstance(one, Tensor)
    }
    if tensors:
        yield tensors
    if levels > 1:
        for one in entries.values():
            yield from _states(one, levels - 1)


def _renamed(state: dict[str, Tensor], wanted: State) -> dict[str, Tensor]:
    """A state with the names of the model, where only what stands before differs."""
    plain = {_plain(name): one for name, one in state.items()}
    own = {_plain(name): name for name in wanted}
    first = next(iter(own), "")
    before = {n.removesuffix(first) for n in plain if n.endswith(first)} | {""}
    prefix = max(before, key=lambda one: sum(one + name in plain for name in own))
    return {
        own.get(name.removeprefix(prefix), name): one
        for name, one in plain.items()
        if name.startswith(prefix)
    }


def _plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _check(path: Path, state: dict[str, Tensor], model: nn.Module) -> None:
    """Whether every weight has a value of its shape; buffers may be missing."""
    wanted = model.state_dict()
    weights = dict(model.named_parameters())
    missing = [name for name in weights if name not in state]
    if missing:
        raise CheckpointError(
            f"{path} is of another model: it lacks {len(missing)} of "
            f"{len(weights)} weights ({_some(missing)}); it has "
            f"{_some(list(state))}; give a checkpoint of the model that the script "
            "trains"
        )
    other = [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(one.shape)}"
        for name, one in wanted.items()
        if name in state and state[name].shape != one.shape
    ]
    if other:
        raise CheckpointError(
            f"{path} is of another model: {_some(other)}; run the script with the "
            "arguments that it was trained with"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _step(told: Any) -> int | None:
    """How many updates the checkpoint says it has seen."""
    if not isinstance(told, Mapping):
        return None
    entries = cast(Mapping[Any, Any], told)
    found = [entries[name] for name in STEPS if name in entries]
    return next((one for one in found if type(one) is int and one >= 0), None)
