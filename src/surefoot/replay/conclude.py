"""From an incident to what is said of it; branches are run in between.

In: an incident, and a function that plays prescriptions on it and gives Outcomes. Out:
a Replayed. How a branch is played, in this process or by a script, is not known here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from surefoot.blackbox.incident import Incident, StepRecord
from surefoot.blackbox.pack import unpack
from surefoot.record.replays import BranchVerdict, Replayed, Result, Word
from surefoot.replay.branches import BRANCHES, UNCHANGED, Branch, Known, still
from surefoot.replay.causes import Facts, Implied, implied
from surefoot.replay.fidelity import fidelity
from surefoot.replay.judge import harm, last_loss, words
from surefoot.replay.outcome import Outcome
from surefoot.replay.strange import (
    Strange,
    first_strange,
    looks,
    strange_inputs,
    strange_losses,
)
from surefoot.replay.window import (
    Window,
    broken_steps,
    rate_jump,
    replayed_steps,
    shortened,
    usual_norm,
    window_of,
)
from surefoot.types import Prescription

Play = Callable[[Window, Sequence[Prescription]], Sequence[Outcome]]
"""Plays some branches, each from the state of the incident; their outcomes in order."""


def ask(
    incident: Incident,
    play: Play,
    *,
    branches: Sequence[Branch] = BRANCHES,
    name: str = "",
) -> Replayed:
    """Play the moments of an incident, once for each branch, and say what it shows.

    Raises:
        ReplayError: the incident holds no steps that can be replayed.
    """
    began = time.perf_counter()
    steps = replayed_steps(incident)
    known = known_of(incident, steps)
    unchanged, motionless = play(known.window, [UNCHANGED, still(known.window)])
    if unchanged.updates is not None:
        made = unchanged.updates
        known = replace(known, window=shortened(known.window, made))
        unchanged, motionless = play(known.window, [UNCHANGED, still(known.window)])
        note = f"the script makes {made} updates after its first; as many are replayed"
        unchanged = replace(unchanged, notes=(*unchanged.notes, note))
    window = known.window
    steps = tuple(one for one in steps if one.step <= window.last)
    known = informed(known, motionless)
    asked = [(one, one.prescribe(known)) for one in branches]
    run = [one for _, one in asked if isinstance(one, Prescription)]
    outcomes = dict(zip([one.remedy for one in run], play(window, run), strict=True))
    told = _Told(incident, steps, known, unchanged, motionless)
    rows = [
        (prescription, outcomes[branch.name])
        if isinstance(prescription, Prescription)
        else (
            Prescription(branch.name, (), branch.expect, branch.source),
            Outcome(branch.name, (), refused=prescription),
        )
        for branch, prescription in asked
    ]
    done = told.conclude(rows)
    return replace(done, incident=name, seconds=time.perf_counter() - began)


def known_of(incident: Incident, steps: Sequence[StepRecord]) -> Known:
    """What is known of an incident from its record alone."""
    seen = looks(steps)
    broken = tuple(one.step for one in seen if not one.finite)
    window = window_of(incident, steps, first_strange(seen))
    seen = [one for one in seen if one.step <= window.last]
    return Known(
        window,
        Strange(strange_inputs(seen, window.onset), (), broken),
        rate_jump(steps),
        usual_norm(steps, window),
        incident.layers,
        _settings(incident),
        _half(incident, steps),
    )


def informed(known: Known, motionless: Outcome) -> Known:
    """The same with the batches that cost much under weights that stand still."""
    found = strange_losses(motionless.losses, known.window)
    return replace(known, strange=replace(known.strange, losses=found))


class _Told:
    """What is the same for all branches of one incident."""

    def __init__(
        self,
        incident: Incident,
        steps: Sequence[StepRecord],
        known: Known,
        unchanged: Outcome,
        motionless: Outcome,
    ) -> None:
        self.known, self.window = known, known.window
        self.unchanged, self.motionless = unchanged, motionless
        self.recorded = tuple(_mean(one.losses) for one in steps)
        self.same = fidelity(self.recorded, unchanged.losses)
        self.before = harm(unchanged, motionless, self.window, noise=self.same.noise)
        self.elsewhere = _elsewhere(incident.about)

    def conclude(self, rows: Sequence[tuple[Prescription, Outcome]]) -> Replayed:
        """Verdicts, cause and remedy."""
        outcomes = [one for _, one in rows]
        verdicts = words(
            outcomes, self.unchanged, self.motionless, window=self.window,
            noise=self.same.noise,
        )  # fmt: skip
        worked = [
            one
            for (one, _), word in zip(rows, verdicts, strict=True)
            if word == "prevented"
        ]
        cause = self._cause([one.remedy for one in worked])
        own = self._own()
        rest = [
            _verdict(one, outcome, word)
            for (one, outcome), word in zip(rows, verdicts, strict=True)
        ]
        return Replayed(
            incident="",
            first=self.window.first,
            parting=self.window.parting,
            onset=self.window.onset,
            last=self.window.last,
            result=self._result(worked, cause),
            cause=cause.cause if cause else "",
            evidence=cause.evidence if cause else (),
            layers=cause.layers if cause else (),
            remedy=worked[0] if worked else None,
            branches=(*own, *rest),
            recorded=self.recorded,
            noise=self.same.noise,
            departs=self._departs(),
            set_aside="earlier batches"
            if math.isnan(self.motionless.held_out)
            else "held-out data",
            notes=self._notes(),
        )

    def _own(self) -> tuple[BranchVerdict, BranchVerdict]:
        pairs = (
            (UNCHANGED, self.unchanged),
            (replace(still(self.window), changes=()), self.motionless),
        )
        first, second = (_verdict(one, out, "as recorded") for one, out in pairs)
        return first, second

    def _departs(self) -> int | None:
        place = self.same.departs
        return None if place is None else self.window.first + place

    def _cause(self, worked: Sequence[str]) -> Implied | None:
        if self.same.departs == 0:
            return None
        return implied(
            Facts(
                known=self.known,
                still=self.motionless,
                unchanged=self.before,
                worked=worked,
                aside_before=self._aside_before(),
                departs=self._departs(),
            )
        )

    def _aside_before(self) -> float:
        """What the batches that were set aside cost when they were recorded."""
        first, aside = self.window.first, self.window.aside
        losses = [self.recorded[step - first] for step in aside]
        return _mean(losses) if losses else math.nan

    def _result(self, worked: Sequence[Prescription], cause: Implied | None) -> Result:
        if self.same.departs == 0:
            return "not reproduced"
        if self.same.departs is not None and not self.before.done:
            return "not reproduced"
        if worked:
            return "prevented"
        if self.before.done or (cause is not None and cause.cause != "bad batch"):
            return "no remedy helped"
        return "nothing to prevent"

    def _notes(self) -> tuple[str, ...]:
        notes = [*self.elsewhere, *self.unchanged.notes]
        if self.same.departs == 0:
            notes.append(
                "the first replayed loss is "
                f"{_first(self.unchanged.losses):.6g}, recorded was "
                f"{_first(self.recorded):.6g}: the loss is computed from what "
                "the incident does not hold, such as another model, another loss "
                "function, targets that were not recorded, or random numbers from "
                "elsewhere"
            )
        if self.window.onset <= self.window.first < self.window.last:
            notes.append(
                "the last good state is not older than the onset: what changes could "
                "prevent may have happened before"
            )
        return tuple(notes)


def _verdict(prescription: Prescription, outcome: Outcome, word: Word) -> BranchVerdict:
    held = outcome.aside if math.isnan(outcome.held_out) else outcome.held_out
    detail = outcome.refused or outcome.ended
    return BranchVerdict(
        prescription, word, last_loss(outcome), held, outcome.losses, detail
    )


def _settings(incident: Incident) -> Mapping[str, Any]:
    """Of the first group of the first optimizer."""
    for packed in incident.state.rest["optimizers"].values():
        for group in packed["groups"]:
            return unpack(group["settings"], incident.state.tensors)
    return {}


def _half(incident: Incident, steps: Sequence[StepRecord]) -> bool:
    """Whether half precision may have had a part in it.

    Autocast leaves no trace in weights; where numbers broke it is asked for anyway.
    """
    dtypes = {one.dtype for one in incident.state.tensors.values()}
    scaled = any("Scaler" in key for key in incident.state.rest["also"])
    halves = (torch.float16, torch.bfloat16)
    return scaled or bool(broken_steps(steps)) or any(one in dtypes for one in halves)


def _elsewhere(about: Mapping[str, Any]) -> list[str]:
    """What is not as it was when the incident was recorded, or was not kept."""
    lost = [about.get(key) for key in ("not_kept", "left_out")]
    said = [
        f"not kept: {one}" for told in lost if isinstance(told, list) for one in told
    ]
    recorded = str(about.get("torch", torch.__version__))
    if recorded != str(torch.__version__):
        said.append(
            f"recorded with torch {recorded}, replayed with {torch.__version__}"
        )
    device = str(about.get("device", "cpu"))
    if device.startswith("cuda") and not torch.cuda.is_available():
        said.append(f"recorded on {device}, replayed where there is no such device")
    return said


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _first(values: Sequence[float]) -> float:
    return values[0] if values else math.nan
