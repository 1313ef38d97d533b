"""The rule by which all tools are counted, on alarms that are written by hand."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from benchmarks.zoo.peers import catalogue, score
from benchmarks.zoo.peers.alarm import Alarm, Peer, Watcher
from benchmarks.zoo.peers.count import Outcome, Planted, outcome, same_layer, together
from benchmarks.zoo.peers.kept import restored
from benchmarks.zoo.peers.rules import SPIKE, Lightning, SixSigma
from benchmarks.zoo.peers.run import Attempt
from benchmarks.zoo.peers.words import ACCEPTABLE, WORDS

from surefoot.diagnosis import causes

RULES = {"jump": ("loss spike",), "long": ("update too large",), "odd": ("imbalance",)}
HIGH = Planted(("learning rate too high",), onset=100, layers=("net.2",))


def test_an_alarm_with_an_acceptable_name_is_a_hit_but_not_the_root() -> None:
    found = outcome([Alarm(103, "jump")], HIGH, RULES)
    assert found == Outcome(alarmed=True, hit=True, root=False, layer=False, lag=3)


def test_the_root_and_the_layer_are_found_by_name() -> None:
    alarms = [Alarm(101, "jump"), Alarm(102, "long", "net.2.weight")]
    found = outcome(alarms, HIGH, RULES)
    assert found == Outcome(alarmed=True, hit=True, root=True, layer=True, lag=1)


def test_the_first_layer_that_is_named_counts() -> None:
    alarms = [Alarm(101, "long", "net.0"), Alarm(102, "long", "net.2")]
    assert outcome(alarms, HIGH, RULES).layer is False


def test_an_alarm_before_the_onset_is_no_hit() -> None:
    found = outcome([Alarm(99, "long")], HIGH, RULES)
    assert found.wrong
    assert not found.hit
    assert found.lag is None


def test_an_alarm_that_speaks_of_something_else_is_wrong() -> None:
    assert outcome([Alarm(120, "odd")], HIGH, RULES).wrong
    assert outcome([Alarm(120, "unheard of")], HIGH, RULES).wrong


def test_silence_is_a_miss_and_not_wrong() -> None:
    found = outcome([], HIGH, RULES)
    assert not found.hit
    assert not found.wrong


def test_any_alarm_on_a_healthy_run_is_false() -> None:
    assert outcome([Alarm(0, "odd")], Planted(), RULES).alarmed
    assert not outcome([], Planted(), RULES).alarmed


def test_a_cause_is_a_name_for_itself() -> None:
    found = outcome([Alarm(100, "learning rate too high")], HIGH, {})
    assert found.root


@pytest.mark.parametrize(
    ("named", "guilty", "same"),
    [
        ("net.0.weight", "net.0", True),
        ("net.0", "net.0.bias", True),
        ("lstm.weight_ih_l0", "lstm", True),
        ("net.1", "net.10", False),
        ("net", "net.0", False),
        ("", "net.0", False),
    ],
)
def test_a_layer_is_its_module_or_a_parameter(
    named: str, guilty: str, same: bool
) -> None:
    assert same_layer(named, guilty) is same


def test_all_rules_of_all_peers_are_told_in_known_words() -> None:
    used = {
        word
        for peer in catalogue.ALL
        for words in peer.words.values()
        for word in words
    }
    assert used <= WORDS.keys()


def test_what_is_acceptable_is_told_in_known_words() -> None:
    used = set().union(*(one.hit for one in ACCEPTABLE.values()))
    assert used <= WORDS.keys()


def test_every_cause_that_we_name_says_what_is_acceptable() -> None:
    named = {cause.name for cause in causes.ALL} - {"unknown"}
    assert named <= ACCEPTABLE.keys()


def _spoken(watcher: Lightning | SixSigma, losses: list[float]) -> list[Alarm]:
    for step, loss in enumerate(losses):
        watcher.after_update(step, loss, None)
    return watcher.alarms


def test_the_spike_rule_wants_thrice_the_mean(tmp_path) -> None:
    assert _spoken(Lightning(tmp_path), [1.0] * 10 + [3.1]) == [Alarm(10, SPIKE)]
    assert not _spoken(Lightning(tmp_path), [1.0] * 10 + [2.9])


def test_the_six_sigma_rule_measures_by_the_losses_before(tmp_path) -> None:
    steady = [1.0, 1.1] * 20
    assert _spoken(SixSigma(tmp_path), [*steady, 1.5]) == [Alarm(40, SPIKE)]
    assert not _spoken(SixSigma(tmp_path), [*steady, 1.3])


def _row(attempts: list[Attempt], harmful: dict[str, bool]) -> score.Row:
    peer = Peer("tool", "tool==1.0", "live", Watcher, {})
    return score.row(peer, attempts, harmful, (1.0, 1.5))


def test_a_row_counts_harmful_faults_and_healthy_runs_only() -> None:
    found = _row(
        [
            Attempt("tool", "seen", Outcome(True, hit=True, root=True, lag=4)),
            Attempt("tool", "missed", Outcome(False)),
            Attempt("tool", "mistaken", Outcome(True)),
            Attempt("tool", "harmless", Outcome(True, hit=True)),
            Attempt("tool", "sound", Outcome(False)),
            Attempt("tool", "alarmed", Outcome(True)),
            Attempt("other", "missed", Outcome(True, hit=True)),
        ],
        {"seen": True, "missed": True, "mistaken": True, "harmless": False},
    )
    assert (found.faults, found.hits, found.roots, found.wrong) == (3, 1, 1, 1)
    assert (found.healthy, found.false_alarms, found.alarmed) == (2, 1, ("alarmed",))
    assert (found.lag, found.version) == (4, "1.0")
    assert found.missed == ("missed", "mistaken")


def test_a_crash_is_neither_a_hit_nor_an_alarm() -> None:
    crashed = [Attempt("tool", name, crash="RuntimeError") for name in ("bad", "sound")]
    there = Attempt("other", "bad", Outcome(True, hit=True, layer=True))
    found = _row([*crashed, there], {"bad": True})
    assert (found.crashes, found.hits, found.false_alarms) == (2, 0, 0)
    assert (found.layers, found.layered) == (0, 1)


def test_tools_together_find_what_any_finds_and_alarm_where_any_does() -> None:
    one, other = Outcome(True, layer=False), Outcome(False, hit=True, layer=True, lag=2)
    assert together([one, other]) == Outcome(True, hit=True, layer=True, lag=2)
    assert together([Outcome(False)]) == Outcome(False)


def test_the_table_names_what_could_not_be_installed() -> None:
    text = score.printed([_row([], {})], {"DLCheck": "could not resolve host"})
    assert "| tool" in text
    assert "DLCheck: could not resolve host" in text


def test_an_attempt_comes_back_as_it_was_written() -> None:
    judged = Outcome(True, hit=True, layer=False, lag=3)
    one = Attempt("tool", "run", judged, {"jump": (4, "net.0")}, cpu_seconds=1.5)
    crashed = Attempt("tool", "other", crash="RuntimeError")
    for attempt in (one, crashed):
        assert restored(json.loads(json.dumps(asdict(attempt)))) == attempt
