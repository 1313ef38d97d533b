"""Views of one signature each: a stream and a finding come in, a scene goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from tools.scenes import Array, Bands, Bars, Chain, Line, Plot, Scene, Span, Tone

from surefoot.signatures import epsilon as epsilons
from surefoot.signatures import network, wiring
from surefoot.signatures.streams import Stream
from surefoot.types import Finding


def epsilon(stream: Stream, finding: Finding | None, title: str) -> Scene:
    """The size of the gradient's elements against epsilon."""
    grads = stream.series["grad_norm"]
    size: Array = np.asarray(epsilons.element_size(grads, stream.facts))
    tone: Tone = "bad" if finding else "good"
    steps = grads.steps[: size.size].astype(np.float64)
    own = stream.facts.options.get("eps", 1e-8)
    return Plot(
        title=title,
        x_name="step",
        y_name="RMS of the gradient's elements",
        lines=(Line("gradient, median", steps, size, tone),),
        bound=float(own),
        bound_name="epsilon",
        log=True,
    )


def classes(stream: Stream, finding: Finding | None, title: str) -> Scene:
    """How much of each class there is, and how much of it is recognised."""
    share = np.nanmean(stream.series["target_share"].values, axis=0)
    right = np.nanmean(stream.series["target_right"].values, axis=0)
    tone: Tone = "bad" if finding else "good"
    layers = stream.series["target_share"].layers
    return Bars(
        title=title,
        x_name="class",
        y_name="share",
        groups=tuple(f"class {name}" for name in layers),
        rows=(
            ("of the examples", "other", tuple(map(float, share))),
            ("of the class, recognised", tone, tuple(map(float, right / share))),
        ),
    )


def chain(stream: Stream, finding: Finding | None, title: str) -> Scene:
    """The operations between the last weights and the loss."""
    event = next(one for one in stream.events if one.kind == "wiring")
    head = wiring.heads(event)[0]
    detail = finding.detail if finding else {}
    named = str(detail.get("operations", ""))
    loose = str(detail.get("shapes", ""))
    wrong = tuple(
        place
        for place, name in enumerate(head)
        if finding and place and name in named.split(" <- ")
    )
    module = network.output_module(stream.facts)
    boxes = (*head[:-1], f"{head[-1]} ({module})")
    aside = tuple(one for one in loose.split(", ") if one)
    return Chain(title, boxes, wrong, aside)


def modes(stream: Stream, finding: Finding | None, title: str) -> Scene:
    """When the model was in training mode, and when in evaluation mode."""
    modes = [one for one in stream.events if one.kind == "mode"]
    last = int(stream.series["loss"].steps[-1])
    ends = [*(one.step for one in modes[1:]), last]
    spans = tuple(
        Span(one.step, end, "train()", "good")
        if one.body.get("training")
        else Span(one.step, end, "eval()", "bad")
        for one, end in zip(modes, ends, strict=True)
    )
    onset = finding.onset if finding else None
    return Bands(title, (("mode in passes with gradients", spans),), last, onset)


def judged(stream: Stream, finding: Finding | None, title: str) -> Scene:
    """The mode of the model in training, and when held-out data were judged."""
    event = next(one for one in stream.events if one.kind == "evaluated")
    last = int(stream.series["loss"].steps[-1])
    wrong = bool(event.body["training"])
    judged = Span(
        event.step, last, *(("train()", "bad"), ("eval()", "good"))[not wrong]
    )
    rows = (
        ("mode in passes with gradients", (Span(0, last, "train()", "good"),)),
        (f"mode when {event.body['metrics'][0]} was measured", (judged,)),
    )
    onset = finding.onset if finding else None
    return Bands(title, rows, last, onset)


def losses(streams: tuple[Stream, ...], finding: Finding | None, title: str) -> Scene:
    """The losses of two adversaries."""
    first, second = streams
    loser = finding.stream if finding else ""
    shown = [
        Line(
            one.facts.stream,
            one.series["loss"].steps.astype(np.float64),
            one.series["loss"].values[:, 0].astype(np.float64),
            "bad" if one.facts.stream == loser else "good",
        )
        for one in (first, second)
    ]
    if not finding:
        shown[1] = Line(shown[1].name, shown[1].x, shown[1].y, "other")
    onset = finding.onset if finding else None
    return Plot(title, "step", "loss", tuple(shown), onset=onset)


def updates(streams: tuple[Stream, ...], finding: Finding | None, title: str) -> Scene:
    """The updates that each optimizer made."""
    most = max(one.steps for one in streams)
    rows = tuple(
        (
            f"optimizer of {one.facts.stream}" + ("" if one.steps else ": no update"),
            (Span(0, one.steps, f"{one.steps} updates", "good"),) if one.steps else (),
        )
        for one in streams
    )
    return Bands(title, rows, most)


def copies(streams: tuple[Stream, ...], finding: Finding | None, title: str) -> Scene:
    """The norm of one weight in each copy."""
    layers = streams[0].series["weight_norm"].layers
    layer = finding.layer if finding else layers[len(layers) // 3]
    tones: tuple[Tone, Tone] = ("other", "bad" if finding else "good")
    shown = [
        Line(
            f"{layer}, {one.facts.stream}",
            one.series["weight_norm"].steps.astype(np.float64),
            one.series["weight_norm"].of(layer).astype(np.float64),
            tone,
        )
        for one, tone in zip(streams, tones, strict=True)
    ]
    onset = finding.onset if finding else None
    return Plot(title, "step", "weight norm", tuple(shown), onset=onset)


GameView = Callable[[tuple[Stream, ...], "Finding | None", str], Scene]

GAME_VIEWS: Mapping[str, GameView] = {
    "one_sided_game": losses,
    "never_stepped": updates,
    "replicas": copies,
}
"""What is drawn of each comparison between streams."""
