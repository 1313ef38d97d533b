"""Live models and optimizers come in, a State on the host goes out; and back.

A State is all that training goes on from: weights, buffers, what the optimizers keep,
schedulers and scalers, and the random streams. It is put back into the same tensors.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from surefoot.blackbox.errors import StateError
from surefoot.blackbox.in_models import models_fit, pack_models, put_models
from surefoot.blackbox.in_optimizers import (
    optimizers_fit,
    pack_optimizers,
    put_optimizers,
)
from surefoot.blackbox.pack import Json, Packer, PackError, unpack
from surefoot.blackbox.shards import local
from surefoot.restore.random_streams import RandomStreams


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run trains, by name, and what else changes while it does.

    `also` are schedulers, scalers, averages, loaders: anything with `state_dict` and
    `load_state_dict`.
    """

    models: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    also: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """All that training goes on from, as host copies.

    `step` counts the updates made before it. `rest` is JSON: what is no tensor, and
    where each tensor belongs; `rest["left_out"]` names what could not be kept.
    """

    step: int
    nbytes: int
    tensors: Mapping[str, Tensor]
    rest: Mapping[str, Any]
    copied: tuple[Any, Any] | None = None
    """CUDA events before and after the copies; None where they are done."""

    def wait(self) -> None:
        """Until the copies from a device have arrived; call before reading them."""
        if self.copied is not None:
            self.copied[1].synchronize()

    def random(self) -> RandomStreams | None:
        """The random streams of that moment; None where they were not asked for."""
        packed = self.rest.get("random")
        if packed is None:
            return None
        return RandomStreams.of(unpack(packed, self.tensors))


def capture(
    trained: Trained,
    step: int,
    *,
    random: bool = True,
    reuse: State | None = None,
) -> State:
    """Copy all that training goes on from to the host.

    From a CUDA device the copies go to pinned memory and are not waited for. Sharded
    parameters (FSDP2, tensor parallel) are kept as this rank's shards.

    Args:
        trained: what to copy.
        step: the updates made so far.
        random: whether the random streams are kept too.
        reuse: a state that nobody needs any more: its memory is written over.

    Raises:
        StateError: a parameter has no values yet.
    """
    packer = Packer()
    rest = _packed(trained, packer, step)
    if random:
        rest["random"] = packer.pack(RandomStreams().values(), "random")
    copied, events = _to_host(packer.tensors, {} if reuse is None else reuse.tensors)
    nbytes = sum(one.nbytes for one in copied.values())
    return State(step, nbytes, copied, rest, events)


def weigh(trained: Trained) -> int:
    """Bytes that a state would take now, with the random streams.

    Raises:
        StateError: a parameter has no values yet.
    """
    packer = Packer()
    _packed(trained, packer, 0)
    packer.pack(RandomStreams().values(), "random")
    return sum(local(one).nbytes for one in packer.tensors.values())


def _packed(trained: Trained, packer: Packer, step: int) -> dict[str, Any]:
    """Everything but the random streams as JSON."""
    try:
        return {
            "models": pack_models(trained.models, packer),
            "optimizers": pack_optimizers(trained.optimizers, packer),
            "also": {k: _pack_also(k, one, packer) for k, one in trained.also.items()},
            "random": None,
            "left_out": packer.left_out,
        }
    except PackError as error:
        raise StateError(f"the state at step {step} cannot be kept: {error}") from error


@torch.no_grad()
def restore(
    state: State, trained: Trained, *, random: bool = True, also: bool = True
) -> None:
    """Put a state back into the same models and optimizers, or into others like them.

    Args:
        state: what to put back.
        trained: where; the same tensors and objects go on with the values of then.
        random: whether the random streams go on from there too.
        also: whether schedulers, scalers and what else was kept go back too.

    Raises:
        StateError: something does not fit; then nothing was changed. The message
            names it.
    """
    state.wait()
    wrong = [
        *models_fit(state, trained.models),
        *optimizers_fit(state, trained.optimizers),
        *(_also_fits(state, trained.also) if also else ()),
    ]
    if wrong:
        more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise StateError(
            f"the state of step {state.step} does not fit: {'; '.join(wrong[:5])}"
            f"{more}; expected the models and optimizers it was taken from, or others "
            "built alike"
        )
    if also:
        _put_also(state, trained.also)
    put_models(state, trained.models)
    put_optimizers(state, trained.optimizers)
    streams = state.random() if random else None
    if streams is not None:
        streams.restore()


