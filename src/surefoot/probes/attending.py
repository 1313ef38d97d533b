"""Where attention happens: calls of torch's own functions come in, rows of them go out.

Attention is a function as often as a module. So while an armed pass runs, and only
then, the functions stand behind one that looks at a few rows of what they are given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from surefoot.probes.activations import in_training_pass
from surefoot.probes.attention import Rows, sampled_logits, sampled_rows, statistics
from surefoot.probes.meter import Meter
from surefoot.probes.shield import Shield
from surefoot.probes.streams import compiled
from surefoot.restore.hooks import VanishingHook

PLACES = (
    (functional, "scaled_dot_product_attention"),
    (torch, "softmax"),
    (torch.Tensor, "softmax"),
)
"""Where the functions are looked up; `nn.Softmax` and `F.softmax` call the method."""
AFTER_KEY = ("value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
"""Arguments of `scaled_dot_product_attention` after the queries and keys."""
FRUITLESS = 3
"""Passes without an attention after which none is looked for any more."""


class Attending:
    """Looks at the attentions of the first training pass of an armed step."""

    def __init__(
        self,
        roots: Mapping[str, nn.Module],
        modules: Mapping[str, nn.Module],
        leaves: Mapping[str, nn.Module],
        *,
        meter: Meter,
        shield: Shield,
    ) -> None:
        self.armed = False
        self.meter = meter
        self.shield = shield
        self._roots = tuple(roots.values())
        whole = any(compiled(m) for root in self._roots for m in root.modules())
        known = {name for name, module in modules.items() if _is(name, module)}
        self._enters = [
            (module, _Enter(self, _told_by(name, known)))
            for name, module in {**leaves, **modules}.items()
            if not whole and (name in leaves or name in known)
        ]
        self._handles: list[RemovableHandle] = []
        self._patches: list[_Patch] = []
        self._found: dict[str, Rows] = {}
        self._where = ""
        self._fruitless = 0
        self._passed = False
        self.cost_seconds = 0.0

    def arm(self) -> None:
        """Wait for the next training pass."""
        self.remove()
        self._found, self._passed = {}, False
        if self._fruitless >= FRUITLESS or not self._enters or _compiles():
            return
        self.armed = True
        for root in self._roots:
            self._handles += [
                root.register_forward_pre_hook(_Begin(self), prepend=True),
                root.register_forward_hook(_End(self), always_call=True),
            ]

    def remove(self) -> None:
        """Put everything back."""
        self.armed = False
        self._put_back()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def take(self) -> Mapping[str, Rows]:
        """What was found, by the name of the module; the hooks are off."""
        if self._handles:
            self.remove()
        if self._passed:
            self._fruitless = 0 if self._found else self._fruitless + 1
        self._passed = False
        return self._found

    # --- one pass --------------------------------------------------------------

    def begin(self) -> None:
        """A pass begins: stand in front of the functions."""
        if not self.armed or self._patches or not in_training_pass():
            return
        self._where, self._passed = "", True
        self._handles += [
            module.register_forward_pre_hook(enter) for module, enter in self._enters
        ]
        self._patches = [_Patch(owner, name, self._called) for owner, name in PLACES]

    def end(self) -> None:
        """The pass is over: what it called is as before."""
        if self._patches:
            self._put_back()
            self.armed = False

    def enter(self, name: str) -> None:
        """A module is called: attention from here on is named after it."""
        self._where = name

    def _put_back(self) -> None:
        for patch in reversed(self._patches):
            patch.remove()
        self._patches = []

    def _called(self, function: str, args: Any, kwargs: Any) -> None:
        """A function is called inside the pass."""
        where = self._where or "model"
        if where in self._found or not in_training_pass() or _traced():
            return
        with self.meter, torch.no_grad():
            self.shield.run("attention", lambda: self._look(function, args, kwargs))
        self.cost_seconds += self.meter.spent

    def _look(self, function: str, args: Any, kwargs: Any) -> None:
        """Look at one call, with autocast off: its products would be rounded."""
        given = (*args, *kwargs.values())
        first = next((one for one in given if isinstance(one, torch.Tensor)), None)
        device = "" if first is None else first.device.type
        if device not in ("cpu", "cuda"):
            return
        with torch.autocast(device, enabled=False):
            softmax = function == "softmax"
            read = _of_softmax if softmax else _of_attention
            rows = read(*args, **kwargs)
        if rows is not None:
            self._found[self._where or "model"] = rows


def _of_attention(
    query: torch.Tensor, key: torch.Tensor, *rest: Any, **named: Any
) -> Rows | None:
    """Rows of `scaled_dot_product_attention`, whose arguments these are."""
    if not _plain(query) or not _plain(key) or query.dim() < 2:
        return None
    given = {**dict(zip(AFTER_KEY, rest, strict=False)), **named}
    logits = sampled_logits(
        query.detach(),
        key.detach(),
        given.get("attn_mask"),
        causal=bool(given.get("is_causal")),
        scale=given.get("scale"),
    )
    return statistics(logits)


def _of_softmax(
    input: torch.Tensor,
    dim: int | None = None,
    *rest: Any,
    **more: Any,
) -> Rows | None:
    """Rows of a softmax over the keys of as many queries."""
    del rest, more
    if not _plain(input) or input.dim() < 3 or dim not in (-1, input.dim() - 1):
        return None
    if input.shape[-1] != input.shape[-2] or input.shape[-1] < 2:
        return None
    return statistics(sampled_rows(input.detach()))


def _plain(tensor: Any) -> bool:
    """Whether a tensor is one whose rows can be picked."""
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.layout is torch.strided
        and not tensor.is_nested
        and not hasattr(tensor, "full_tensor")
        and tensor.is_floating_point()
        and tensor.numel() > 0
    )


class _Patch:
    """One function that stands in front of another, until `remove`."""

    def __init__(
        self, owner: Any, name: str, look: Callable[[str, Any, Any], None]
    ) -> None:
        self._owner, self._name = owner, name
        self._own = name in vars(owner)
        self.inner: Any = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if not torch.compiler.is_compiling():
                look(name, args, kwargs)
            return self.inner(*args, **kwargs)

        self._call = call
        call.surefoot = self  # pyright: ignore[reportFunctionMemberAccess]
        setattr(owner, name, call)

    def remove(self) -> None:
        """Take this one out of the row of those that stand in front."""
        current = vars(self._owner).get(self._name)
        if current is self._call:
            if self._own:
                setattr(self._owner, self._name, self.inner)
            else:
                delattr(self._owner, self._name)
            return
        outer = getattr(current, "surefoot", None)
        while isinstance(outer, _Patch):
            if outer.inner is self._call:
                outer.inner, outer._own = self.inner, self._own
                return
            outer = getattr(outer.inner, "surefoot", None)


class _Begin(VanishingHook):
    """The hook before the forward pass of a root."""

    def __init__(self, attending: Attending) -> None:
        self._attending = attending

    def __call__(self, module: nn.Module, args: Any) -> None:
        _metered(self._attending, self._attending.begin)


class _End(VanishingHook):
    """The hook after the forward pass of a root."""

    def __init__(self, attending: Attending) -> None:
        self._attending = attending

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        _metered(self._attending, self._attending.end)


def _metered(attending: Attending, action: Callable[[], None]) -> None:
    if torch.compiler.is_compiling():
        return
    with attending.meter:
        attending.shield.run("attention", action)
    attending.cost_seconds += attending.meter.spent


class _Enter(VanishingHook):
    """The hook before a module: what comes now is named after it."""

    def __init__(self, attending: Attending, name: str) -> None:
        self._attending = attending
        self._name = name

    def __call__(self, module: nn.Module, args: Any) -> None:
        if not torch.compiler.is_compiling():
            self._attending.enter(self._name)


def _is(name: str, module: nn.Module) -> bool:
    """Whether a module calls itself an attention: layers inside one do not count."""
    said = type(module).__name__.lower()
    if next(module.children(), None) is not None:
        said += " " + name.rpartition(".")[2].lower()
    return "attention" in said or "attn" in said


def _told_by(name: str, known: set[str]) -> str:
    """The closest attention around a module, itself included, else its parent."""
    around = name
    while around and around not in known:
        around = around.rpartition(".")[0]
    return around or name.rpartition(".")[0]


def _traced() -> bool:
    """Whether TorchScript is tracing: what is called becomes a part of its graph."""
    return bool(torch._C._get_tracing_state())  # pyright: ignore[reportPrivateUsage]


def _compiles() -> bool:
    """Whether anything was compiled in this process: its guards know the functions."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return dynamo is not None and bool(dynamo.counters.get("frames"))
