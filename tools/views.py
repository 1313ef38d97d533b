"""What is drawn of each signature: its name comes in, an SVG goes out.

A view shows the quantity that the signature looks at, of a record in which it fires and
of the same run without the fault, on one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tools import planted, special_views
from tools.scenes import Line, Plot, Scene, Tone
from tools.svg import side_by_side

from surefoot.signatures import network, update_ratio
from surefoot.signatures.across import ALL as COMPARISONS
from surefoot.signatures.detect import ALL
from surefoot.signatures.streams import Stream
from surefoot.types import Finding, Series

View = Callable[[Stream, "Finding | None", str], Scene]
"""From a stream, the finding in it (None for the twin) and a title to a scene."""

EVIDENCE = -1.0
"""Stands for the bound of the first piece of evidence."""


@dataclass(frozen=True)
class Picture:
    """A drawn signature: the SVG, what it tells in words, and what was drawn."""

    svg: str
    told: str
    record: str
    finding: Finding


def more_pictures(signature: str) -> tuple[Picture, ...]:
    """Pictures of its other kinds, where a signature has several."""
    return tuple(picture(signature, one) for one in planted.MORE.get(signature, ()))


def picture(signature: str, record: str = "") -> Picture:
    """The picture of a signature or a comparison, of one record or the plainest one.

    Raises:
        LookupError: no record shows it.
    """
    if signature in {one.name for one in COMPARISONS}:
        return _of_game(signature)
    shown = planted.planted(signature, record)
    view = VIEWS.get(signature) or lines(_first_need(signature))
    faulty = view(shown.faulty, shown.finding, f"Planted: {_spaced(shown.name)}")
    healthy = view(shown.healthy, None, "The same run without the fault")
    told = _told(signature, shown.finding, _spaced(shown.name))
    svg = side_by_side(faulty, _as_accused(healthy, faulty), told=told)
    return Picture(svg, told, shown.name, shown.finding)


def _of_game(name: str) -> Picture:
    shown = planted.game(name)
    view = special_views.GAME_VIEWS[name]
    told = _told(name, shown.finding, _spaced(name))
    left = view(shown.faulty, shown.finding, f"Planted: {_spaced(name)}")
    right = view(shown.healthy, None, "The same run without the fault")
    return Picture(side_by_side(left, right, told=told), told, name, shown.finding)


def _first_need(signature: str) -> str:
    one = next(one for one in ALL if one.name == signature)
    if not (one.needs or one.uses):
        raise LookupError(
            f"{signature!r} is read from events; expected a view of it in VIEWS"
        )
    return (*one.needs, *one.uses)[0]


def _told(signature: str, finding: Finding, record: str) -> str:
    where = "the whole run" if finding.layer == "run" else finding.layer
    about = {one.name: one.about for one in (*ALL, *COMPARISONS)}[signature]
    return (
        f"{about} Planted: {record}; seen in {where}, since step {finding.onset}. "
        "Beside it, the same run without the fault."
    )


def _spaced(name: str) -> str:
    return name.replace("_", " ")


# --- lines over steps -------------------------------------------------------------


def lines(
    quantity: str,
    *,
    bound: float | None = None,
    log: bool = False,
    gap: str = "",
    last: int = 0,
) -> View:
    """Readings over steps, "a/b" for a ratio; the accused layers stand out.

    `last` narrows it to the last steps.
    """

    def view(stream: Stream, finding: Finding | None, title: str) -> Scene:
        series = _readings(stream, quantity)
        keep = series.steps >= (series.steps[-1] - last if last else 0)
        names = _shown(series, stream)
        accused = _accused(finding, names)
        return Plot(
            title=title,
            x_name="step",
            y_name=_axis(quantity),
            lines=tuple(
                Line(
                    _name(name, accused, quantity),
                    series.steps[keep].astype(np.float64),
                    series.of(name)[keep].astype(np.float64),
                    _tone(name, accused, finding),
                )
                for name in names
            ),
            bound=_bound(bound, finding),
            onset=finding.onset if finding and not last else None,
            log=log,
            gap=gap if finding else "",
        )

    return view


def _readings(stream: Stream, quantity: str) -> Series:
    above, _, below = quantity.partition("/")
    series = stream.series[above]
    if not below:
        return series
    other = stream.series[below]
    _, a, b = np.intersect1d(series.steps, other.steps, return_indices=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = series.values[a] / other.values[b]
    return Series(quantity, series.layers, series.steps[a], values)


def _shown(series: Series, stream: Stream) -> tuple[str, ...]:
    """The weights among the layers, or all layers where none is a weight."""
    held = [name for name in network.weights(stream.facts) if name in series.layers]
    return tuple(held) or series.layers


def _accused(finding: Finding | None, names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) == 1:
        return names
    if finding is None:
        return ()
    if finding.layer in names:
        return (finding.layer,)
    return tuple(name for name in names if name in finding.layers) or names


def _name(layer: str, accused: tuple[str, ...], quantity: str) -> str:
    if layer not in accused:
        return "other layers"
    if layer in ("run", "group0"):
        return _axis(quantity)
    return f"layer {layer}" if len(accused) == 1 else "layers that show it"


def _tone(layer: str, accused: tuple[str, ...], finding: Finding | None) -> Tone:
    if layer not in accused:
        return "other"
    return "bad" if finding else "good"


def _bound(bound: float | None, finding: Finding | None) -> float | None:
    if bound != EVIDENCE:
        return bound
    return finding.evidence[0].bound if finding else None


def _axis(quantity: str) -> str:
    return " / ".join(_spaced(part) for part in quantity.split("/"))


def _as_accused(healthy: Scene, faulty: Scene) -> Scene:
    """The twin with the bound of the fault, and its accused layers in their colour."""
    if not isinstance(healthy, Plot) or not isinstance(faulty, Plot) or faulty.places:
        return healthy
    bad = {i for i, one in enumerate(faulty.lines) if one.tone == "bad"}
    same = len(faulty.lines) == len(healthy.lines)
    shown = tuple(
        Line(faulty.lines[i].name, one.x, one.y, "good" if i in bad else "other")
        if same
        else one
        for i, one in enumerate(healthy.lines)
    )
    return Plot(
        healthy.title,
        healthy.x_name,
        healthy.y_name,
        shown,
        bound=healthy.bound if healthy.bound is not None else faulty.bound,
        bound_name=healthy.bound_name,
        log=healthy.log,
    )


# --- over depth -------------------------------------------------------------------


def profile(
    quantity: str,
    *,
    log: bool = False,
    first: bool = False,
    kinds: tuple[str, ...] = (),
    bound: float | None = None,
) -> View:
    """One point a layer, input to output: the first reading, or the median of all."""

    def view(stream: Stream, finding: Finding | None, title: str) -> Scene:
        series = _readings(stream, quantity)
        names = _shown(series, stream)
        if kinds:
            of = network.kinds(stream.facts)
            names = tuple(name for name in names if of.get(name) in kinds)
        values = series.values[:1] if first else series.values
        level = np.nanmedian(values.astype(np.float64), axis=0)
        places = np.arange(len(names), dtype=np.float64)
        heights = np.asarray([level[series.layers.index(name)] for name in names])
        tone: Tone = "bad" if finding else "good"
        shown = [Line("each layer", places, heights, "other" if finding else tone)]
        if finding:
            several = set(finding.layers) & set(names) > {finding.layer}
            rows = ((finding.layers, False), ((finding.layer,), True))
            for told, large in rows[not several :]:
                mine = np.asarray([name in told for name in names])
                own = np.where(mine, heights, np.nan)
                name = f"accused: {finding.layer}" if large else "show it"
                shown.append(Line(name, places, own, "bad", large))
        return Plot(
            title=title,
            x_name="layer, from input to output",
            y_name=_axis(quantity),
            lines=tuple(shown),
            bound=_bound(bound, finding),
            places=tuple(name.removesuffix(".weight") for name in names),
            log=log,
        )

    return view


# --- others -----------------------------------------------------------------------


def metrics(*names: tuple[str, str, str], log: bool = False) -> View:
    """Lines of several quantities: (quantity, layer, name in the legend).

    The first one is what the finding is about.
    """

    def view(stream: Stream, finding: Finding | None, title: str) -> Scene:
        shown: list[Line] = []
        for place, (quantity, layer, name) in enumerate(names):
            series = stream.series[quantity]
            tone: Tone = "other" if place else "bad" if finding else "good"
            values = series.of(layer).astype(np.float64)
            shown.append(Line(name, series.steps.astype(np.float64), values, tone))
        return Plot(
            title=title,
            x_name="step",
            y_name=_axis(names[0][0]) if len({q for q, _, _ in names}) == 1 else "",
            lines=tuple(shown),
            onset=finding.onset if finding else None,
            log=log,
        )

    return view


VIEWS: Mapping[str, View] = {
    "nonfinite": lines("loss", gap="not finite"),
    "half_precision": lines("loss", gap="not finite"),
    "wiring": special_views.chain,
    "evaluation_mode": special_views.modes,
    "evaluated": special_views.judged,
    "loss_spike": lines("loss", log=True),
    "not_learning": lines("loss", bound=EVIDENCE),
    "exploding_gradients": lines("grad_norm", log=True),
    "vanishing_gradients": profile("grad_norm/weight_norm", log=True),
    "activation_scale": profile(
        "activation_std", log=True, first=True, kinds=("Linear",)
    ),
    "input_scale": lines("input_std", bound=EVIDENCE, log=True),
    "input_shift": lines("input_mean"),
    "zero_start": profile("weight_norm", first=True),
    "symmetric_start": profile("unit_spread", first=True),
    "dead_units": lines("dead_share", bound=EVIDENCE),
    "saturation": lines("saturated_share", bound=EVIDENCE),
    "frozen": profile("update_norm"),
    "accumulating_gradients": lines("grad_norm"),
    "update_ratio": lines(
        "update_norm/weight_norm", bound=update_ratio.REPLACED, log=True
    ),
    "overshoot": lines("directional_sharpness", bound=EVIDENCE),
    "stale_second_moment": lines("second_moment_ratio", bound=EVIDENCE),
    "early_warning": metrics(
        ("grad_norm", "0.weight", "gradient norm"), ("loss", "run", "loss"), log=True
    ),
    "epsilon": special_views.epsilon,
    "oscillation": lines("loss", last=60),
    "plateau": metrics(
        ("grad_norm", "0.weight", "gradient norm"), ("loss", "run", "loss"), log=True
    ),
    "gradient_noise": lines("grad_cosine", bound=EVIDENCE),
    "attention_logits": lines("attention_logit_absmax", bound=EVIDENCE, log=True),
    "logit_drift": lines("log_z_square", bound=EVIDENCE, log=True),
    "label_noise": metrics(
        ("example_loss", "q90", "90th percentile"),
        ("example_loss", "q50", "50th"),
        ("example_loss", "q75", "75th"),
    ),
    "class_imbalance": special_views.classes,
    "calibration": metrics(
        ("confidence", "run", "confidence"), ("accuracy", "run", "accuracy")
    ),
    "overfitting": metrics(
        ("metric", "held_out_loss", "held-out loss"), ("loss", "run", "training loss")
    ),
    "over_regularised": lines("weight_norm"),
    "norm_gap": lines("norm_gap", bound=EVIDENCE),
    "few_values": lines("batch_size", log=True),
    "policy_collapse": lines("output_entropy", bound=EVIDENCE),
}
"""What is drawn where it is not the first quantity that a signature needs."""