def companions(optimizers: Iterable[torch.optim.Optimizer]) -> dict[str, Any]:
    """Schedulers of some optimizers, and all GradScalers, found among live objects.

    Looks through the whole process, which takes some 0.1 s: ask once.
    """
    wanted = {id(one) for one in optimizers}
    # By type, not isinstance: lazy proxies of other libraries run code when asked.
    live = [thing for thing in gc.get_objects() if issubclass(type(thing), _COMPANIONS)]
    inner = {id(one) for thing in live for one in getattr(thing, "_schedulers", ())}
    found: dict[str, Any] = {}
    for thing in live:
        foreign = isinstance(thing, LRScheduler) and id(thing.optimizer) not in wanted
        if foreign or id(thing) in inner:
            continue
        label, number = type(thing).__name__, 2
        while label in found:
            label, number = f"{type(thing).__name__}{number}", number + 1
        found[label] = thing
    return found


_COMPANIONS = (LRScheduler, torch.amp.GradScaler)


def _pack_also(key: str, one: Any, packer: Packer) -> Json:
    """The state of one companion; None, and named, where it cannot be packed."""
    try:
        return packer.pack(one.state_dict(), f"also/{key}")
    except (PackError, RuntimeError) as error:
        packer.left_out.append(str(error) or f"also/{key}")
        return None


def _also_fits(state: State, also: Mapping[str, Any]) -> list[str]:
    kept = {key for key, packed in state.rest["also"].items() if packed is not None}
    return [f"{key} was kept, but is not there" for key in sorted(kept - also.keys())]


def _put_also(state: State, also: Mapping[str, Any]) -> None:
    """Load the companions; when one refuses, those before it are as they were."""
    tensors = {k: v.clone() for k, v in state.tensors.items() if k.startswith("also/")}
    before: list[tuple[Any, Any]] = []
    for key, packed in state.rest["also"].items():
        if packed is None:
            continue
        try:
            value, own = unpack(packed, tensors), Packer()
            now = own.pack(also[key].state_dict(), "now")
            copies = {name: one.clone() for name, one in own.tensors.items()}
            also[key].load_state_dict(value)
            before.append((also[key], unpack(now, copies)))
        except _REFUSALS as error:
            for one, then in reversed(before):
                one.load_state_dict(then)
            raise StateError(
                f"the state of step {state.step} does not fit: {key} refused its own "
                f"({type(error).__name__}: {error})"
            ) from error


_REFUSALS = (ValueError, TypeError, KeyError, AttributeError, RuntimeError, IndexError)


def _to_host(
    tensors: Mapping[str, Tensor], old: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[Any, Any] | None]:
    """Copies on the host, written over old ones where these fit."""
    sources = {name: local(one) for name, one in tensors.items()}
    copies = {name: _place(one, old.get(name)) for name, one in sources.items()}
    events = None
    if any(one.is_cuda for one in sources.values()):
        events = (_event(), _event())
        events[0].record()
    with torch.no_grad():
        torch._foreach_copy_([*copies.values()], [*sources.values()], non_blocking=True)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    if events is not None:
        events[1].record()
    return copies, events


def _event() -> Any:
    return torch.cuda.Event(enable_timing=True)


def _place(source: Tensor, old: Tensor | None) -> Tensor:
    """Host memory for a copy of a tensor."""
    if (
        old is not None
        and old.dtype == source.dtype
        and old.shape == source.shape
        and old.stride() == source.stride()
    ):
        return old
    return torch.empty_like(source, device="cpu", pin_memory=source.is_cuda)
