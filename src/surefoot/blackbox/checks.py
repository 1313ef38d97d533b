"""What was read from a file comes in; it goes on only if it is what we write."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surefoot.blackbox.pack import Json, tensors_in, unpack
from surefoot.restore.random_streams import RandomStreams


class IncidentError(ValueError):
    """An incident file that cannot be read; the message says why."""


def check_rest(rest: Any, tensors: Mapping[str, Tensor]) -> None:
    """Refuse the JSON of a State that does not have its parts.

    Raises:
        IncidentError: a part is missing or of another kind.
        PackError: something packed in it makes no value.
    """
    _have(rest, "models", "optimizers", "also", "random", "left_out")
    for model in _rows(rest["models"]):
        _have(model, "class", "tensors", "training", "plain", "extra")
        for name in _rows(model["tensors"]):
            if not isinstance(name, str) or name not in tensors:
                raise IncidentError(f"the tensor {str(name)[:60]!r} is missing")
        _all_text(model["training"])
        for values in _rows(model["plain"]):
            if any(type(one) not in (bool, int, float) for one in _rows(values)):
                raise IncidentError("an attribute of a module is no number")
        for extra in _rows(model["extra"]):
            unpack(extra, tensors)
    for optimizer in _rows(rest["optimizers"]):
        _check_optimizer(optimizer, tensors)
    for one in _rows(rest["also"]):
        unpack(one, tensors)
    if rest["random"] is not None:
        check_random(unpack(rest["random"], tensors))
    _all_text(rest["left_out"])


def check_random(values: Any) -> RandomStreams:
    """Random streams from what was read; tried on streams of their own first.

    Raises:
        IncidentError: torch, numpy or Python would not take them.
    """
    try:
        streams = RandomStreams.of(values)
        values = streams.values()
        torch.Generator().set_state(values["torch"])
        np.random.RandomState().set_state(values["numpy"])
        version, key, gauss = values["python"]
        random.Random().setstate((version, tuple(key.tolist()), gauss))
        for one in values["cuda"] or ():
            if one.dtype != torch.uint8 or one.dim() != 1:
                raise IncidentError("the random stream of a device is no bytes")
    except (
        TypeError, ValueError, KeyError, AttributeError, RuntimeError, OverflowError
    ) as error:  # fmt: skip
        raise IncidentError(
            f"its random streams are damaged ({str(error)[:80]})"
        ) from error
    return streams


def _check_optimizer(one: Any, tensors: Mapping[str, Tensor]) -> None:
    _have(one, "class", "groups", "states")
    held = 0
    for group in one["groups"]:
        _have(group, "size", "settings")
        held += int(group["size"])
        if not isinstance(unpack(group["settings"], tensors), dict):
            raise IncidentError("the settings of a group are no object")
    for number, own in one["states"]:
        if type(number) not in (int, str) or (
            isinstance(number, int) and not 0 <= number < held
        ):
            raise IncidentError(f"an optimizer keeps a state for {str(number)[:40]!r}")
        unpack(own, tensors)
        if any(name not in tensors for name in tensors_in(own)):
            raise IncidentError("a tensor of an optimizer is missing")


def _have(value: Json, *names: str) -> None:
    if not isinstance(value, dict):
        raise IncidentError(f"an object was expected, {str(value)[:40]!r} came")
    missing = [name for name in names if name not in value]
    if missing:
        raise IncidentError(f"its state lacks {', '.join(missing)}")


def _rows(value: Json) -> list[Any]:
    if not isinstance(value, dict):
        raise IncidentError(f"an object was expected, {str(value)[:40]!r} came")
    return list(value.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def _all_text(value: Json) -> None:
    if not isinstance(value, list) or any(type(one) is not str for one in value):  # pyright: ignore[reportUnknownVariableType]
        raise IncidentError("a list of names was expected")
