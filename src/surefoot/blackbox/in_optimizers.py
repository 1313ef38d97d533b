"""Optimizers come in, their part of a State goes out; and back, bit for bit.

torch's own `load_state_dict` casts what an optimizer keeps to the format of its
parameters; here it goes back as it was, into the same tensors where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from surefoot.blackbox.in_models import Kept
from surefoot.blackbox.pack import Json, Packer, PackError, tensors_in, unpack
from surefoot.blackbox.shards import alike, local
from surefoot.gradients.norms import weights_of


def pack_optimizers(optimizers: Mapping[str, Optimizer], packer: Packer) -> Json:
    """The optimizers as JSON; tensors are called "optimizers/<key>/<number>/<name>".

    An optimizer inside of another one, as in SAM, is packed beside it.

    Raises:
        PackError: what one keeps for a parameter cannot be packed.
    """
    return {key: _pack(key, one, packer) for key, one in _whole(optimizers)}


def optimizers_fit(state: Kept, optimizers: Mapping[str, Optimizer]) -> Iterator[str]:
    """What does not fit, in words."""
    packed: Mapping[str, Any] = state.rest["optimizers"]
    there = dict(_whole(optimizers))
    for key in sorted(packed.keys() ^ there.keys()):
        where = "the state" if key in packed else "what is there"
        yield f"only {where} has an optimizer {key!r}"
    for key in sorted(packed.keys() & there.keys()):
        then, now = packed[key]["class"], type(there[key]).__name__
        if then != now:
            yield f"the optimizer {key!r} was {then} and is {now}"
        sizes = [group["size"] for group in packed[key]["groups"]]
        here = [len(group["params"]) for group in there[key].param_groups]
        if sizes != here:
            yield f"the optimizer {key!r} held {sizes} parameters in groups, now {here}"


def put_optimizers(state: Kept, optimizers: Mapping[str, Optimizer]) -> None:
    """Put settings and states back; what fits was checked before."""
    live = Packer()
    pack_optimizers(optimizers, live)
    for key, optimizer in _whole(optimizers):
        packed = state.rest["optimizers"][key]
        for i, kept in enumerate(packed["groups"]):
            _put_group(optimizer.param_groups[i], kept["settings"], state, live)
        _put_states(optimizer, packed, state, live)


def _whole(optimizers: Mapping[str, Optimizer]) -> Iterator[tuple[str, Optimizer]]:
    """The optimizers, and those that they hold."""
    for key, optimizer in optimizers.items():
        yield key, optimizer
        inner = {
            f"{key}.{name}": one
            for name, one in vars(optimizer).items()
            if isinstance(one, Optimizer) and one is not optimizer
        }
        yield from _whole(inner)


def _pack(key: str, optimizer: Optimizer, packer: Packer) -> Json:
    place = {id(weight): i for i, weight in enumerate(weights_of(optimizer))}
    label = f"optimizers/{key}"
    groups: list[Json] = []
    for i, group in enumerate(optimizer.param_groups):
        settings = {k: v for k, v in group.items() if k != "params"}
        packed = packer.pack(settings, f"{label}/group{i}")
        groups.append({"size": len(group["params"]), "settings": packed})
    states: list[Json] = []
    for owner, own in optimizer.state.items():
        number = place.get(id(owner), owner)
        if not isinstance(number, int | str):
            continue  # of a parameter that was taken out of the groups
        before = len(packer.left_out)
        states.append([number, packer.pack(own, f"{label}/{number}")])
        if len(packer.left_out) > before:
            raise PackError(packer.left_out[-1])
    return {"class": type(optimizer).__name__, "groups": groups, "states": states}


def _put_group(
    group: dict[str, Any], settings: Json, state: Kept, live: Packer
) -> None:
    """Settings of then; those that were added since go."""
    places = {name: _place(name, state, live, None) for name in tensors_in(settings)}
    then = unpack(settings, places)
    for name in group.keys() - then.keys() - {"params"}:
        del group[name]
    group.update(then)


def _put_states(
    optimizer: Optimizer, packed: Mapping[str, Any], state: Kept, live: Packer
) -> None:
    """What is kept for each parameter; what was absent then is absent again."""
    weights = list(weights_of(optimizer))
    ready = {
        id(weight): bool(group.get("capturable") or group.get("fused"))
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    then: dict[Any, Any] = {}
    for number, own in packed["states"]:
        owner = weights[number] if isinstance(number, int) else number
        beside = owner if isinstance(owner, Tensor) else weights[0]
        places: dict[str, Tensor] = {}
        for name in tensors_in(own):
            on_host = state.tensors[name].dim() == 0 and not ready[id(beside)]
            places[name] = _place(name, state, live, None if on_host else beside)
        then[owner] = unpack(own, places)
    for owner in [one for one in optimizer.state if one not in then]:
        del optimizer.state[owner]
    optimizer.state.update(then)


def _place(name: str, state: Kept, live: Packer, beside: Tensor | None) -> Tensor:
    """A kept tensor in the memory that has its place now, or in new memory.

    What is new lies beside its parameter; counters stay on the host, where torch has
    them unless the optimizer is capturable or fused.
    """
    kept, old = state.tensors[name], live.tensors.get(name)
    if old is not None:
        here = local(old)
        if here.shape == kept.shape and here.dtype == kept.dtype:
            here.copy_(kept, non_blocking=True)
            return old
    return kept.clone() if beside is None else alike(kept, beside)
