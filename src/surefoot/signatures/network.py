"""The network as the record knows it: Facts come in, layers in depth order go out."""

from __future__ import annotations

from surefoot.types import Facts, Parameter

NOT_DEEP = ("Norm", "Embedding")
"""Kinds whose weights are gains or tables: their gradient says little about depth."""

WEIGHTED = ("Linear", "Conv", "LSTM", "GRU", "RNN", "Attention", "Bilinear")

SMALLEST_WEIGHT = 16
"""Elements below which a tensor is a gate or a gain, not a weight matrix."""


def kinds(facts: Facts) -> dict[str, str]:
    """Class name of each module by its name."""
    return {module.name: module.kind for module in facts.modules}


def module_depths(facts: Facts) -> dict[str, int]:
    """Place of each module in the order of the forward pass, 0 next to the input."""
    return {module.name: place for place, module in enumerate(facts.modules)}


def depths(facts: Facts) -> dict[str, float]:
    """Depth of each parameter: the place of its module in the forward pass.

    A parameter whose module was not seen stands just after the one registered
    before it.
    """
    places = module_depths(facts)
    found: dict[str, float] = {}
    last = -1.0
    for parameter in facts.parameters:
        known = places.get(parameter.module)
        last = float(known) if known is not None else last + 1e-6
        found[parameter.name] = last
    return found


def is_weight(parameter: Parameter, kind: str) -> bool:
    """Whether a parameter is a weight matrix or kernel, and not a bias or a gain."""
    own = parameter.name.rpartition(".")[2]
    return (
        "bias" not in own
        and parameter.size >= SMALLEST_WEIGHT
        and not any(word in kind for word in NOT_DEEP)
    )


def weights(facts: Facts) -> tuple[str, ...]:
    """Trained weight matrices and kernels, from the input to the output."""
    kind = kinds(facts)
    depth = depths(facts)
    found = [
        parameter.name
        for parameter in facts.parameters
        if parameter.held
        and parameter.trainable
        and is_weight(parameter, kind.get(parameter.module, ""))
    ]
    return tuple(sorted(found, key=lambda name: depth[name]))


def owner(facts: Facts, name: str) -> str:
    """The module of a parameter; the part before the last dot if it is unknown."""
    for parameter in facts.parameters:
        if parameter.name == name:
            return parameter.module
    return name.rpartition(".")[0]


def output_module(facts: Facts) -> str:
    """The last module with a weight matrix in the forward pass, "" if unknown."""
    last = [m.name for m in facts.modules if any(word in m.kind for word in WEIGHTED)]
    return last[-1] if last else ""


def outputs(facts: Facts) -> int:
    """Number of outputs of the network; 0 if unknown.

    The size of the last bias, else that of the last weight over the width before it,
    which is that of the last bias or gain on the way.
    """
    last = output_module(facts)
    own = [p for p in facts.parameters if p.module == last]
    for parameter in own:
        if parameter.name.endswith("bias"):
            return parameter.size
    depth = depths(facts)
    before = [
        p
        for p in facts.parameters
        if own and depth[p.name] < depth[own[0].name] and _is_row(p)
    ]
    if not before:
        return 0
    width = max(before, key=lambda p: depth[p.name]).size
    return own[0].size // width if own[0].size % width == 0 else 0


def _is_row(parameter: Parameter) -> bool:
    """Whether a parameter is a bias or the gain of a normalisation."""
    own = parameter.name.rpartition(".")[2]
    return "bias" in own or "norm" in parameter.module.lower()


def attends(facts: Facts) -> bool:
    """Whether the network is a transformer, by the names of its parts."""
    names = [f"{module.name} {module.kind}" for module in facts.modules]
    names += [parameter.name for parameter in facts.parameters]
    return any("attention" in n.lower() or "attn" in n.lower() for n in names)


def post_normalised(facts: Facts) -> bool:
    """Whether the repeated blocks of a network end with a normalisation.

    A block is what shares a name up to its first number, such as "blocks.0".
    """
    blocks: dict[str, list[str]] = {}
    for module in facts.modules:
        parts = module.name.split(".")
        place = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        if place is not None and len(parts) > place + 1:
            blocks.setdefault(".".join(parts[: place + 1]), []).append(module.kind)
    ends = [kinds[-1] for kinds in blocks.values() if "Norm" not in kinds[0]]
    return len(ends) > 1 and all("Norm" in kind for kind in ends)


def weights_before(facts: Facts, module: str) -> str:
    """The last module with weights before a module, or the module itself."""
    owners = {p.module for p in facts.parameters if p.size >= SMALLEST_WEIGHT}
    found = module
    for one in facts.modules:
        if one.name == module:
            break
        if one.name in owners:
            found = one.name
    return found


def unit(name: str) -> str:
    """The module that a layer name of the activation quantities belongs to."""
    return name.removesuffix(" (input)")
