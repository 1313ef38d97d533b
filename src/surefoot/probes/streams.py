"""What to watch: models and optimizers come in, named streams go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from surefoot.gradients.norms import weights_of
from surefoot.probes.techniques import techniques
from surefoot.schedules.lending import held_settings
from surefoot.types import Facts, Module, Parameter


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One stream: an optimizer, the parameters it holds by name, their modules.

    `roots` are the models as they are called, `modules` all inner modules by name,
    `leaves` the ones without children that belong to this stream, `unheld` the
    parameters of its models that no optimizer holds.
    """

    name: str
    optimizer: torch.optim.Optimizer
    names: tuple[str, ...]
    weights: tuple[torch.Tensor, ...]
    roots: Mapping[str, nn.Module]
    modules: Mapping[str, nn.Module]
    leaves: Mapping[str, nn.Module]
    unheld: Mapping[str, torch.Tensor]
    unseen: tuple[str, ...]

    @property
    def needs_other_ranks(self) -> bool:
        """Whether a forward pass hangs unless all ranks take part in it."""
        return any(
            hasattr(weight, "full_tensor") for weight in weights_of(self.optimizer)
        ) or any(isinstance(m, nn.SyncBatchNorm) for m in self.modules.values())

    def facts(self, order: Mapping[str, str]) -> Facts:
        """What stays the same; `order` maps layers to kinds as first seen."""
        kinds = order or {n: kind_of(m) for n, m in self.leaves.items()}
        rows = [*zip(self.names, self.weights, strict=True)]
        held = [_parameter(name, weight, held=True) for name, weight in rows]
        free = [_parameter(n, weight, held=False) for n, weight in self.unheld.items()]
        place = {name: i for i, name in enumerate(self.modules)}
        parameters = sorted([*held, *free], key=lambda p: place.get(p.module, -1))
        return Facts(
            stream=self.name,
            model=", ".join(type(unwrapped(m)).__name__ for m in self.roots.values()),
            optimizer=type(self.optimizer).__name__,
            options=_plain(held_settings(self.optimizer)[0]),
            parameters=tuple(parameters),
            modules=tuple(
                Module(name, kind, _settings(self.leaves.get(name)))
                for name, kind in kinds.items()
            ),
            unseen=self.unseen,
            techniques=techniques(self.modules, self.optimizer),
        )


def _parameter(name: str, weight: torch.Tensor, *, held: bool) -> Parameter:
    module = name.partition(".parametrizations.")[0].removeprefix("parametrizations.")
    module = module if module != name else name.rpartition(".")[0]
    return Parameter(
        name,
        module,
        weight.numel(),
        held,
        weight.requires_grad,
        shape=tuple(weight.shape),
    )


def _settings(module: nn.Module | None) -> dict[str, float]:
    """The numbers of a dropout or normalisation that matter to training."""
    held = {} if module is None else {**vars(module), **dict(module.named_parameters())}
    found = {key: held[key] for key in ("p", "eps", "momentum") if key in held}
    settings = {k: float(v) for k, v in found.items() if isinstance(v, (int, float))}
    if "eps" in settings:
        settings["affine"] = float(held.get("weight") is not None)
        settings["track"] = float(bool(held.get("track_running_stats")))
    return settings


