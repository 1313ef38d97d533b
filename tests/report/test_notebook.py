"""Snippets for a notebook: whole, safe, and true."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

import numpy as np
import torch
from torch import nn

import surefoot
from surefoot.report.live import Live, after
from surefoot.report.notebook import Diagnoses, loss_svg, run_html
from surefoot.types import (
    RUN,
    Change,
    Diagnosis,
    Evidence,
    Finding,
    Prescription,
    Series,
)

HOSTILE = '<script>alert("x")</script>\x1b[31m\u202e&\'"'
VOID = ("br", "polyline", "line")


class Outline(HTMLParser):
    """Elements, attributes and text of a snippet; each must be closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words += f"{data} "


def diagnosis(word: str = "bad batch") -> Diagnosis:
    evidence = Evidence(f"loss, {word}", 90.0, 5.0, f"source {word}")
    finding = Finding("loss_spike", word, 300, "critical", (evidence,))
    change = Change("lr", "scale", 0.5, (word,))
    remedy = Prescription(word, (change,), "", "", f"advice {word}")
    return Diagnosis(word, f"about {word}", word, 300, 0.92, (finding,), (remedy,))


def test_a_diagnosis_says_what_where_since_when_on_what_and_what_to_do() -> None:
    words = Outline(diagnosis()._repr_html_()).words
    for told in (
        "Bad batch in bad batch, since step 300", "about bad batch", "92%",
        "90, bound 5 (18 times above)", "source bad batch", "advice bad batch",
        "lr × 0.5",
    ):  # fmt: skip
        assert told in words


def test_hostile_texts_are_shown_as_text() -> None:
    live = after(Live(HOSTILE), Series("loss", RUN, np.arange(3), np.ones((3, 1)),
                                       HOSTILE))  # fmt: skip
    live = after(live, Series("loss", RUN, np.arange(3), np.ones((3, 1)), "b"))
    one = diagnosis(HOSTILE)
    for text in (
        one._repr_html_(),
        Diagnoses([one, one], name=HOSTILE)._repr_html_(),
        Diagnoses(name=HOSTILE)._repr_html_(),
        run_html(live, [one]),
    ):
        outline = Outline(text)
        assert "script" not in outline.elements
        assert '<script>alert("x")</script>' in outline.words.replace(
            "Script", "script"
        )
        assert not {"\x1b", "\u202e"} & set(text)
        assert not [name for name, _ in outline.attributes if name.startswith("on")]
        assert "http" not in text
        assert "url(" not in text


def test_a_list_of_diagnoses_is_a_list() -> None:
    one, two = diagnosis(), diagnosis("dead ReLU")
    found = Diagnoses([one, two], name="net", steps=500)
    assert found == [one, two]
    assert isinstance(found, list)
    words = Outline(found._repr_html_()).words
    assert "Also possible" in words
    assert "Dead ReLU in dead ReLU, since step 300 (92%)" in words
    healthy = Outline(Diagnoses(name="net", steps=500)._repr_html_()).words
    assert "Nothing wrong found in 500 steps of net." in healthy


def drawn(values: list[float]) -> str:
    array = np.asarray(values, np.float32)[:, None]
    live = after(Live("net"), Series("loss", RUN, np.arange(len(values)), array))
    trail = live.courses["main"].trail
    assert trail is not None
    return loss_svg(trail)


def test_a_spike_and_what_is_not_finite_are_drawn() -> None:
    values = [1.0] * 5000
    values[1234] = 90.0
    text = drawn(values)
    assert "loss from 1 to 90" in text
    heights = [
        point.split(",")[1] for point in text.split('"')[-4].split() if "," in point
    ]
    assert heights.count("2.0") == 1
    assert "<line" not in text
    values[77] = math.nan
    assert drawn(values).count("<line") == 1
    nothing = drawn([math.nan] * 5)
    assert nothing.count("<line") == 5
    assert "nan" not in nothing.split("<polyline")[1].split("/>")[0]


def test_a_run_shows_its_losses_and_what_is_wrong(tmp_path: Any) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with surefoot.watch(model, optimizer, folder=tmp_path) as run:
        for step in range(60):
            loss = model(torch.ones(2, 4)).square().mean()
            loss = loss * float("nan") if step >= 40 else loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.step(loss)
        during = Outline(run._repr_html_())
        found = run.diagnose()
    after_it = Outline(run._repr_html_())
    for outline in (during, after_it):
        assert "60 steps" in outline.words
        assert "since step 40" in outline.words
        assert "svg" in outline.elements
    assert "since step 40" in found._repr_html_()  # type: ignore[attr-defined]


def test_a_run_that_is_off_shows_so(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("SUREFOOT", "off")
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = surefoot.watch(model, optimizer, folder=tmp_path)
    assert "not recorded" in Outline(run._repr_html_()).words
