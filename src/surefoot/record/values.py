"""JSON of a file comes in, frozen values of `types.py` go out, or a plain refusal.

Nothing in a file can make anything but the values that were asked for: this only
ever fills fields of dataclasses with numbers, texts and JSON.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin
from typing import get_type_hints as hints_of

Value = TypeVar("Value")

_WORDS: Mapping[str, float] = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""Numbers that JSON has no sign for, as `strict` writes them."""


def value_of(kind: type[Value], told: Any) -> Value:
    """A dataclass of our own from its JSON object.

    Unknown keys are passed over and absent ones take their default, so that files of
    other versions open.

    Args:
        kind: The dataclass.
        told: What `json.loads` gave.

    Raises:
        ValueError: a field is missing or of another type; the message names it.

    >>> from surefoot.types import Change
    >>> value_of(Change, {"knob": "lr", "op": "scale", "amount": 0.5, "new": 1})
    Change(knob='lr', op='scale', amount=0.5, layers=())
    """
    return cast(Value, _dataclass(kind, told, kind.__name__))


def strict(value: Any) -> Any:
    """A value as JSON in the strict sense: NaN and infinities become words.

    >>> strict((1.5, math.nan, {"top": math.inf}))
    [1.5, 'nan', {'top': 'inf'}]
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return strict(dataclasses.asdict(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        items = cast(Mapping[object, object], value).items()
        return {str(key): strict(one) for key, one in items}
    if isinstance(value, list | tuple):
        return [strict(one) for one in cast(Sequence[object], value)]
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)


def _dataclass(kind: type, told: Any, where: str) -> Any:
    if not isinstance(told, Mapping):
        raise _refused(told, "an object", where)
    given = cast(Mapping[str, Any], told)
    hints = hints_of(kind)
    filled = {
        field.name: _value(
            hints[field.name], given[field.name], f"{where}.{field.name}"
        )
        for field in dataclasses.fields(kind)
        if field.name in given
    }
    try:
        return kind(**filled)
    except TypeError as error:
        raise ValueError(f"{where} is incomplete: {error}") from error


def _value(hint: Any, told: Any, where: str) -> Any:
    """`told` as a value of the type `hint`."""
    origin, parts = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _dataclass(cast(type, hint), told, where)
    if origin is tuple:
        return _tuple(parts, told, where)
    if origin in (Union, types.UnionType):
        return _either(parts, told, where)
    if origin is Literal:
        if told not in parts:
            raise _refused(told, f"one of {', '.join(map(str, parts))}", where)
        return told
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(told, Mapping):
            raise _refused(told, "an object", where)
        return dict(cast(Mapping[str, Any], told))
    return _plain(hint, told, where)


def _tuple(parts: tuple[Any, ...], told: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(told, list):
        raise _refused(told, "a list", where)
    items = cast(list[Any], told)
    if parts[-1] is Ellipsis:
        parts = parts[:1] * len(items)
    if len(items) != len(parts):
        raise _refused(told, f"a list of {len(parts)}", where)
    return tuple(
        _value(part, item, f"{where}[{at}]")
        for at, (part, item) in enumerate(zip(parts, items, strict=True))
    )


def _either(parts: tuple[Any, ...], told: Any, where: str) -> Any:
    """The first of several types that fits; a text stays a text where it may be."""
    if isinstance(told, str) and str in parts:
        return told
    for part in parts:
        try:
            return _value(part, told, where)
        except ValueError:
            continue
    raise _refused(told, " or ".join(str(part) for part in parts), where)


def _plain(hint: Any, told: Any, where: str) -> Any:
    if hint is float and isinstance(told, str) and told in _WORDS:
        return _WORDS[told]
    if hint is float and isinstance(told, int | float) and not isinstance(told, bool):
        return _number(told, where)
    if hint in (str, bool) and isinstance(told, hint):
        return told
    if hint is int and isinstance(told, int) and not isinstance(told, bool):
        return told
    if hint is types.NoneType and told is None:
        return None
    raise _refused(told, getattr(hint, "__name__", str(hint)), where)


def _number(told: float, where: str) -> float:
    try:
        return float(told)
    except OverflowError as error:  # a whole number of hundreds of digits
        raise _refused("a number beyond 1e308", "float", where) from error


def _refused(told: object, expected: str, where: str) -> ValueError:
    return ValueError(f"{where} came as {str(told)[:80]!r}; expected {expected}")
