"""A nest of plain values and tensors comes in, JSON and named tensors go out; and back.

Only what is listed here can be packed, and only that can come out: unpacking builds
numbers, strings, containers, tensors and arrays, and never looks up anything by name.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

Json = Any
"""What the json module takes: None, bool, int, finite float, str, lists and dicts."""

DEEPEST = 40
"""Levels of a nest: state dicts have five or so; what is deeper refers to itself."""

DTYPES: Mapping[str, torch.dtype] = {
    str(one).removeprefix("torch."): one
    for one in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64,
        torch.complex128, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool,
        torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz,
        torch.float8_e5m2fnuz,
    )
}  # fmt: skip
"""Number formats by name, as in "float32"."""


NAMES_A_TENSOR = ("tensor", "array", "number", "bytes")
"""Kinds of packed values whose content is the name of a tensor."""


class PackError(ValueError):
    """A value that cannot be packed, or something packed that makes no value."""


class Packer:
    """Packs nests one after another; their tensors gather in `tensors` by name.

    Tensors are kept as they are, not copied. Entries of dicts that cannot be packed
    are left out, and named in `left_out`.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.left_out: list[str] = []
        self._names: dict[int, str] = {}

    def pack(self, value: Any, name: str) -> Json:
        """One nest as JSON; its tensors are called after `name`.

        Raises:
            PackError: it holds an object of a kind that cannot be packed.

        >>> packer = Packer()
        >>> packer.pack({"betas": (0.9, 0.99), "lr": torch.tensor(0.1)}, "group")
        ... # doctest: +NORMALIZE_WHITESPACE
        {'is': 'dict', 'of': [['betas', {'is': 'tuple', 'of': [0.9, 0.99]}],
                              ['lr', {'is': 'tensor', 'of': 'group/lr'}]]}
        >>> list(packer.tensors)
        ['group/lr']
        """
        return self._packed(value, name, 0)

    def _packed(self, value: Any, name: str, depth: int) -> Json:
        if depth > DEEPEST:
            raise PackError(
                f"{name}: deeper than {DEEPEST} levels; it refers to itself"
            )
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.generic | np.ndarray):
            return self._array(value, name)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else _is("float", str(value))
        if isinstance(value, Tensor):
            return _is("tensor", self._put(value, name))
        if isinstance(value, Mapping):
            return self._mapping(value, name, depth)
        if isinstance(value, Sequence | set | frozenset | deque):
            return self._sequence(value, name, depth)
        return self._rare(value, name)

    def _put(self, tensor: Tensor, name: str) -> str:
        """Take a tensor under a name that is free; one that came before has its own."""
        if id(tensor) in self._names:
            return self._names[id(tensor)]
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            raise PackError(
                f"{name}: a tensor came as {tensor.layout} on {tensor.device}; "
                "expected a dense one with values"
            )
        if str(tensor.dtype).removeprefix("torch.") not in DTYPES:
            raise PackError(f"{name}: tensors of {tensor.dtype} cannot be packed")
        free, number = name, 2
        while free in self.tensors:
            free, number = f"{name}#{number}", number + 1
        self.tensors[free] = tensor
        self._names[id(tensor)] = free
        return free

    def _array(self, value: Any, name: str) -> Json:
        if not isinstance(value, np.ndarray):
            value = np.asarray(value)
            return _is("number", self._put(_from_array(value, name), name))
        return _is("array", self._put(_from_array(value, name), name))

    def _mapping(self, value: Mapping[Any, Any], name: str, depth: int) -> Json:
        pairs: list[Json] = []
        for key, inner in value.items():
            label = f"{name}/{key}"
            try:
                packed = self._packed(inner, label, depth + 1)
                pairs.append([self._packed(key, f"{label} (key)", depth + 1), packed])
            except PackError as error:
                if depth + 1 > DEEPEST:
                    raise
                self.left_out.append(str(error))
        kinds = ((Counter, "counter"), (OrderedDict, "ordered"))
        kind = next((k for cls, k in kinds if isinstance(value, cls)), "dict")
        return _is(kind, pairs)

    def _sequence(self, value: Iterable[Any], name: str, depth: int) -> Json:
        if isinstance(value, bytes | bytearray):
            raw = torch.from_numpy(np.frombuffer(value, dtype=np.uint8).copy())
            return _is("bytes", self._put(raw, name))
        if isinstance(value, range):
            return _is("range", [value.start, value.stop, value.step])
        inner = [self._packed(v, f"{name}/{i}", depth + 1) for i, v in enumerate(value)]
        if isinstance(value, list):
            return inner
        kinds: tuple[tuple[type, str], ...] = (
            (torch.Size, "size"),
            (PackedSequence, "packed_sequence"),
            (tuple, "tuple"),
            (set, "set"),
            (frozenset, "set"),
            (deque, "deque"),
        )
        kind = next((k for cls, k in kinds if isinstance(value, cls)), None)
        if kind is None:
            raise PackError(f"{name}: {_kind(value)} cannot be packed")
        ends = [value.maxlen] if isinstance(value, deque) else []
        return _is(kind, [inner, *ends] if kind == "deque" else inner)

    def _rare(self, value: Any, name: str) -> Json:
        if isinstance(value, torch.dtype | torch.device):
            kind = "dtype" if isinstance(value, torch.dtype) else "device"
            return _is(kind, str(value).removeprefix("torch."))
        if isinstance(value, complex):
            return _is("complex", [self._packed(p, name, 0) for p in _parts(value)])
        raise PackError(f"{name}: {_kind(value)} cannot be packed")


