"""From a diagnosis to advice, a question, a remedy on trial, and back."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import surefoot
from surefoot.autopilot.advice import advice, live_remedy
from surefoot.autopilot.asking import Asker, Page, Question
from surefoot.autopilot.joined import Autopilot
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.on_trial import OnTrial
from surefoot.autopilot.policy import Policy, PolicyError
from surefoot.record.answers import AnswerError, answers_of, answers_path, put_answer
from surefoot.record.reader import RecordReader
from surefoot.types import Change, Diagnosis, Event, Prescription

HALF = Prescription("halve the rate", (Change("lr", "scale", 0.5),), "a fall", "test")
WORSE = Prescription("raise it", (Change("lr", "scale", 300.0),), "nothing", "test")
START = Prescription("anew", (Change("init", "set", "orthogonal"),), "x", "test")
TOLD = Prescription("mend it", (), "x", "test", advice="Mend it.")


def diagnosis(*prescriptions: Prescription) -> Diagnosis:
    return Diagnosis("rate too high", "about", "0", 7, 0.9, (), prescriptions)


class Loop:
    """A net that trains under a policy, with a person who answers as told."""

    def __init__(self, policy: Policy, answer: str | None = None) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.told: list[Event] = []
        self.answer, self.name = answer, "terminal"
        self.live = Live({"model": self.model}, [self.optimizer])
        self.autopilot = Autopilot(
            self.live,
            policy,
            streams={"main": self.optimizer},
            tell=self.told.append,
            sources=[self],
        )

    def begin(self, question: Question) -> None:
        self.asked = question

    def look(self, question: Question) -> str | None:
        return self.answer

    def steps(self, count: int) -> None:
        for _ in range(count):
            x = torch.ones(8, 4)
            loss = (self.model(x) - 1).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.autopilot.see_loss(loss)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [dict(event.body) for event in self.told if event.kind == kind]

    def wait_for(self, kind: str) -> dict[str, Any]:
        end = time.monotonic() + 60
        while not self.of_kind(kind):
            assert time.monotonic() < end, self.told
            time.sleep(0.01)
        return self.of_kind(kind)[-1]


# --- advice ---------------------------------------------------------------------


def test_what_can_be_done_at_once_is_advised_before_what_needs_a_new_start() -> None:
    assert live_remedy(diagnosis(TOLD, START, HALF)) is HALF
    assert live_remedy(diagnosis(TOLD, START)) is None
    wheres = [
        (advice(diagnosis(*given)) or {}).get("where")
        for given in ((START, HALF), (START,), (TOLD,), ())
    ]
    assert wheres == ["live", "at a new start", "by hand", None]


def test_advise_says_and_leaves_the_run_alone() -> None:
    loop = Loop(Policy(), answer="yes")
    loop.autopilot.hear(diagnosis(HALF))
    loop.steps(3)
    [body] = loop.of_kind("advice")
    assert body["changes"] == [
        {"knob": "lr", "op": "scale", "amount": 0.5, "layers": ()}
    ]
    assert [event.kind for event in loop.told] == ["advice"]
    assert not loop.optimizer._optimizer_step_pre_hooks
    loop.autopilot.close()


# --- asking ---------------------------------------------------------------------


def test_yes_carries_the_remedy_out_and_keeps_it_if_the_loss_fell() -> None:
    loop = Loop(Policy(mode="ask", window=10, pause=0), answer="yes")
    loop.steps(10)
    loop.autopilot.hear(diagnosis(HALF))
    loop.wait_for("answer")
    loop.steps(11)
    [question], [change] = loop.of_kind("question"), loop.of_kind("change")
    assert question["remedy"] == "halve the rate"
    assert change["after"] == "lr × 0.5"
    assert "agreed to (terminal)" in change["why"]
    [verdict] = loop.of_kind("autopilot")
    assert verdict["what"] == "halve the rate: stays"
    assert verdict["after"] < verdict["before"]
    loop.autopilot.close()


def test_a_remedy_that_does_not_help_is_undone() -> None:
    loop = Loop(Policy(mode="ask", window=10), answer="yes")
    loop.steps(10)
    loop.autopilot.hear(diagnosis(WORSE))
    loop.wait_for("answer")
    loop.steps(11)
    [undo] = loop.of_kind("undo")
    assert undo["remedy"] == "raise it"
    seen: list[float] = []
    loop.optimizer.register_step_pre_hook(
        lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"])
    )
    loop.steps(1)
    assert seen == [0.01]
    loop.autopilot.close()


@pytest.mark.parametrize("answer", ["no", None])
def test_nothing_but_yes_acts(answer: str | None) -> None:
    loop = Loop(Policy(mode="ask"), answer=answer)
    loop.autopilot.hear(diagnosis(HALF))
    if answer is not None:
        assert loop.wait_for("answer")["answer"] == "no"
    loop.steps(5)
    loop.autopilot.close()
    assert loop.wait_for("answer")["answer"] == (answer or "none")
    assert not loop.of_kind("change")
    assert not loop.optimizer._optimizer_step_post_hooks


def test_the_budget_is_kept_and_told() -> None:
    told: list[Event] = []
    model = nn.Linear(2, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    live = Live({"m": model}, [sgd])
    policy = Policy(mode="ask", interventions=1, window=2, pause=3)
    trial = OnTrial(live, policy, told.append)
    for _ in range(2):
        trial.want(HALF, "why")
    steps: list[int] = []
    for _ in range(12):
        trial.see_loss(torch.tensor(1.0))
        sgd.step()
        steps.append(len(told))
    kinds = [event.kind for event in told]
    assert kinds == ["change", "undo", "autopilot"]
    assert [event.step for event in told] == [1, 3, 6]
    assert "all 1 interventions are spent" in told[-1].body["why"]
    trial.close()


def test_a_remedy_that_does_not_apply_is_told_and_training_goes_on() -> None:
    loop = Loop(Policy(mode="ask"), answer="yes")
    lost = Prescription("x", (Change("layer", "freeze", "", ("9",)),), "x", "test")
    loop.autopilot.hear(diagnosis(lost))
    loop.wait_for("answer")
    loop.steps(2)
    [body] = loop.of_kind("autopilot")
    assert body["what"] == "x: does not apply"
    assert "expected modules" in body["why"]
    loop.autopilot.close()


def test_a_page_answers_through_a_file_beside_the_record(tmp_path: Path) -> None:
    record = tmp_path / "run.surefoot"
    found: list[tuple[str, str]] = []
    done = threading.Event()

    def answered(question: Question, answer: str, by: str) -> None:
        found.append((answer, by))
        done.set()

    asker = Asker([Page(record)], answered)
    asker.ask(Question(1, "really?", 60.0))
    put_answer(record, 2, "yes")
    put_answer(record, 1, "no")
    put_answer(record, 1, "yes")
    assert done.wait(60)
    asker.close()
    assert found == [("no", "page")]


def test_odd_answers_are_no_answers(tmp_path: Path) -> None:
    record = tmp_path / "run.surefoot"
    assert answers_of(record) == {}
    answers_path(record).write_bytes(
        b'\xff\n[]\n{"question": "1", "answer": "yes"}\n{"question": 1}\n'
        b'{"question": 1, "answer": "perhaps"}\n{"question": 3, "answer": "yes"}\n{"q'
    )
    assert answers_of(record) == {3: "yes"}
    for question, answer in ((1, "perhaps"), (-1, "yes"), (True, "yes")):
        with pytest.raises(AnswerError, match="expected"):
            put_answer(record, question, answer)


def test_a_question_without_an_answer_ends(tmp_path: Path) -> None:
    found: list[str] = []
    asker = Asker(
        [Page(tmp_path / "run.surefoot")], lambda q, answer, by: found.append(answer)
    )
    asker.ask(Question(1, "really?", 0.0))
    end = time.monotonic() + 60
    while not found and time.monotonic() < end:
        time.sleep(0.01)
    asker.close()
    assert found == ["none"]


# --- one run, one autopilot -------------------------------------------------------


@pytest.mark.parametrize("mode", ["guard", "steer", "ask"])
def test_two_autopilots_on_one_optimizer_are_refused(mode: Any, tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with surefoot.watch(model, sgd, folder=tmp_path, autopilot=mode):
        with pytest.raises(KnobError, match="a second autopilot"):
            surefoot.watch(model, sgd, folder=tmp_path, autopilot="ask")
        surefoot.watch(model, sgd, folder=tmp_path, autopilot="advise").close()
    with surefoot.watch(model, sgd, folder=tmp_path, autopilot=mode):
        pass
    assert not sgd._optimizer_step_pre_hooks
    assert not sgd._optimizer_step_post_hooks


def test_a_policy_that_means_nothing_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    model = nn.Linear(2, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    wrong: Any = "autopilot"
    with pytest.raises(PolicyError, match="expected one of 'advise'"):
        surefoot.watch(model, sgd, folder=tmp_path / "runs", autopilot=wrong)
    assert not (tmp_path / "runs").exists()


def test_a_switched_off_run_has_no_autopilot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUREFOOT", "off")
    model = nn.Linear(2, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with surefoot.watch(model, sgd, folder=tmp_path, autopilot="steer"):
        assert not sgd._optimizer_step_pre_hooks


def test_a_watched_run_is_guarded_and_its_record_says_so(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    with surefoot.watch(model, sgd, folder=tmp_path, autopilot="guard") as run:
        for step in range(20):
            x = torch.ones(3, 2) * (float("nan") if step == 12 else 1.0)
            loss = model(x).square().mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            run.step(loss)
    assert bool(torch.isfinite(model.weight).all())
    assert run.path is not None
    with RecordReader(run.path) as reader:
        told = [event for event in reader.events() if event.kind == "change"]
    assert told[0].step == 12


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_real_alarm_is_a_question_and_only_yes_acts(
    answer: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)

    def train(run: surefoot.Run) -> dict[str, dict[str, Any]]:
        """Fifty updates; what was told so far goes out."""
        for _ in range(50):
            x = torch.randn(32, 8)
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            run.step(loss)
        run.flush()
        assert run.path is not None
        with RecordReader(run.path) as reader:
            return {one.kind: dict(one.body) for one in reader.events()}

    policy, end = Policy(mode="ask", window=10), time.monotonic() + 120
    with surefoot.watch(model, sgd, folder=tmp_path, autopilot=policy) as run:
        train(run)
        train(run)
        sgd.param_groups[0]["lr"] = 0.6
        while "question" not in (told := train(run)) and time.monotonic() < end:
            pass
        asked = told["question"]
        assert asked["cause"] == "learning rate too high"
        assert "change" not in told
        assert run.path is not None
        put_answer(run.path, asked["question"], answer)
        while "answer" not in (told := train(run)) and time.monotonic() < end:
            pass
        told = train(run)
    assert (told["answer"]["answer"], told["answer"]["by"]) == (answer, "page")
    assert ("change" in told) == (answer == "yes")
    # Which remedy comes first depends on when the run is looked at.
    knobs = {change["knob"] for change in asked["changes"]}
    assert answer == "no" or told["change"]["knob"] in knobs
