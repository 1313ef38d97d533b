"""The only writer to a live run: Changes come in, Events and an undo go out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from surefoot.autopilot import (
    dead_units,
    gradient_knobs,
    layer_knobs,
    moment_knobs,
    optimizer_knobs,
    precision_knobs,
    regularisation_knobs,
    repair_knobs,
    step_knobs,
    structure_knobs,
)
from surefoot.autopilot.live import Applied, KnobError, Live
from surefoot.types import Change, Event

KNOBS: tuple[tuple[str, str, Callable[[Live, Change], Applied]], ...] = (
    ("lr", "scale", optimizer_knobs.scale_lr),
    ("warmup_steps", "set", optimizer_knobs.warm_up),
    ("clip_norm", "set", gradient_knobs.clip_norm),
    ("clip", "set", gradient_knobs.clip),
    ("grad_noise", "set", gradient_knobs.add_noise),
    ("gradients", "zero", gradient_knobs.zero_gradients),
    ("batch", "skip", gradient_knobs.skip_batch),
    ("betas.1", "set", optimizer_knobs.set_option),
    ("momentum", "set", optimizer_knobs.set_option),
    ("eps", "set", optimizer_knobs.set_option),
    ("eps", "scale", optimizer_knobs.scale_option),
    ("weight_decay", "set", optimizer_knobs.set_option),
    ("moments", "reset", moment_knobs.reset_moments),
    ("moments", "shorten", moment_knobs.shorten_moments),
    ("precision", "set", precision_knobs.use_float32),
    ("layer", "freeze", layer_knobs.freeze_layers),
    ("units", "reinitialize", dead_units.reinitialize_units),
    ("activation", "replace", structure_knobs.replace_activation),
    ("init", "set", structure_knobs.initialize),
    ("norm", "insert", structure_knobs.insert_norm),
    ("skip", "insert", structure_knobs.insert_skip),
    ("step", "scale", step_knobs.scale_step),
    ("step", "cap", step_knobs.cap_update),
    ("step", "skip", step_knobs.skip_update),
    ("gradient", "scale", step_knobs.shrink_gradient),
    ("state", "restore", step_knobs.restore_state),
    ("penalty", "set", regularisation_knobs.set_penalty),
    ("weight_decay", "scale", optimizer_knobs.scale_option),
    ("dropout", "scale", regularisation_knobs.scale_dropout),
    ("norm_statistics", "recalibrate", regularisation_knobs.recalibrate),
    ("norm", "replace", repair_knobs.replace_norm),
    ("norm.momentum", "set", repair_knobs.set_norm_momentum),
    ("init", "reset", repair_knobs.reset_start),
    ("mode", "set", repair_knobs.train_mode),
    ("parameters", "register", repair_knobs.register_parameters),
)
"""Every knob and operation that can be carried out, and by which function."""


def apply_changes(
    changes: Sequence[Change], live: Live, why: str, tell: Callable[[Event], None]
) -> Callable[[], None]:
    """Carry out changes in order; each is told as an Event of kind "change".

    Returns:
        A function that undoes them all, last first.

    Raises:
        KnobError: a change cannot be carried out here; those before it are undone.
    """
    done: list[Applied] = []
    telling = replace(live, tell=tell)

    def undo() -> None:
        while done:
            done.pop().undo()

    for change in changes:
        try:
            applied = _action_of(change)(telling, change)
        except KnobError:
            undo()
            raise
        done.append(applied)
        body = {
            "knob": change.knob,
            "op": change.op,
            "amount": change.amount,
            "layers": list(change.layers),
            "before": applied.before,
            "after": applied.after,
            "why": why,
        }
        tell(Event(live.step, "change", body))
    return undo


def _action_of(change: Change) -> Callable[[Live, Change], Applied]:
    """The function that carries out a change."""
    for knob, op, action in KNOBS:
        if (knob, op) == (change.knob, change.op):
            return action
    known = ", ".join(f"{knob} {op}" for knob, op, _ in KNOBS)
    raise KnobError(
        f"the change {change.knob} {change.op} came; expected one of: {known}; it can "
        "be printed as advice, but not carried out"
    )


def changes_from(text: str) -> tuple[Change, ...]:
    """Changes from JSON: a list of objects with knob, op, amount and layers.

    Raises:
        KnobError: the text is no such list.

    >>> changes_from('[{"knob": "lr", "op": "scale", "amount": 0.5}]')[0].amount
    0.5
    """
    expected = (
        'expected a JSON list such as [{"knob": "lr", "op": "scale", "amount": 0.5}]'
    )
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise KnobError(
            f"changes came as {text[:80]!r} ({error}); {expected}"
        ) from error
    known = {field.name for field in fields(Change)}
    found: list[Change] = []
    for row in rows if isinstance(rows, list) else [rows]:
        if not isinstance(row, dict) or not {"knob", "op", "amount"} <= row.keys():
            raise KnobError(f"a change came as {row!r}; {expected}")
        if not row.keys() <= known or not isinstance(row["amount"], (int, float, str)):
            raise KnobError(f"a change came as {row!r}; {expected}")
        layers = tuple(str(layer) for layer in row.get("layers", ()))
        found.append(Change(str(row["knob"]), str(row["op"]), row["amount"], layers))
    return tuple(found)
