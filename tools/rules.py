"""Which symptoms a cause weighs: a cause comes in, names of signatures go out.

Read from the source of its rule, so that no page has to be kept in step by hand. A
symptom that reaches the account of a cause speaks for it; one that is only asked about
is there to tell it from a look-alike.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from textwrap import dedent
from typing import get_args

import cases
from surefoot.diagnosis import causes
from surefoot.diagnosis.case import Case, Cause
from surefoot.signatures import across, detect
from surefoot.types import Severity

NAMES = frozenset(one.name for one in (*detect.ALL, *across.ALL))


@dataclass(frozen=True)
class Rule:
    """Signatures that speak for a cause, and those that only tell it apart."""

    speaks: frozenset[str]
    asked: frozenset[str]


@cache
def rule(name: str) -> Rule:
    """The rule of a cause by its name."""
    cause = next(one for one in causes.ALL if one.name == name)
    told = frozenset(_told(cause.weigh))
    every = frozenset(_all(cause.weigh, set()))
    return Rule(_signatures(told), _signatures(every) - _signatures(told))


def speaking_for(signature: str) -> list[Cause]:
    """Causes that a signature speaks for, the most telling first.

    First those of the planted records that show it, then those that fewest other
    signatures speak for.
    """
    found = [one for one in causes.ALL if signature in rule(one.name).speaks]
    planted = Counter(
        one.cause for one in cases.faulty_cases() if signature in one.fires
    )
    return sorted(found, key=lambda c: (-planted[c.name], len(rule(c.name).speaks)))


def asking_for(signature: str) -> list[Cause]:
    """Causes that a signature tells apart, without speaking for them."""
    return [one for one in causes.ALL if signature in rule(one.name).asked]


def _signatures(words: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in NAMES if f"={name}" in words)


def sure(name: str) -> bool:
    """Whether one finding is enough for a cause: its rule says so in every account."""
    cause = next(one for one in causes.ALL if one.name == name)
    calls = [
        one
        for one in ast.walk(_function(cause.weigh))
        if isinstance(one, ast.Call) and _words(one.func) == {"account"}
    ]
    told = ["confirmed=True" in map(ast.unparse, one.keywords) for one in calls]
    return bool(told) and all(told)


def severities(module: str) -> tuple[str, ...]:
    """The severities that a module gives, worst first, as its source names them."""
    words = _words(ast.parse(inspect.getsource(import_module(module))))
    return tuple(one for one in get_args(Severity) if f"={one}" in words)[::-1]


# --- reading source -------------------------------------------------------------


@cache
def _function(rule: Callable[..., object]) -> ast.FunctionDef:
    (node,) = ast.parse(dedent(inspect.getsource(rule))).body
    if not isinstance(node, ast.FunctionDef):
        raise TypeError(f"{rule} came; expected a function, as every rule is one")
    return node


def _neighbours(rule: Callable[..., object]) -> Mapping[str, Callable[..., object]]:
    """Functions that a rule may call, and what the case can be asked."""
    module = vars(sys.modules[rule.__module__])
    own = {name: one for name, one in module.items() if inspect.isfunction(one)}
    asked = {
        name: one.fget
        for name, one in vars(Case).items()
        if isinstance(one, property) and one.fget is not None
    }
    return {**asked, **{n: f for n, f in own.items() if n != "account"}}


def _words(node: ast.AST) -> set[str]:
    """Names, attributes and strings (after a "=") below a node."""
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            found.add(f"={one.value}")
        elif isinstance(one, ast.Name):
            found.add(one.id)
        elif isinstance(one, ast.Attribute):
            found.add(one.attr)
    return found


def _all(rule: Callable[..., object], seen: set[str]) -> set[str]:
    """Everything that a rule, and what it calls, mentions."""
    found = _words(_function(rule))
    for name, other in _neighbours(rule).items():
        if name in found and name not in seen and other is not rule:
            found |= _all(other, seen | {name})
    return found


def _told(rule: Callable[..., object]) -> set[str]:
    """What reaches the arguments of `account`, through names and other functions."""
    node = _function(rule)
    made = list(_assignments(node))
    reached: set[str] = set()
    for call in ast.walk(node):
        named = isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if named and call.func.id == "account":  # type: ignore[union-attr]
            for argument in call.args[1:]:  # type: ignore[union-attr]
                reached |= _words(argument)
    while True:
        more = {w for name, words in made if name in reached for w in words} - reached
        if not more:
            break
        reached |= more
    for name, other in _neighbours(rule).items():
        if name in reached | _returned(node) and other is not rule:
            reached |= _told(other) or _all(other, {name})
    return reached


def _assignments(node: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """Each name that is bound, with the words that it is made of."""
    for one in ast.walk(node):
        if isinstance(one, ast.Assign):
            for target in one.targets:
                yield from _bound(target, one.value)
        elif isinstance(one, ast.NamedExpr):
            yield one.target.id, _words(one.value)
        elif isinstance(one, ast.comprehension | ast.For):
            for name in _words(one.target):
                yield name, _words(one.iter)


def _bound(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, set[str]]]:
    """Names of a target with their own part of the value, where it has parts."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, part in zip(target.elts, value.elts, strict=True):
            yield from _bound(one, part)
        return
    for name in _words(target):
        yield name, _words(value)


def _returned(node: ast.FunctionDef) -> set[str]:
    """Functions whose result is handed on as it is."""
    return {
        one.value.func.id
        for one in ast.walk(node)
        if isinstance(one, ast.Return)
        and isinstance(one.value, ast.Call)
        and isinstance(one.value.func, ast.Name)
    }