def unpack(packed: Json, tensors: Mapping[str, Tensor]) -> Any:
    """The nest that was packed; tensors in it are those of the mapping.

    Raises:
        PackError: it was not made by `Packer`, or names a tensor that is not there.

    >>> packer = Packer()
    >>> unpack(packer.pack((1, float("inf")), "x"), packer.tensors)
    (1, inf)
    """
    if packed is None or isinstance(packed, bool | int | float | str):
        return packed
    if isinstance(packed, list):
        return [unpack(inner, tensors) for inner in _items(packed)]
    if not isinstance(packed, dict) or set(_keys(packed)) != {"is", "of"}:
        raise PackError(f"a packed value came as {str(packed)[:80]!r}")
    known = _UNPACK.get(str(packed["is"]))
    if known is None:
        raise PackError(
            f"a packed value of the unknown kind {str(packed['is'])[:40]!r}"
        )
    try:
        return known(packed["of"], tensors)
    except PackError:
        raise
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise PackError(
            f"a packed {packed['is']} makes no value ({str(error)[:120]})"
        ) from error


def tensors_in(packed: Json) -> Iterator[str]:
    """The names of all tensors in something packed."""
    if isinstance(packed, list):
        for inner in packed:  # pyright: ignore[reportUnknownVariableType]
            yield from tensors_in(inner)
    elif isinstance(packed, dict):
        of: Any = packed.get("of")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if packed.get("is") in NAMES_A_TENSOR:  # pyright: ignore[reportUnknownMemberType]
            yield from [of] if isinstance(of, str) else []
        else:
            yield from tensors_in(of)


def _is(kind: str, of: Json) -> Json:
    return {"is": kind, "of": of}


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _parts(value: complex) -> tuple[float, float]:
    return value.real, value.imag


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise PackError(f"a list was expected, {type(value).__name__} came")
    return value  # pyright: ignore[reportUnknownVariableType]


def _keys(value: Any) -> Iterable[Any]:
    return value.keys()


def _from_array(value: Any, name: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(value, order="C", copy=True))
    except TypeError as error:
        raise PackError(
            f"{name}: an array of {value.dtype} cannot be packed"
        ) from error


def _tensor(name: Json, tensors: Mapping[str, Tensor]) -> Tensor:
    if not isinstance(name, str) or name not in tensors:
        raise PackError(f"the tensor {str(name)[:80]!r} is missing")
    return tensors[name]


def _pairs(of: Json, tensors: Mapping[str, Tensor]) -> list[tuple[Any, Any]]:
    return [
        (unpack(k, tensors), unpack(v, tensors)) for k, v in map(_items, _items(of))
    ]


def _list(of: Json, tensors: Mapping[str, Tensor]) -> list[Any]:
    return [unpack(inner, tensors) for inner in _items(of)]


def _range(of: Json, tensors: Mapping[str, Tensor]) -> range:
    start, stop, step = _items(of)
    return range(int(start), int(stop), int(step))


def _deque(of: Json, tensors: Mapping[str, Tensor]) -> deque[Any]:
    inner, most = _items(of)
    return deque(_list(inner, tensors), maxlen=None if most is None else int(most))


def _packed_sequence(of: Json, tensors: Mapping[str, Tensor]) -> PackedSequence:
    parts = _list(of, tensors)
    # torch takes anything for the parts, and asserts.
    if len(parts) != 4 or not all(isinstance(one, Tensor) for one in parts[:2]):
        raise PackError("a packed sequence came without its four parts")
    return PackedSequence(*parts)


def _float(of: Json, tensors: Mapping[str, Tensor]) -> float:
    if of not in ("nan", "inf", "-inf"):
        raise PackError(f"a float came as {str(of)[:40]!r}")
    return float(of)


def _dtype(of: Json, tensors: Mapping[str, Tensor]) -> torch.dtype:
    if str(of) not in DTYPES:
        raise PackError(f"the number format {str(of)[:40]!r} is unknown")
    return DTYPES[str(of)]


def _bytes(of: Json, tensors: Mapping[str, Tensor]) -> bytes:
    return _tensor(of, tensors).numpy().tobytes()


_UNPACK: Mapping[str, Callable[[Json, Mapping[str, Tensor]], Any]] = {
    "tensor": _tensor,
    "array": lambda of, tensors: _tensor(of, tensors).numpy().copy(),
    "number": lambda of, tensors: _tensor(of, tensors).numpy()[()],
    "dict": lambda of, tensors: dict(_pairs(of, tensors)),
    "ordered": lambda of, tensors: OrderedDict(_pairs(of, tensors)),
    "counter": lambda of, tensors: Counter(dict(_pairs(of, tensors))),
    "tuple": lambda of, tensors: tuple(_list(of, tensors)),
    "set": lambda of, tensors: set(_list(of, tensors)),
    "size": lambda of, tensors: torch.Size(_list(of, tensors)),
    "packed_sequence": _packed_sequence,
    "deque": _deque,
    "range": _range,
    "float": _float,
    "complex": lambda of, tensors: complex(*_list(of, tensors)),
    "bytes": _bytes,
    "dtype": _dtype,
    "device": lambda of, tensors: torch.device(str(of)),
}
"""How each kind is built again."""
