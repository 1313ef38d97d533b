"""Checkpoints of all kinds are read for a model, and nothing in them is executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from surefoot.landscape.checkpoints import (
    CheckpointError,
    load_into,
    read_checkpoint,
)


def _net(seed: int = 0, width: int = 5) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def _same(state: dict[str, torch.Tensor], of: nn.Module) -> bool:
    wanted = of.state_dict()
    return state.keys() == wanted.keys() and all(
        torch.equal(state[name], wanted[name]) for name in wanted
    )


def _before(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: one for name, one in state.items()}


KINDS = {
    "plain": lambda s: s,
    "below model": lambda s: {"model": s, "step": 7, "optimizer": {"state": {}}},
    "below state_dict": lambda s: {"epoch": 3, "state_dict": s},
    "two levels down": lambda s: {"trainer": {"net": s}},
    "of DistributedDataParallel": lambda s: _before(s, "module."),
    "of torch.compile": lambda s: _before(s, "_orig_mod."),
    "of a trainer": lambda s: {"state_dict": _before(s, "model.net.")},
    "beside others": lambda s: {
        "ema": {"0.weight": torch.zeros(5, 3)},
        "model": {**s, "other.weight": torch.zeros(2)},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_is_found_wherever_it_lies(kind: str, tmp_path: Path) -> None:
    saved, model = _net(1), _net(2)
    torch.save(KINDS[kind](saved.state_dict()), tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt", model)
    assert _same(found.state, saved)
    assert found.step == (7 if kind == "below model" else None)
    assert load_into(model, found) == ()
    assert _same(dict(model.state_dict()), saved)


def test_safetensors_are_read(tmp_path: Path) -> None:
    saved = _net(1)
    save_file(dict(saved.state_dict()), tmp_path / "a.safetensors")
    assert _same(read_checkpoint(tmp_path / "a.safetensors", _net()).state, saved)


def test_a_buffer_may_be_absent_and_is_told(tmp_path: Path) -> None:
    weights = dict(_net(1).named_parameters())
    torch.save({name: one.detach() for name, one in weights.items()}, tmp_path / "a.pt")
    model = _net()
    missing = load_into(model, read_checkpoint(tmp_path / "a.pt", model))
    assert set(missing) == {
        "1.running_mean",
        "1.running_var",
    }


def test_tied_weights_need_one_value(tmp_path: Path) -> None:
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    state = dict(tied.state_dict())
    del state["1.weight"]
    torch.save(state, tmp_path / "a.pt")
    assert "0.weight" in read_checkpoint(tmp_path / "a.pt", tied).state


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _net().state_dict(), "extra": Harm()}, "a.pt")
    with pytest.raises(CheckpointError, match=r"posix\.mkdir, which is not executed"):
        read_checkpoint("a.pt", _net())
    assert not Path("harmed").exists()


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    torch.save(_net(), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"save model\.state_dict\(\) instead"):
        read_checkpoint(tmp_path / "a.pt", _net())


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.pt", b""), ("a.pt", b"not a checkpoint"), ("a.safetensors", b"\x08nonsense")],
)
def test_what_is_no_checkpoint_is_told(name: str, content: bytes, tmp_path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(tmp_path / name, _net())


def test_half_a_checkpoint_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(_net().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        read_checkpoint(path, _net())


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"step": 3, "loss": 0.5}, "holds no state dict"),
        (_net(width=6).state_dict(), r"0.weight is \(6, 3\), expected \(5, 3\)"),
        ({"a.weight": torch.zeros(2)}, r"lacks 4 of 4 weights \(0.weight"),
        ({"0.weight": torch.zeros(5, 3)}, r"lacks 3 of 4 weights \(0.bias, 1"),
    ],
)
def test_another_model_s_is_refused_by_name(state, words: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / "a.pt", _net())


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "a.pt", "no file"), (tmp_path, "a folder")):
        with pytest.raises(CheckpointError, match=words):
            read_checkpoint(path, _net())
