"""What a terminal shows: whole, within its width, and without foreign escapes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from surefoot.report.text import (
    diagnosis_text,
    runs_table,
    sparkline,
    verdict_text,
)
from surefoot.report.words import clean, distance, number


@dataclass
class Line:
    name: str
    status: str
    steps: int
    last_loss: float | None
    trouble: str | None = None
    created: datetime = datetime(2026, 2, 3, 4, 15, tzinfo=UTC)


def test_a_diagnosis_says_what_where_since_when_why_and_what_to_do(vanishing):
    text = diagnosis_text([vanishing], run_name="net")
    flat = " ".join(text.split())
    for part in (
        "✗ Vanishing gradients in net.0.weight, since step 0",
        "Each sigmoid passes on at most a quarter of the gradient",
        "critical, confidence 93%",
        "9.4e-08, bound 0.001 (11,000 times below)",
        "Glorot & Bengio 2010",
        "1. Replace activation",
        "activation → ReLU",
        "expect: gradient norms of all layers within a factor of 10",
        "3. Residual connections",
    ):
        assert part in flat


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(vanishing, spike_diagnoses, width):
    text = diagnosis_text([vanishing, *spike_diagnoses], run_name="net", width=width)
    assert max(map(len, text.splitlines())) <= width


def test_colour_comes_only_when_asked_for_and_changes_no_words(vanishing):
    plain = diagnosis_text([vanishing], run_name="net")
    coloured = diagnosis_text([vanishing], run_name="net", colour=True)
    assert "\x1b" not in plain
    assert "\x1b[1;31mVanishing" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_an_unconfirmed_cause_says_so(spike_diagnoses):
    text = diagnosis_text(spike_diagnoses[1:], run_name="net")
    assert "confidence 34%, unconfirmed: one signal alone" in text


def test_less_likely_causes_are_told_in_short(vanishing, spike_diagnoses):
    text = diagnosis_text([vanishing, *spike_diagnoses * 3], run_name="net")
    short = text[text.index("Also possible") :]
    assert (
        "✗ Stale second moment in blocks.7.attn.qkv.weight, since step 3,417" in short
    )
    assert "try: Lower beta2" in short
    assert "Bad batch in the whole run, since step 3,417 (34%, unconfirmed)" in short
    assert "and 2 more" in short
    assert len(short.splitlines()) < 22


def test_where_a_non_finite_value_was_born_is_told(vanishing):
    born = {"module": "net.3", "operation": "log", "line": "net.py:12", "tensor": "x"}
    found = replace(vanishing.findings[0], detail=born)
    text = diagnosis_text([replace(vanishing, findings=(found,))], run_name="net")
    assert "module net.3, operation log, line net.py:12" in text


def test_a_record_cannot_steer_the_terminal(vanishing):
    bad = replace(vanishing, layer="net\x1b]0;owned\x07\u202e.weight")
    text = diagnosis_text([bad], run_name="net")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert clean("plain.name") == "plain.name"


def test_a_verdict_shows_each_seed_and_its_interval(verdict, failed_verdict):
    text = verdict_text(verdict)
    assert text.startswith("✓ Replace activation: helped\n")
    assert "held out accuracy +0.852, 95 % interval +0.831 to +0.873" in text
    assert len(re.findall(r"^  seed \d", text, re.MULTILINE)) == 5
    assert verdict_text(failed_verdict).startswith(
        "✗ Normalise between layers: not shown to help"
    )


def test_a_verdict_over_runs_that_broke_is_still_text(verdict):
    broken = replace(verdict, baseline=(math.nan,) * 5, effect=math.nan)
    assert "nan" in verdict_text(broken)


def test_runs_are_listed_with_their_troubles():
    runs = [
        Line("net-1", "finished", 12_000, 0.25),
        Line("net-2", "unreadable", 0, None, "net-2.surefoot is damaged: page 7"),
    ]
    lines = runs_table(runs).splitlines()
    assert lines[1].split() == [
        "net-1",
        "finished",
        "12,000",
        "0.25",
        "2026-02-03",
        "04:15",
    ]
    assert lines[3] == "  ! net-2.surefoot is damaged: page 7"
    assert runs_table([]) == "No runs here. Record one: surefoot run SCRIPT.py"


def test_a_sparkline_keeps_a_spike():
    values = [0.0] * 1000
    values[777] = 5.0
    assert sparkline(values, 20).count("█") == 1
    assert sparkline([math.nan], 5) == "×"
    assert sparkline([2.0, 2.0], 5) == "▁▁"


def test_numbers_and_distances_in_words():
    assert [number(x) for x in (0, 1e-9, 123456.0, 0.125, -math.inf)] == [
        "0",
        "1e-09",
        "1.23e+05",
        "0.125",
        "-inf",
    ]
    assert distance(5.0, 5.0) == ""
    assert distance(math.nan, 5.0) == ""
    assert distance(-1.0, 5.0) == "below"
