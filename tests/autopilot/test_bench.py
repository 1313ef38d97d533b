"""The arithmetic of the bench, on results that are written by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.autopilot import figures as arithmetic
from benchmarks.autopilot.data import Clothes, Text
from benchmarks.autopilot.figures import Figures, grouped, summary
from benchmarks.autopilot.methods import (
    NONE,
    PEERS,
    Method,
    Rollback,
    Row,
    SkipSixSigma,
)
from benchmarks.autopilot.report import losses_by_rate, report
from benchmarks.autopilot.running import forget, jobs, read
from benchmarks.autopilot.tasks import ALL, Task, decades
from benchmarks.autopilot.training import Job, Result
from torch import nn

START = 2.0


def figures(methods: Any, name: str, plain: str) -> Figures:
    found = arithmetic.figures(methods, name, plain)
    assert found is not None
    return found


def run(method: str, rate: float, final: float | None, seed: int = 0) -> Result:
    job = Job(seed, "CNN, SGD", method, rate)
    return Result(job, START, final, 2.0 if method == "ours" else 1.0, {})


TABLE = (
    run(NONE, 0.1, 1.5), run(NONE, 1.0, 1.0), run(NONE, 10.0, None),
    run("ours", 0.1, 1.2), run("ours", 1.0, 1.004), run("ours", 10.0, 0.9),
    run("own rate", 1.0, 1.95),
)  # fmt: skip


def test_sensitivity_is_the_mean_distance_to_the_best_of_all() -> None:
    methods = grouped(TABLE)["CNN, SGD"]
    assert figures(methods, NONE, NONE).mean == pytest.approx((0.6 + 0.1 + 1.1) / 3)
    assert figures(methods, "ours", NONE).mean == pytest.approx((0.3 + 0.104) / 3)


def test_a_run_that_ends_above_its_start_counts_as_one_that_learnt_nothing() -> None:
    assert arithmetic.ended(run(NONE, 1.0, 5.0)) == START
    assert arithmetic.ended(run(NONE, 1.0, None)) == START
    assert arithmetic.diverged(run(NONE, 1.0, 5.0))
    assert not arithmetic.diverged(run(NONE, 1.0, 1.9))


def test_failed_runs_made_less_than_a_tenth_of_the_progress() -> None:
    methods = grouped(TABLE)["CNN, SGD"]
    assert figures(methods, NONE, NONE).failed == 1
    assert figures(methods, "own rate", NONE).failed == 1
    assert figures(methods, "ours", NONE).failed == 0


def test_one_run_of_a_method_with_its_own_rate_stands_for_all() -> None:
    found = figures(grouped(TABLE)["CNN, SGD"], "own rate", NONE)
    assert found.mean == pytest.approx(1.05)
    assert found.at_best == 1.95


def test_harm_is_counted_at_equal_rates() -> None:
    methods = grouped(TABLE)["CNN, SGD"]
    own, plain = figures(methods, "ours", NONE), figures(methods, NONE, NONE)
    assert own.plain == plain.sensitivity
    assert own.harms == pytest.approx((-0.2, 0.004, -0.55))
    assert own.at_best == 1.004
    whole = summary("ours", [own])
    assert whole.harmed == 0
    assert whole.sensitivity == pytest.approx(own.mean / plain.mean)
    assert whole.cost == 2.0


def test_the_spread_is_over_seeds_that_both_have() -> None:
    rates = (0.1, 1.0, 10.0)
    plain = [run(NONE, rate, 1.5, seed=1) for rate in rates]
    ours = [run("ours", rate, 1.0, seed=1) for rate in rates]
    begun = [run(NONE, 1.0, 1.5, seed=2), run("ours", 1.0, 0.1, seed=2)]
    found = figures(grouped([*TABLE, *plain, *ours, *begun])["CNN, SGD"], "ours", NONE)
    assert found.sensitivity == pytest.approx((0.404 / 3, 0.0))
    assert found.plain == pytest.approx((1.8 / 3, 0.5))
    assert found.spread == pytest.approx((0.404 / 3) / 2)
    assert found.runs == 6


def test_the_report_says_where_a_peer_is_better() -> None:
    clipped = [run("clip 1", rate, 1.0) for rate in (0.1, 1.0, 10.0)]
    text = report([*TABLE, *clipped], ALL[:1], ["ours"])
    assert "tasks on which a peer is better: CNN, SGD (clip 1 0.100, 0.135)" in text


def test_a_method_that_missed_a_rate_does_not_count() -> None:
    methods = grouped([*TABLE, run("clip 1", 0.1, 0.9)])["CNN, SGD"]
    assert arithmetic.figures(methods, "clip 1", NONE) is None


def test_the_losses_of_a_task_are_told_by_rate_with_those_that_were_lost() -> None:
    rates = ALL[0].rates
    results = [run(NONE, rate, 1.0) for rate in rates[:6]] + [run(NONE, rates[6], None)]
    assert "- (1 lost)" in losses_by_rate(results, ALL[:1], [])


# --- runs and their file --------------------------------------------------------


def test_a_file_of_results_goes_on_after_a_line_that_was_cut(tmp_path: Path) -> None:
    place = tmp_path / "results.jsonl"
    place.write_text('{"job": {"seed"', encoding="utf-8")
    assert read(place) == {}
    forget(place, [])
    assert place.read_text(encoding="utf-8") == ""


def test_methods_can_be_forgotten(tmp_path: Path) -> None:
    place = tmp_path / "results.jsonl"
    lines = [_line(one) for one in TABLE]
    place.write_text("".join(lines), encoding="utf-8")
    forget(place, ["ours"])
    assert {job.method for job in read(place)} == {NONE, "own rate"}
    assert list(read(place).values())[:3] == list(TABLE[:3])


def _line(one: Result) -> str:
    return json.dumps(one.as_json()) + "\n"


def test_every_method_meets_every_rate_but_those_that_find_their_own() -> None:
    wanted = jobs(ALL, PEERS, (0, 1))
    assert len(set(wanted)) == len(wanted)
    assert [job.seed for job in wanted] == sorted(job.seed for job in wanted)
    plain = [job for job in wanted if job.method == NONE]
    assert len(plain) == 2 * 7 * len(ALL)
    assert len([job for job in wanted if job.method == "Prodigy"]) == 2 * len(ALL)
    sgd = {task.name for task in ALL if not task.adam}
    assert not sgd & {job.task for job in wanted if job.method == "StableAdamW"}


def test_there_are_enough_tasks_and_rates() -> None:
    assert sum(not task.tuned for task in ALL) >= 5
    assert sum(task.tuned for task in ALL) >= 5
    for task in ALL:
        assert len(task.rates) == 7
        assert task.rates[-1] / task.rates[0] == pytest.approx(1e3)
    assert decades(0)[2] == 10


# --- data -----------------------------------------------------------------------


def test_a_seed_gives_the_same_batches_and_poisons_four() -> None:
    one, other = Clothes(3, spiked=True), Clothes(3, spiked=True)
    assert one.poisoned == other.poisoned
    assert len(one.poisoned) == 4
    assert min(one.poisoned) >= 20
    first = min(one.poisoned)
    brightness: list[float] = []
    for step in range(first + 1):
        x, y = one.batch(step)
        again, labels = other.batch(step)
        assert torch.equal(x, again)
        assert torch.equal(y, labels)
        brightness.append(x.abs().max().item())
    assert brightness[first] > 10 * brightness[first - 1]


def test_targets_of_text_are_the_next_characters_and_held_out_ones_are_apart() -> None:
    data = Text(0, rows=3, length=8)
    x, y = data.batch(0)
    assert torch.equal(x[:, 1:], y.reshape(3, 8)[:, :-1])
    first, second = data.held_out(), Text(1, rows=3, length=8).held_out()
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=True))


# --- methods --------------------------------------------------------------------

LINE = Task("a line", lambda: nn.Linear(2, 1), lambda seed: Clothes(seed), 100, (0.1,))


def started(method: Method) -> Method:
    torch.manual_seed(0)
    method.start(LINE, LINE.network(), 0.1)
    method.model(torch.ones(1, 2)).sum().backward()
    return method


def test_rollback_puts_back_the_weights_and_halves_the_rate() -> None:
    method = started(Rollback())
    assert method.permits(torch.tensor(1.0))
    kept = method.model.weight.detach().clone()
    before = method.share(0)
    method.optimizer.step()
    assert not method.permits(torch.tensor(math.nan))
    assert torch.equal(method.model.weight, kept)
    assert method.share(0) == before / 2
    assert method.ended() == {"rollback": 1}


def test_rollback_leaves_a_noisy_loss_that_falls_alone() -> None:
    method = started(Rollback())
    noise = torch.Generator().manual_seed(0)
    for step in range(100):
        jitter = 0.2 * torch.randn((), generator=noise).item()
        assert method.permits(torch.tensor(2 - 0.015 * step + jitter))


def test_six_sigma_skips_an_outlier_once_it_knows_the_usual() -> None:
    method = started(SkipSixSigma())
    noise = torch.Generator().manual_seed(0)
    for _ in range(64):
        assert method.permits(1 + 0.1 * torch.randn((), generator=noise))
    assert not method.permits(torch.tensor(5.0))
    assert method.permits(torch.tensor(1.0))


@pytest.mark.parametrize(
    ("row", "task"),
    [(r, t) for r in PEERS for t in (ALL[0], ALL[2]) if t.adam or not r.adam_only],
    ids=lambda one: one.name,
)
def test_every_method_takes_a_step(row: Row, task: Task) -> None:
    torch.manual_seed(0)
    method, data = row.made(), task.data(0)
    model = task.network()
    method.start(task, model, task.rates[3])
    before = [weight.detach().clone() for weight in model.parameters()]
    for step in range(3):
        x, y = data.batch(step)
        loss = task.loss(model(x), y)
        method.optimizer.zero_grad()
        loss.backward()
        assert method.permits(loss)
        method.optimizer.step()
        method.stepped(loss)
    method.ended()
    after = list(model.parameters())
    moved = [not torch.equal(*pair) for pair in zip(before, after, strict=True)]
    assert any(moved)
