"""What was done to a run: events become rows, and rows become text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from surefoot.record.reader import RecordReader
from surefoot.record.replays import BranchVerdict, Replayed, add_replay
from surefoot.record.writer import RecordWriter
from surefoot.report.contents import contents
from surefoot.report.deeds import deed_line, deeds, deeds_text
from surefoot.types import Change, Event, Prescription


def change(step: int, **more: Any) -> Event:
    body = {"knob": "lr", "op": "scale", "layers": [], "before": "lr × 1"}
    return Event(step, "change", body | {"after": "lr × 0.5", "why": "a spike"} | more)


def skipped(step: int, norm: str) -> Event:
    why = f"gradient norm {norm}, 8 medians are 2"
    return change(step, knob="step", op="skip", before="made", after="skip", why=why)


UNDO = Event(
    90,
    "undo",
    {"remedy": "lower_rate", "began": 40, "before": 1.25, "after": 1.5, "why": "no"},
)


def test_a_change_that_was_taken_back_says_so() -> None:
    [lower, back] = deeds([Event(0, "start", {}), change(40), UNDO])
    assert (lower.what, lower.undone) == ("learning rate", 90)
    assert deed_line(lower).endswith("lr × 1 → lr × 0.5 (a spike); undone at step 90")
    assert deed_line(back) == (
        "step 90: taken back: lower rate: loss 1.25 → loss 1.5 (no)"
    )


def test_skipped_updates_in_a_row_are_one_row() -> None:
    rows = deeds([skipped(1, "1e+9"), skipped(2, "3.5"), skipped(4, "inf")])
    assert [(row.step, row.last, row.count) for row in rows] == [(1, 2, 2), (4, 4, 1)]
    assert deed_line(rows[0]).startswith("step 1–2: update skipped × 2: made → skip")


def test_updates_that_are_skipped_and_clipped_in_turn_are_two_rows() -> None:
    events = [
        change(at, knob=knob, op=op)
        for at in range(4)
        for knob, op in (("step", "skip"), ("gradient", "scale"))
    ]
    found = [(row.what, row.step, row.last, row.count) for row in deeds(events)]
    assert found == [("update skipped", 0, 3, 4), ("gradient clipped", 0, 3, 4)]


def test_advice_and_incidents_are_told_apart_from_changes() -> None:
    body = {"remedy": "clip_gradients", "cause": "exploding_gradients", "layer": "a"}
    told = {"path": "/runs/x.incident.safetensors", "reason": "loss is nan"}
    rows = deeds([Event(7, "advice", body), Event(8, "incident", told)])
    assert [row.kind for row in rows] == ["advised", "kept"]
    assert [deed_line(row) for row in rows] == [
        "step 7: advised: clip gradients (exploding gradients in a)",
        "step 8: incident kept: x.incident.safetensors (loss is nan)",
    ]


def test_the_text_is_as_wide_as_asked_and_counts_what_it_leaves_out() -> None:
    events = [change(at, knob=("lr", "eps")[at % 2], why="w " * 40) for at in range(40)]
    text = deeds_text(events, width=60)
    assert max(map(len, text.splitlines())) <= 60
    assert "and 28 rows more" in text
    assert "step 39" in text
    assert deeds_text([Event(3, "checkpoint", {"path": "a"})]) == ""
    assert "\x1b[" in deeds_text(events, colour=True)


def test_hostile_bodies_neither_raise_nor_steer_a_terminal() -> None:
    odd: list[Any] = [None, 3, "x\x1b[2J\ny", ["a"], {"b": 1}, float("nan")]
    for kind in ("change", "undo", "autopilot", "advice", "answer", "incident"):
        for value in odd:
            keys = "knob op layers before after why what remedy began path cause"
            body: dict[str, Any] = {}
            body.update(dict.fromkeys(keys.split(), value))
            for row in deeds([Event(1, kind, body), Event(2, kind, {})]):
                line = deed_line(row)
                assert "\x1b" not in line
                assert "\n" not in line


def test_the_last_replays_travel_with_the_page_in_few_digits(tmp_path: Path) -> None:
    path = tmp_path / "net.surefoot"
    writer = RecordWriter(path, {})
    writer.event(change(3))
    writer.close()
    lower = Prescription("lower_rate", (Change("lr", "scale", 0.5),), "", "")
    losses = (1 / 3, math.inf, math.nan)
    branch = BranchVerdict(lower, "prevented", 0.1, 0.2, losses)
    for number in range(5):
        told = Replayed(
            incident=f"net-{number}.incident.safetensors",
            first=0,
            parting=1,
            onset=2,
            last=3,
            result="prevented",
            remedy=lower,
            branches=(branch,),
            recorded=losses,
        )
        add_replay(path, told)
    with RecordReader(path) as reader:
        page: Any = contents(reader, [])
    assert [one["incident"][4] for one in page["replays"]] == ["2", "3", "4"]
    shown = page["replays"][0]
    assert shown["recorded"] == shown["branches"][0]["losses"]
    assert shown["recorded"] == [0.3333, "inf", "nan"]
    assert shown["remedy"]["changes"][0]["knob"] == "lr"
    assert [one["kind"] for one in page["events"]] == ["change"]
