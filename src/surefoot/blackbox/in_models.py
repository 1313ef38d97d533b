"""Models come in, their part of a State goes out; and back into the same tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from surefoot.blackbox.pack import Json, Packer, PackError, tensors_in, unpack
from surefoot.blackbox.shards import local
from surefoot.probes.streams import unwrapped


class Kept(Protocol):
    """The part of a State that is read here."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Host copies by name."""
        ...

    @property
    def rest(self) -> Mapping[str, Any]:
        """What is no tensor, and where each tensor belongs."""
        ...


_TORCHS = frozenset(vars(nn.Module())) - {"training"}
"""Attributes that every module has: tables and hooks, which are not values."""


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a model by name, each tensor once.

    Names are those inside of DDP and `torch.compile`; buffers that are not persistent
    are there too.
    """
    inner = unwrapped(model)
    return {**dict(inner.named_buffers()), **dict(inner.named_parameters())}


def pack_models(models: Mapping[str, nn.Module], packer: Packer) -> Json:
    """The models as JSON; their tensors are called "models/<key>/<name>".

    Raises:
        PackError: a parameter has no values yet.
    """
    return {key: _pack(key, model, packer) for key, model in models.items()}


def models_fit(state: Kept, models: Mapping[str, nn.Module]) -> Iterator[str]:
    """What does not fit, in words."""
    packed: Mapping[str, Any] = state.rest["models"]
    for key in sorted(packed.keys() ^ models.keys()):
        where = "the state" if key in packed else "what is there"
        yield f"only {where} has a model {key!r}"
    for key in sorted(packed.keys() & models.keys()):
        there, kept = tensors_of(models[key]), packed[key]["tensors"]
        for name in sorted(kept.keys() ^ there.keys()):
            where = "the state" if name in kept else "the model"
            yield f"only {where} has {name}"
        for name in sorted(kept.keys() & there.keys()):
            yield from misfit(name, state.tensors[kept[name]], there[name])


def misfit(name: str, kept: Tensor, there: Tensor) -> Iterator[str]:
    """Why a kept tensor cannot be copied into one that is there."""
    now = local(there)
    if kept.shape != now.shape or kept.dtype != now.dtype:
        yield (f"{name} was {_words(kept)} and is {_words(now)}")


def put_models(state: Kept, models: Mapping[str, nn.Module]) -> None:
    """Copy the values back; what fits was checked before."""
    for key, model in models.items():
        packed = state.rest["models"][key]
        there = tensors_of(model)
        for name, kept in packed["tensors"].items():
            local(there[name]).copy_(state.tensors[kept], non_blocking=True)
        modules = dict(unwrapped(model).named_modules())
        training = set(packed["training"])
        for name, module in modules.items():
            vars(module)["training"] = name in training
        for name, values in packed["plain"].items():
            if name in modules:
                own = vars(modules[name])
                own.update({k: v for k, v in values.items() if _is_plain(own.get(k))})
        for name, extra in packed["extra"].items():
            copies = {k: state.tensors[k].clone() for k in tensors_in(extra)}
            modules[name].set_extra_state(unpack(extra, copies))


def _pack(key: str, model: nn.Module, packer: Packer) -> Json:
    modules = dict(unwrapped(model).named_modules())
    named = tensors_of(model)
    lazy = [n for n, one in named.items() if nn.parameter.is_lazy(one) or one.is_meta]
    if lazy:
        raise PackError(
            f"{', '.join(lazy[:3])} has no values yet; expected a model that was "
            "called once; run one batch through it first"
        )
    places = {
        name: packer.pack(one, f"models/{key}/{name}")["of"]
        for name, one in named.items()
    }
    return {
        "class": type(unwrapped(model)).__name__,
        "tensors": places,
        "training": [name for name, module in modules.items() if module.training],
        "plain": {n: own for n, m in modules.items() if (own := _plain(m))},
        "extra": dict(_extras(key, modules, packer)),
    }


def _plain(module: nn.Module) -> dict[str, Json]:
    """Counters and switches of a module, which may change while it trains."""
    return {
        name: value
        for name, value in vars(module).items()
        if name not in _TORCHS and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    """Whether a value is a finite number or a switch."""
    return type(value) in (bool, int) or (type(value) is float and value - value == 0.0)


def _extras(
    key: str, modules: Mapping[str, nn.Module], packer: Packer
) -> Iterator[tuple[str, Json]]:
    """What modules keep besides tensors, where their class says so."""
    for name, module in modules.items():
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            label = f"models/{key}/{name}.extra"
            try:
                yield name, packer.pack(module.get_extra_state(), label)
            except PackError as error:
                packer.left_out.append(str(error))


def _words(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
