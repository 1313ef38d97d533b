"""Which weights, in which order: a model comes in, flat vectors over them go out.

A tensor that stands in several places (tied weights) is one tensor and counts once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import nn

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.wrappers import unwrapped

Where: TypeAlias = (
    str
    | Sequence[str]
    | Sequence[torch.Tensor]
    | Callable[[str, torch.Tensor], bool]
    | None
)
"""Which weights: None for all that are trained, names of modules or parameters, the
tensors themselves (such as `group["params"]` of an optimizer), or a predicate of a
parameter's name and tensor."""

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Parts of names that torch's wrappers put in: the user's own names have none."""

SHOWN = 5
"""Names that an error lists."""


class Space:
    """Some weights of a model, and flat vectors over them.

    Attributes:
        names: of the tensors, as `model.named_parameters()` has them, without the
            prefixes of wrappers.
        tensors: the weights, tied ones once, only those that require a gradient.
        size: elements of a flat vector.
        dtype: of flat vectors: that of the weights, or the widest among them.
        device: of flat vectors: that of the first weight.
        slices: where each named tensor lies in a flat vector.
    """

    def __init__(
        self,
        names: Sequence[str],
        tensors: Sequence[torch.Tensor],
        *,
        origins: Sequence[torch.Tensor] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.names, self.tensors = tuple(names), tuple(tensors)
        self.origins = self.tensors if origins is None else tuple(origins)
        self.aliases: Mapping[str, str] = aliases or {}
        self.sizes = tuple(tensor.numel() for tensor in self.tensors)
        self.size = sum(self.sizes)
        self.dtype = _widest(self.names, self.tensors)
        self.device = self.tensors[0].device
        ends = torch.tensor((0, *self.sizes)).cumsum(0).tolist()
        self.slices: Mapping[str, slice] = {
            name: slice(start, end)
            for name, start, end in zip(self.names, ends[:-1], ends[1:], strict=True)
        }
        self._uniform = all(
            tensor.dtype == self.dtype and tensor.device == self.device
            for tensor in self.tensors
        )

    def __repr__(self) -> str:
        return f"Space({self.size:,} elements of {len(self.names)} tensors)"

    def flat(self, tensors: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """One vector [size] of tensors with the shapes of the weights; None is zero."""
        pieces = [
            like.new_zeros(like.numel(), dtype=self.dtype, device=self.device)
            if one is None
            else one.reshape(-1)
            for one, like in zip(tensors, self.tensors, strict=True)
        ]
        if not self._uniform:
            pieces = [one.to(device=self.device, dtype=self.dtype) for one in pieces]
        return torch.cat(pieces)

    def split(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """A vector [size] as tensors with the shapes of the weights.

        They are views of it where weight and vector have one dtype and device.
        """
        pieces = [
            piece.view_as(like)
            for piece, like in zip(
                vector.contiguous().split(self.sizes), self.tensors, strict=True
            )
        ]
        if self._uniform:
            return pieces
        return [
            piece.to(device=like.device, dtype=like.dtype)
            for piece, like in zip(pieces, self.tensors, strict=True)
        ]

    def chosen(self, where: Where) -> tuple[int, ...]:
        """Places in `names` and `tensors` of those that `where` names.

        Raises:
            CurvatureError: a name or a tensor is not in this space, or none is left.
        """
        if where is None:
            return tuple(range(len(self.names)))
        if callable(where):
            pairs = zip(self.names, self.origins, strict=True)
            found = {place for place, pair in enumerate(pairs) if where(*pair)}
        else:
            wanted = [where] if isinstance(where, str) else list(where)
            found = {place for one in wanted for place in self._places(one)}
        if not found:
            raise CurvatureError(
                f"no trainable weight is chosen by where={_short(where)}; this space "
                f"has {_listed(self.names)}"
            )
        return tuple(sorted(found))

    def part(self, places: Sequence[int]) -> Space:
        """The space of some of these tensors, by their places."""
        kept = {self.names[place] for place in places}
        return Space(
            [self.names[place] for place in places],
            [self.tensors[place] for place in places],
            origins=[self.origins[place] for place in places],
            aliases={k: v for k, v in self.aliases.items() if v in kept},
        )

    def standing_in(self, tensors: Sequence[torch.Tensor]) -> Space:
        """The same space with other tensors in the place of the model's own."""
        return Space(self.names, tensors, origins=self.origins, aliases=self.aliases)

    def _places(self, one: str | torch.Tensor) -> list[int]:
        if isinstance(one, torch.Tensor):
            known = (*self.origins, *self.tensors)
            places = [
                place % len(self.names) for place, t in enumerate(known) if t is one
            ]
            if not places and one.requires_grad:
                raise CurvatureError(
                    f"a tensor of shape {tuple(one.shape)} in where= is no weight of "
                    f"this space; it has {_listed(self.names)}"
                )
            return places
        return self._named(_plain(one))

    def _named(self, name: str) -> list[int]:
        every = {**{own: own for own in self.names}, **self.aliases}
        inside = {
            own
            for alias, own in every.items()
            if name in ("", alias) or alias.startswith(f"{name}.")
        }
        if not inside:
            near = difflib.get_close_matches(name, _modules_of(every), n=SHOWN)
            raise CurvatureError(
                f"nothing trainable is called {name!r}; "
                + (f"close to it: {', '.join(near)}" if near else "there is ")
                + ("" if near else _listed(self.names))
            )
        return [place for place, own in enumerate(self.names) if own in inside]


def space(model: nn.Module, where: Where = None) -> Space:
    """The trainable weights of a model, or some of them, in the model's order.

    Raises:
        CurvatureError: the model has none, or `where` names none.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> space(model, ["2"]).names
    ('2.weight', '2.bias')
    >>> [tuple(one.shape) for one in space(model, "0").split(torch.arange(9.0))]
    [(3, 2), (3,)]
    """
    first: dict[int, str] = {}
    tensors: list[torch.Tensor] = []
    aliases: dict[str, str] = {}
    inner = unwrapped(model)
    for long_name, tensor in inner.named_parameters(remove_duplicate=False):
        name = _plain(long_name)
        if not tensor.requires_grad:
            continue
        if id(tensor) in first:
            aliases[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
            tensors.append(tensor)
    if not tensors:
        raise CurvatureError(
            "the model has no trainable parameter; set requires_grad on the weights "
            "whose curvature is asked for"
        )
    whole = Space(tuple(first.values()), tensors, aliases=aliases)
    return whole if where is None else whole.part(whole.chosen(where))


def _plain(name: str) -> str:
    """A parameter's name without what wrappers put in."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _widest(names: Sequence[str], tensors: Sequence[torch.Tensor]) -> torch.dtype:
    dtype = tensors[0].dtype
    for name, tensor in zip(names, tensors, strict=True):
        if not tensor.is_floating_point():
            raise CurvatureError(
                f"{name} has dtype {tensor.dtype}; expected real floating-point weights"
            )
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def _modules_of(names: Mapping[str, str]) -> list[str]:
    """Names of parameters and of all modules around them."""
    found: dict[str, None] = {}
    for name in names:
        while name:
            found[name] = None
            name = name.rpartition(".")[0]
    return list(found)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _short(where: Where) -> str:
    text = getattr(where, "__name__", "") or repr(where)
    return text if len(text) <= 60 else text[:57] + "..."