def _plain(group: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a parameter group that are numbers, strings or booleans."""
    flat: dict[str, Any] = {}
    for key, value in group.items():
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value = float(value)
        if isinstance(value, (bool, int, float, str)):
            flat[key] = value
        elif isinstance(value, tuple) and key == "betas":
            beta1, beta2 = value[:2]
            flat |= {"betas.0": float(beta1), "betas.1": float(beta2)}
    return flat


def compiled(module: nn.Module) -> bool:
    """Whether a module runs through `torch.compile`."""
    return any(
        getattr(module, own, None) is not None
        for own in ("_orig_mod", "_compiled_call_impl")
    )


def unwrapped(module: nn.Module) -> nn.Module:
    """The user's own module inside DataParallel, DDP and compiled wrappers."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and type(module).__name__ in (
            "DistributedDataParallel",
            "DataParallel",
        ):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def streams(
    models: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> list[Watched]:
    """One stream an optimizer.

    With one model, layers have the model's own names; with several, the key of the
    model stands before them, as in "generator.0.weight". Parameters that belong to
    no model are named after the stream.
    """
    names: dict[int, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    modules: dict[str, nn.Module] = {}
    for key, model in models.items():
        prefix = f"{key}." if len(models) > 1 else ""
        for name, weight in unwrapped(model).named_parameters():
            names.setdefault(id(weight), prefix + name)
            tensors.setdefault(names[id(weight)], weight)
        for name, module in unwrapped(model).named_modules():
            modules[(prefix + name).rstrip(".")] = module
    held = {id(w) for o in optimizers.values() for w in weights_of(o)}
    return [
        _watched(
            stream,
            optimizer,
            models=models,
            names=names,
            modules=modules,
            unheld={n: w for n, w in tensors.items() if id(w) not in held},
        )
        for stream, optimizer in optimizers.items()
    ]


def recorded_weights(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The parameters of an optimizer that can be recorded.

    Parameters sharded over processes (DTensor) are left out: their norms need all
    ranks to take part at the same moment, and a rank that does not would hang.
    """
    return [w for w in weights_of(optimizer) if not hasattr(w, "full_tensor")]


def check(
    models: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> None:
    """Refuse models and optimizers that cannot belong together.

    Raises:
        ValueError: a model has no parameters, or an optimizer holds none of theirs.
    """
    for key, model in models.items():
        if next(model.parameters(), None) is None:
            raise ValueError(
                f"the model {key!r} ({type(model).__name__}) came without parameters; "
                "expected a module with weights to train; pass the module that the "
                "optimizer was made for"
            )
    for stream, optimizer in optimizers.items():
        weights = list(weights_of(optimizer))
        if not _roots_of(weights, models):
            kinds = ", ".join(type(model).__name__ for model in models.values())
            raise ValueError(
                f"the optimizer {stream!r} ({type(optimizer).__name__}, {len(weights)} "
                f"parameters) holds no parameter of the watched model ({kinds}); "
                "expected optimizer and model to share parameters; make the optimizer "
                "from model.parameters() of the same object that is watched"
            )


def _watched(
    stream: str,
    optimizer: torch.optim.Optimizer,
    *,
    models: Mapping[str, nn.Module],
    names: Mapping[int, str],
    modules: Mapping[str, nn.Module],
    unheld: Mapping[str, torch.Tensor],
) -> Watched:
    """The part of the models that one optimizer trains."""
    everything = list(weights_of(optimizer))
    weights = recorded_weights(optimizer)
    known = [w for w in everything if id(w) in names]
    labels = tuple(
        names.get(id(w), f"{stream}.parameter{i}") for i, w in enumerate(weights)
    )
    roots = _roots_of(known, models)
    prefixes = tuple(f"{key}." for key in roots) if len(models) > 1 else ("",)
    own_modules = {n: m for n, m in modules.items() if f"{n}.".startswith(prefixes)}
    leaves, unseen = _leaves(own_modules, roots, {id(w) for w in everything})
    foreign = len(everything) - len(known)
    sharded = len(everything) - len(weights)
    if sharded:
        unseen += (
            f"{sharded} parameters are sharded over processes (FSDP2, tensor "
            "parallel): their norms are not recorded",
        )
    if foreign:
        unseen += (f"{foreign} parameters of the optimizer are in no watched model",)
    return Watched(
        name=stream,
        optimizer=optimizer,
        names=labels,
        weights=tuple(weights),
        roots=roots,
        modules={n: m for n, m in own_modules.items() if n},
        leaves=leaves,
        unheld={n: w for n, w in unheld.items() if n.startswith(prefixes)},
        unseen=unseen,
    )


def _roots_of(
    weights: Sequence[torch.Tensor], models: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    """The models that own some of these weights."""
    wanted = {id(weight) for weight in weights}
    return {
        key: model
        for key, model in models.items()
        if any(id(weight) in wanted for weight in model.parameters())
    }


def _leaves(
    modules: Mapping[str, nn.Module],
    roots: Mapping[str, nn.Module],
    held: set[int],
) -> tuple[dict[str, nn.Module], tuple[str, ...]]:
    """Modules without children to sample, and sentences on what cannot be seen.

    A module without weights belongs to the stream that trains its closest parent.
    """
    unseen: list[str] = []
    inside: set[int] = set()
    for key, root in roots.items():
        if any(compiled(m) for m in root.modules()):
            unseen.append(
                f"activations of {key}: it runs through torch.compile, where hooks "
                "would break the graph; gradients, weights and updates are recorded"
            )
            inside |= {id(m) for m in root.modules()}
    found = {
        name or "model": module
        for name, module in modules.items()
        if _is_leaf(name, module)
        and id(module) not in inside
        and _trained_here(name, modules, held)
    }
    return found, tuple(unseen)


def _is_leaf(name: str, module: nn.Module) -> bool:
    """Whether a module has no children, or none but what computes its own weights."""
    inner = [child for child, _ in module.named_children()]
    return inner in ([], ["parametrizations"]) and "parametrizations" not in name.split(
        "."
    )


def kind_of(module: nn.Module) -> str:
    """Class name; that from before torch's parametrizations changed it.

    >>> kind_of(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    'Linear'
    """
    if parametrize.is_parametrized(module):
        return type(module).__mro__[1].__name__
    return type(module).__name__


def _trained_here(name: str, modules: Mapping[str, nn.Module], held: set[int]) -> bool:
    """Whether the closest module with weights, upwards, has one that is held."""
    while True:
        module = modules.get(name)
        if module is not None:
            weights = list(module.parameters())
            if weights:
                return any(id(w) in held for w in weights)
        if not name:
            return True
        name = name.rpartition(".")[0]


def covers(watched: Watched) -> bool:
    """Whether the optimizer still holds the parameters that were named."""
    now = [id(weight) for weight in recorded_weights(watched.optimizer)]
    return now == [id(weight) for weight in watched.weights]
