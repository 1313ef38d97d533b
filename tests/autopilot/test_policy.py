"""What a user asks of the autopilot is checked where it is said."""

from __future__ import annotations

from typing import Any

import pytest

from surefoot.autopilot.modes import rules_of
from surefoot.autopilot.policy import Policy, PolicyError, policy_of


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "protect"}, "mode='protect' came; expected one of 'advise'"),
        ({"interventions": -1}, "interventions=-1 came"),
        ({"window": 0}, "window=0 came; expected a whole number, at least 1"),
        ({"pause": 1.5}, "pause=1.5 came"),
        ({"steps": 0}, "steps=0 came"),
        ({"interventions": True}, "interventions=True came"),
        ({"memory": "much"}, "memory='much' came; expected a size"),
        ({"memory": True}, "memory=True came"),
        ({"memory": -5}, "memory=-5 came"),
    ],
)
def test_a_setting_that_means_nothing(settings: Any, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        Policy(**settings)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("1GB", 10**9), ("0.5 mb", 500_000), (17, 17), ("12B", 12), ("3tb", 3 * 10**12)],
)
def test_sizes(given: Any, expected: int) -> None:
    assert Policy(memory=given).memory_bytes == expected


def test_a_mode_is_a_policy() -> None:
    assert policy_of("guard") == Policy(mode="guard")
    policy = Policy(mode="ask", window=7)
    assert policy_of(policy) is policy


def test_which_act_by_themselves() -> None:
    acts = {
        mode for mode in ("advise", "guard", "steer", "ask") if policy_of(mode).acts
    }  # type: ignore[arg-type]
    assert acts == {"guard", "steer"}


def test_every_setting_is_in_force() -> None:
    policy = Policy(mode="steer", interventions=3, window=70, pause=9, steps=500)
    rules = rules_of(policy)
    assert rules.raising is not None
    assert (rules.interventions, rules.window, rules.steps) == (3, 70, 500)
    assert rules.raising.pause == 9
    assert rules_of(Policy(mode="guard", interventions=3)).interventions == 3
