"""JSON of one stream comes in, `Facts` go out; what is missing or odd stays empty.

Records outlive versions, so nothing here raises over an unknown or absent key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from surefoot.types import Facts, Module, Parameter, Technique


def facts_in(stream: str, body: Any) -> Facts:
    """The facts of a stream from its JSON in `meta["streams"]`.

    >>> facts_in("main", {"optimizer": "SGD", "new": 1}).optimizer
    'SGD'
    """
    told = _object(body)
    return Facts(
        stream=stream,
        model=_text(told, "model"),
        optimizer=_text(told, "optimizer"),
        options=dict(_object(told.get("options"))),
        parameters=tuple(_parameter(one) for one in _objects(told, "parameters")),
        modules=tuple(
            Module(_text(one, "name"), _text(one, "kind"), _numbers(one, "settings"))
            for one in _objects(told, "modules")
        ),
        unseen=tuple(str(one) for one in _list(told, "unseen")),
        techniques=tuple(_technique(one) for one in _objects(told, "techniques")),
    )


def _parameter(told: Mapping[str, Any]) -> Parameter:
    size = told.get("size")
    return Parameter(
        name=_text(told, "name"),
        module=_text(told, "module"),
        size=int(size) if isinstance(size, int | float) else 0,
        held=bool(told.get("held", True)),
        trainable=bool(told.get("trainable", True)),
        shape=tuple(int(n) for n in _list(told, "shape") if isinstance(n, int | float)),
    )


def _technique(told: Mapping[str, Any]) -> Technique:
    return Technique(
        family=_text(told, "family"),
        name=_text(told, "name"),
        where=tuple(str(one) for one in _list(told, "where")),
        settings=_numbers(told, "settings"),
    )


def _objects(told: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [_object(one) for one in _list(told, key) if isinstance(one, Mapping)]


def _object(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _list(told: Mapping[str, Any], key: str) -> list[Any]:
    value = told.get(key)
    return cast(list[Any], value) if isinstance(value, list) else []


def _numbers(told: Mapping[str, Any], key: str) -> dict[str, float]:
    held = _object(told.get(key))
    return {k: float(v) for k, v in held.items() if isinstance(v, int | float)}


def _text(told: Mapping[str, Any], key: str) -> str:
    return str(told.get(key, ""))
