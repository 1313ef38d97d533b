"""Frozen parameters: weights that should change and do not.

Three kinds: held by no optimizer, held but never moved in spite of a gradient, held
but without a gradient because the graph is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import (
    Array,
    Mask,
    episodes,
    level,
    median_over_time,
    since,
)
from surefoot.types import (
    Event,
    Evidence,
    Facts,
    Finding,
    Parameter,
    Series,
    Signature,
)

BACKBONE = 0.5
DIED_AWAY = 0.1
"""Last update over the usual one: what is cut off by a fault ends at once."""
LONG_ABSENCE = 50
"""Steps without a gradient that count, where there was one before."""
FADED = 1e-3
"""Share of the usual gradient below which an update may be lost in rounding: float32
keeps 7 digits, and usual updates change the third or fourth."""
SOURCE_HELD = "the parameters of the model against those of its optimizers"
SOURCE_MOVED = "any update changes the weights; other layers of this run move"
SOURCE_GRADIENT = "other layers of this run have gradients"
READINGS = 3
ROUNDING = 1e-5
"""Relative update below which float32, with its 1e-7, may lose that of some layers."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """At most one finding of each kind."""
    found = (
        _unheld(series, facts),
        _unmoved(series, facts),
        _without_gradient(series, facts),
    )
    return [finding for finding in found if finding is not None]


def _unheld(series: Mapping[str, Series], facts: Facts) -> Finding | None:
    """Parameters that ask for a gradient and that no optimizer holds.

    A head that is trained on a resting backbone may be meant so, if it learns.
    """
    trainable = [p for p in facts.parameters if p.trainable]
    loose = [p for p in trainable if not p.held]
    if not loose:
        return None
    share = sum(p.size for p in loose) / max(1, sum(p.size for p in trainable))
    meant = _is_backbone(facts, loose, share) and not learning(series, facts).trouble
    name = "parameters that no optimizer holds"
    return Finding(
        signature="frozen",
        layer=loose[0].name,
        onset=0,
        severity="info" if meant else "warning",
        evidence=(Evidence(name, float(len(loose)), 0.0, SOURCE_HELD),),
        layers=tuple(p.name for p in loose),
        stream=facts.stream,
        detail={"kind": "unheld", "share": share},
    )


def _is_backbone(facts: Facts, loose: Sequence[Parameter], share: float) -> bool:
    """Whether the loose ones are all that comes before a trained head.

    Training only the last layers is a habit of fine-tuning, leaving out a middle or
    a last layer is not.
    """
    first_held = next((i for i, p in enumerate(facts.parameters) if p.held), 0)
    place = {p.name: i for i, p in enumerate(facts.parameters)}
    return share > BACKBONE and all(place[p.name] < first_held for p in loose)


def _unmoved(series: Mapping[str, Series], facts: Facts) -> Finding | None:
    """Weights that get a gradient but are not changed, while others are."""
    updates, grads = series.get("update_norm"), series.get("grad_norm")
    if updates is None or grads is None:
        return None
    steps, at_updates, at_grads = np.intersect1d(
        updates.steps, grads.steps, assume_unique=True, return_indices=True
    )
    layers = tuple(name for name in updates.layers if name in grads.layers)
    if steps.size < READINGS or not layers:
        return None
    moved = columns(updates, layers, at_updates)
    pushed = columns(grads, layers, at_grads)
    active = (moved > 0).any(axis=1)
    still = (moved == 0) & (pushed > _smallest_push(moved, pushed))
    moved = moved[active]
    places = [
        i
        for i in range(len(layers))
        if _stays(still[active, i]) and not _died_away(moved[:, i])
    ]
    if not places or len(places) == len(layers) or _tiny_steps(series, moved):
        return None
    begins = {i: since(still[active, i]) or 0 for i in places}
    place = min(places, key=lambda i: begins[i])
    onset = int(steps[active][begins[place]])
    name = f"update_norm of {layers[place]}, step {onset} to the end"
    groups = series.get("lr")
    by_choice = groups is not None and bool((groups.values[-1] == 0).any())
    return Finding(
        signature="frozen",
        layer=layers[place],
        onset=onset,
        severity="info" if by_choice else "warning",
        evidence=(Evidence(name, 0.0, 0.0, SOURCE_MOVED),),
        layers=tuple(layers[i] for i in places),
        stream=facts.stream,
        detail={"kind": "unmoved"},
    )


def _tiny_steps(series: Mapping[str, Series], moved: Array) -> bool:
    """Whether updates are so short that those of some layers are lost in rounding."""
    sizes = series.get("weight_norm")
    if sizes is None or not (moved > 0).any():
        return False
    usual = level(moved[moved > 0])
    return usual < ROUNDING * level(sizes.values)


def _smallest_push(moved: Array, pushed: Array) -> Array:
    """Gradient below which an update may be lost in rounding, `[n, 1]`.

    A gradient that has vanished moves nothing either; that is another symptom.
    """
    moving = np.where((moved > 0) & (pushed > 0), pushed, np.nan)
    usual = median_over_time(moving.T)
    return FADED * np.nan_to_num(usual, nan=np.inf)[:, None]


def _died_away(moved: Array) -> bool:
    """Whether the updates became ever shorter before they were none.

    Then they are lost in rounding, as where Adam remembers one huge gradient.
    """
    seen = moved[moved > 0]
    return seen.size > 1 and seen[-1] < DIED_AWAY * level(seen)


def _stays(mask: Mask) -> bool:
    """Whether it holds to the end, for several readings."""
    begin = since(mask)
    return begin is not None and len(mask) - begin >= READINGS


def _without_gradient(series: Mapping[str, Series], facts: Facts) -> Finding | None:
    """Held parameters that have no gradient at all, although their module ran."""
    grads = series.get("grad_norm")
    if grads is None or grads.steps.size < READINGS:
        return None
    trainable = {p.name for p in facts.parameters if p.trainable and p.held}
    absent = np.isnan(grads.values)
    some = ~absent.all(axis=1)  # a skipped step has no gradients at all
    absent, steps = absent[some], grads.steps[some]
    places = [
        i
        for i, name in enumerate(grads.layers)
        if name in trainable and _gone(absent[:, i])
    ]
    if not places:
        return None
    names = [grads.layers[i] for i in places]
    ran = [name for name in names if _ran(series, network.owner(facts, name))]
    depth = network.depths(facts)
    told = ran or names
    layer = max(told, key=lambda name: depth.get(name, 0.0))
    onset = int(steps[since(absent[:, grads.layers.index(layer)]) or 0])
    name = f"steps without a gradient of {layer}, from step {onset}"
    return Finding(
        signature="frozen",
        layer=layer,
        onset=onset,
        severity="warning" if ran else "info",
        evidence=(Evidence(name, float(absent.shape[0]), 0.0, SOURCE_GRADIENT),),
        layers=tuple(told),
        stream=facts.stream,
        detail={"kind": "detached" if ran else "unused"},
    )


def _gone(absent: Mask) -> bool:
    """Whether a gradient never came, or stays away for longer than ever before.

    Modules that are not used at every step, such as experts or branches that are
    dropped at random, have no gradient in between.
    """
    begin = since(absent)
    if begin is None or absent.size - begin < READINGS:
        return False
    gaps = [last - first + 1 for first, last in episodes(absent[:begin], gap=1)]
    usual = max(gaps, default=0)
    return begin == 0 or absent.size - begin > max(LONG_ABSENCE, 5 * usual)


def _ran(series: Mapping[str, Series], module: str) -> bool:
    """Whether a module was seen in a forward pass with gradients."""
    outputs = series.get("activation_std")
    return outputs is not None and module in outputs.layers


SIGNATURE = Signature(
    name="frozen",
    about="Weights that should train do not change.",
    needs=(),
    detect=detect,
    uses=("grad_norm", "update_norm", "activation_std", "lr"),
)
