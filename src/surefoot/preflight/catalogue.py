"""The catalogue of what is checked before a run: nothing comes in, rules go out.

Runs without torch. The bounds stand beside the checks, with their sources.
"""

from __future__ import annotations

from surefoot.preflight import rules_network, rules_wiring
from surefoot.preflight.rule import Rule

RULES: tuple[Rule, ...] = (
    *rules_wiring.LOSS, *rules_wiring.OPTIMIZER, *rules_network.SIGNAL,
    *rules_network.DATA, *rules_network.NORMS, *rules_network.LEARNING,
    *rules_network.PRECISION,
)  # fmt: skip
"""All rules; an id is never given to another rule."""


def rule_of(name: str) -> Rule:
    """The rule with an id such as "SF103", or a name such as "softmax-twice".

    Raises:
        KeyError: there is none.
    """
    wanted = name.strip().lower().replace(" ", "-").replace("_", "-")
    for rule in RULES:
        if wanted in (rule.id.lower(), rule.name):
            return rule
    raise KeyError(
        f"{name!r} is no rule of preflight; expected an id from SF101 to SF702 or a "
        "name such as softmax-twice; docs/preflight.md lists them"
    )
