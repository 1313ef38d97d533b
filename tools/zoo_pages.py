"""The zoo in tables: its catalogue comes in, parts of docs/zoo.md go out."""

from __future__ import annotations

from tools.cause_pages import linked
from tools.tables import first_sentence, table

from surefoot.diagnosis import causes
from surefoot.zoo.catalogue import ALL, HOMES, REPORTED_HOMES, Fault
from surefoot.zoo.controls import CONTROLS, REPORTED_CONTROLS
from surefoot.zoo.scenario import Scenario, planted
from surefoot.zoo.table import TARGETS

STRENGTHS = (1, 2, 3)


def faults() -> str:
    """A row for each fault: what it does, its cause, and where it is planted."""
    rows = [
        (
            f"`{one.name}`",
            first_sentence(one.plant.__doc__),
            ", ".join(_causes(one)),
            ", ".join(one.homes),
        )
        for one in ALL
    ]
    return table(("fault", "what is planted", "any of these is right", "homes"), rows)


def _causes(fault: Fault) -> list[str]:
    """Links to the causes that count as right, at any strength."""
    scenarios = (
        Scenario(fault.homes[0], fault.name, strength, 1) for strength in STRENGTHS
    )
    truths = [truth for one in scenarios if (truth := planted(one)[1])]
    names = dict.fromkeys(name for truth in truths for name in truth.causes)
    known = {one.name: one for one in causes.ALL}
    return [linked(known[name]) if name in known else name for name in names]


def homes() -> str:
    """A row for each home of the faults."""
    rows = [
        (
            name,
            first_sentence(make.__doc__),
            "reporting only" if name in REPORTED_HOMES else "tuning, reporting",
        )
        for name, make in HOMES.items()
    ]
    return table(("home", "what it is", "half"), rows)


def controls() -> str:
    """A row for each healthy run that has no fault of its own."""
    rows = [
        (
            f"`{name}`",
            first_sentence(getattr(make, "args", (make,))[0].__doc__),
            "reporting only" if name in REPORTED_CONTROLS else "tuning, reporting",
        )
        for name, make in CONTROLS.items()
    ]
    return table(("control", "what it is", "half"), rows)


def claims() -> str:
    """A row for each number of the score, with its target."""
    return table(("claim", "target"), [(title, target) for title, _, target in TARGETS])
