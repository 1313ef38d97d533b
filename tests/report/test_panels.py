"""Panels keep what one looks for: spikes, gaps, the accused layer and its onset."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from surefoot.record import quantities
from surefoot.record.rollup import Overview, rollup
from surefoot.report.panels import (
    COLUMNS,
    POINTS,
    Query,
    heatmap,
    line,
    panel,
    panels,
    quotient,
    shares,
)
from surefoot.report.pictures import named, offered
from surefoot.types import Mark, Series


def seen(series: Series, points: int = POINTS) -> Overview:
    rolled = rollup(series.values, series.steps, points)
    return Overview(series.quantity, series.stream, series.layers, rolled)


LOSS, GRADS = named("loss"), named("grad_norm")


def test_a_spike_of_one_step_in_a_million_survives_in_a_line(a_series):
    loss = np.ones(1_000_000, np.float32)
    loss[517_003] = 80.0
    drawn = line(LOSS, seen(a_series("loss", loss)))
    highest = int(drawn.high[0].argmax())
    assert (drawn.low[0, highest], drawn.high[0, highest]) == (1.0, 80.0)
    assert drawn.x[highest] <= 517_003 < drawn.x[highest + 1]
    assert len(drawn.x) <= POINTS


def test_a_spike_of_one_layer_survives_in_a_map(a_series):
    grads = np.full((40_000, 3), 0.1, np.float32)
    grads[31_337, 1] = 9.0
    grads = a_series("grad_norm", grads, layers=["a", "b", "c"])
    drawn = heatmap(GRADS, seen(grads, COLUMNS))
    assert len(drawn.x) <= COLUMNS
    assert drawn.high.max(axis=1) == pytest.approx([0.1, 9.0, 0.1])


def test_readings_that_are_not_finite_are_gaps_with_a_mark(a_series):
    loss = np.ones(50, np.float32)
    loss[20:24], loss[40] = np.nan, np.inf
    drawn = line(LOSS, seen(a_series("loss", loss)))
    gaps = np.isnan(drawn.low[0]) & np.isnan(drawn.high[0])
    assert np.flatnonzero(gaps).tolist() == [20, 21, 22, 23, 40]
    assert drawn.marks == (
        Mark("not finite, 4 readings", step=20),
        Mark("not finite", step=40),
    )


def test_a_bin_with_one_reading_that_is_not_finite_is_marked_at_its_own_step(
    a_run, a_series
):
    loss = np.ones(50_000, np.float32)
    loss[31_337] = np.nan
    found = panel(a_run(a_series("loss", loss)), Query("loss"))
    assert found.width > 1
    assert found.marks == (Mark("not finite", step=31_337),)
    assert np.nanmax(found.high) == 1.0


def test_metrics_logged_at_different_steps_are_no_fault(a_run, a_series):
    rows = np.full((4_000, 2), np.nan, np.float32)
    rows[::2, 0], rows[1::2, 1] = 0.5, 0.7
    found = panel(a_run(a_series("metric", rows, layers=["a", "b"])), Query("metric"))
    assert found.marks == ()


def test_a_map_tells_an_overflow_from_an_absence(a_series):
    values = [[1.0, np.nan], [np.inf, 2.0]]
    drawn = heatmap(GRADS, seen(a_series("grad_norm", values, layers=["a", "b"])))
    assert drawn.high[0].tolist() == [1.0, math.inf]
    assert math.isnan(drawn.high[1, 0])
    assert drawn.high[1, 1] == 2.0


def test_a_map_of_signed_readings_keeps_the_one_farthest_from_zero(a_series):
    values = np.full((4_000, 1), 0.1, np.float32)
    values[1_234] = -7.0
    series = a_series("contribution", values, layers=["a"])
    drawn = heatmap(named("contribution"), seen(series, COLUMNS))
    assert drawn.high.min() == -7.0
    assert drawn.high.max() == pytest.approx(0.1)


def test_the_quotient_is_taken_where_both_were_recorded(a_series):
    above = a_series("update_norm", [[1, 2], [3, 4], [5, 6]], layers=["a", "b"])
    below = a_series("weight_norm", [[10, 0], [20, 5]], layers=["b", "c"], every=2)
    found = quotient("update_ratio", seen(above), seen(below))
    assert found.layers == ("b",)
    assert found.rollup.steps.tolist() == [0, 2]
    assert found.rollup.high[:, 0] == pytest.approx([0.2, 0.3])


def test_the_quotient_of_bins_holds_every_quotient_of_readings(a_series):
    rng = np.random.default_rng(3)
    top, bottom = rng.random((2, 1_000)) + 0.5
    exact = (top / bottom).astype(np.float32)
    found = quotient(
        "update_ratio",
        seen(a_series("update_norm", top), 20),
        seen(a_series("weight_norm", bottom), 20),
    ).rollup
    bins = rollup(exact[:, None], np.arange(1_000), 20)
    assert (found.low <= bins.low * 1.000001).all()
    assert (found.high >= bins.high * 0.999999).all()


def test_a_quotient_over_nothing_is_no_number(a_series):
    zero = seen(a_series("weight_norm", [0.0, 2.0]))
    found = quotient("update_ratio", seen(a_series("update_norm", [1.0, 1.0])), zero)
    assert math.isnan(found.rollup.high[0, 0])
    assert found.rollup.high[1, 0] == 0.5


def test_a_wide_loss_is_drawn_logarithmically_and_a_calm_one_is_not(a_series):
    calm = np.linspace(2, 1, 100)
    assert not line(LOSS, seen(a_series("loss", calm))).log
    assert line(LOSS, seen(a_series("loss", [*calm, 900.0]))).log
    assert not line(LOSS, seen(a_series("loss", [*calm, 900.0, -1.0]))).log


def test_a_layer_of_a_map_keeps_its_lows(a_run, a_series):
    grads = np.full((10_000, 2), 1.0, np.float32)
    grads[1234, 1] = 1e-6
    run = a_run(a_series("grad_norm", grads, layers=["a", "b"]))
    found = panel(run, Query("grad_norm", layer="b"))
    assert found.y == ("b",)
    assert found.low.min() == pytest.approx(1e-6)
    assert found.log
    with pytest.raises(KeyError, match="has no layer 'c'"):
        panel(run, Query("grad_norm", layer="c"))


def test_a_part_of_the_steps_is_drawn_more_finely(a_run, a_series):
    run = a_run(a_series("loss", np.arange(10_000)))
    whole, part = (
        panel(run, Query("loss")),
        panel(run, Query("loss", start=64, stop=96)),
    )
    assert (whole.width, part.width) == (8, 1)
    assert part.x.tolist() == list(range(64, 96))
    tail = panel(run, Query("loss", start=int(whole.x[-1]), width=whole.width))
    assert tail.x.tolist() == [whole.x[-1]]
    assert tail.high.tolist() == [[9_999.0]]


def test_unknown_panels_are_refused_and_unrecorded_ones_are_none(a_run, a_series):
    run = a_run(a_series("loss", [1.0, 0.5]))
    assert panel(run, Query("grad_norm")) is None
    assert panel(run, Query("loss", start=900)) is None
    with pytest.raises(KeyError, match="unknown panel 'los'; expected one of loss,"):
        panel(run, Query("los"))


def test_every_quantity_of_a_layer_has_a_map():
    offers = offered({one.name for one in quantities.ALL})
    maps = {need for one in offers if one.kind == "heatmap" for need in one.needs}
    layered = ("parameter", "module")
    assert maps == {one.name for one in quantities.ALL if one.axis in layered}
    lines = {need for one in offers if one.kind == "line" for need in one.needs}
    assert lines | maps == {one.name for one in quantities.ALL}


def test_a_run_becomes_its_panels_with_the_accused_marked(sigmoid_run, vanishing):
    found = panels(sigmoid_run, [vanishing])
    assert list(found) == [
        "loss",
        "metric",
        "lr",
        "step_seconds",
        "grad_norm",
        "update_ratio",
        "saturated_share",
        "weight_norm",
    ]
    assert found["grad_norm"].marks == (
        Mark("vanishing gradients", step=0, layer="net.0.weight"),
    )
    assert Mark("not learning", step=40) in found["loss"].marks
    assert found["step_seconds"].unit == "ms"
    assert 1.9 < found["step_seconds"].low[0, 0] < 2.5


def test_another_streams_diagnosis_marks_nothing(sigmoid_run, vanishing):
    assert panels(sigmoid_run, [vanishing], stream="other") == {}


def test_quantities_that_were_not_recorded_have_no_panel(a_run, a_series):
    run = a_run(a_series("loss", [1.0, 0.5]), a_series("update_norm", [0.1, 0.1]))
    assert list(panels(run)) == ["loss"]


def test_a_series_without_readings_has_no_panel(a_run, a_series):
    assert panels(a_run(a_series("loss", []))) == {}


def test_two_hundred_layers_over_many_steps_take_little_time(a_run, a_series):
    rng = np.random.default_rng(0)
    names = [f"layer.{at}.weight" for at in range(200)]
    grads = a_series("grad_norm", rng.random((20_000, 200)), layers=names)
    run = a_run(grads)
    begun = time.process_time()
    drawn = panels(run)["grad_norm"]
    # Measured: 0.25 s; the bound allows for a machine that others use too.
    assert time.process_time() - begun < 3.0
    assert drawn.high.shape[0] == 200


def test_shares_of_layers_sum_to_one_and_keep_their_sign(a_series):
    values = np.array([[-1e6, 3e6], [-1e-6, -1e-6], [0, 0], [np.inf, 1]], np.float32)
    series = a_series("contribution", values, layers=["a", "b"])
    made = shares(seen(series))
    assert made.rollup.high[:2].tolist() == [[-0.25, 0.75], [-0.5, -0.5]]
    assert np.isnan(made.rollup.high[2:]).all()
    alone = shares(seen(series), "b")
    assert alone.layers == ("b",)
    assert alone.rollup.low[:2].tolist() == [[0.75], [-0.5]]


def test_shares_of_wide_bins_are_of_what_is_farthest_from_zero(a_series):
    values = np.array([[-1, 2], [-6, 2], [1, 0], [0, 1]], np.float32)
    made = shares(seen(a_series("contribution", values, layers=["a", "b"]), 2))
    drawn = heatmap(named("contribution"), made)
    assert drawn.high.tolist() == [[-0.75, 0.5], [0.25, 0.5]]
