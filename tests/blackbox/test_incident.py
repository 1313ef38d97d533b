"""What is written is read again, by us and by any safetensors library."""

from __future__ import annotations

import json
import math
import random
from collections import Counter, OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn.utils.rnn import pack_sequence

from boxed import incident
from surefoot.blackbox.files import read_tensors, write_tensors
from surefoot.blackbox.incident import (
    Incident,
    Micro,
    StepRecord,
    read_incident,
    write_incident,
)
from surefoot.blackbox.pack import DEEPEST, Packer, PackError, unpack
from surefoot.blackbox.state import Trained, restore


def test_an_incident_comes_back_as_it_was(tmp_path: Path) -> None:
    made, net, optimizer = incident()
    path = write_incident(made, tmp_path / "x.incident.safetensors")
    back = read_incident(path)
    for name in ("reason", "step", "onset", "layers"):
        assert getattr(back, name) == getattr(made, name)
    assert back.about == {**made.about, "left_out": []}
    assert [one.losses for one in back.steps] == [(0.5, 0.25), (math.inf,)]
    assert math.isnan(back.steps[1].grad_norm)
    assert back.steps[0].rates == {"main": (0.1,)}
    assert back.steps[1].micro == ()
    told, call = back.steps[0].micro
    assert (told.kind, call.kind) == ("told", "call")
    assert torch.equal(told.batch[0], made.steps[0].micro[0].batch[0])
    assert call.batch[0][1] == {"scale": 2.0}
    # The same tensor in two batches is stored once and comes back as one.
    assert call.batch[0][0][0] is told.batch[0]
    assert call.scored == made.steps[0].micro[1].scored
    weight = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight.zero_()
    restore(back.state, Trained({"net": net}, {"main": optimizer}))
    assert torch.equal(net[0].weight, weight)


def test_the_random_streams_of_a_batch_come_back(tmp_path: Path) -> None:
    made, _, _ = incident()
    made.steps[0].micro[0].random.restore()
    then = [torch.rand(3).tolist(), random.random(), np.random.rand()]
    path = write_incident(made, tmp_path / "x.incident.safetensors")
    read_incident(path).steps[0].micro[0].random.restore()
    assert [torch.rand(3).tolist(), random.random(), np.random.rand()] == then


def test_any_safetensors_library_reads_it(tmp_path: Path) -> None:
    made, net, _ = incident()
    path = write_incident(made, tmp_path / "x.incident.safetensors")
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()["surefoot"])["about"]["reason"] == "it broke"
        weight = file.get_tensor("state/models/net/0.weight")
    assert np.array_equal(weight, net[0].weight.detach().numpy())


NESTS: tuple[Any, ...] = (
    None, True, 3, -(2**70), "ü", 0.1, math.inf, -math.inf, 1 + 2j, b"", b"\x00\xff",
    [1, [2, ()]], (1, (2.5, "x")), {"a": {1: 2}, (1, 2): 3}, {1, 2},
    Counter({3: 2}), OrderedDict(b=1, a=2), deque([1, 2], maxlen=4), range(3, 9, 2),
    torch.float16, torch.Size([2, 3]), torch.device("cpu"),
)  # fmt: skip


@pytest.mark.parametrize("value", NESTS, ids=repr)
def test_plain_values_come_back_of_the_same_type(value: Any) -> None:
    packer = Packer()
    packed = json.loads(json.dumps(packer.pack(value, "x"), allow_nan=False))
    back = unpack(packed, packer.tensors)
    assert back == value
    assert type(back) is type(value)


def test_arrays_and_sequences_come_back() -> None:
    packer = Packer()
    rows = pack_sequence([torch.ones(2), torch.zeros(1)], enforce_sorted=False)
    given = [np.arange(4, dtype=np.uint16), np.float32(0.1), math.nan, rows]
    array, number, nan, sequence = unpack(packer.pack(given, "x"), packer.tensors)
    assert array.dtype == np.uint16
    assert array.tolist() == [0, 1, 2, 3]
    assert number == np.float32(0.1)
    assert type(number) is np.float32
    assert math.isnan(nan)
    assert torch.equal(sequence.data, rows.data)
    assert torch.equal(sequence.unsorted_indices, rows.unsorted_indices)


def test_entries_that_cannot_be_packed_are_left_out_and_named() -> None:
    packer = Packer()
    packed = packer.pack({"a": 1, "f": print, "t": torch.ones(2).to_sparse()}, "x")
    assert unpack(packed, packer.tensors) == {"a": 1}
    assert len(packer.left_out) == 2
    assert "x/f" in packer.left_out[0]
    with pytest.raises(PackError, match="builtin_function"):
        packer.pack([print], "x")


def test_a_nest_in_itself_is_refused() -> None:
    nest: list[Any] = []
    nest.append(nest)
    with pytest.raises(PackError, match=str(DEEPEST)):
        Packer().pack(nest, "x")


def test_a_batch_that_cannot_be_packed_is_left_out_and_named(tmp_path: Path) -> None:
    made, _, _ = incident()
    strange = Micro([print], None)
    steps = (StepRecord(7, (1.0,), {}, 1.0, (strange,)),)
    made = Incident({}, "", 7, 7, (), made.state, steps)
    back = read_incident(write_incident(made, tmp_path / "x.incident.safetensors"))
    assert back.steps[0].micro == ()
    assert "steps/7/0/batch" in back.about["left_out"][0]


FORMATS = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64,
    torch.complex128, torch.int64, torch.uint8, torch.uint16, torch.bool,
    torch.float8_e4m3fn, torch.float8_e5m2fnuz,
]  # fmt: skip


def test_tensors_of_every_format_and_layout_come_back(tmp_path: Path) -> None:
    tensors = {str(d): torch.ones(3, 5).to(d) for d in FORMATS}
    tensors |= {"empty": torch.empty(0, 3), "scalar": torch.tensor(2.5)}
    tensors["turned"] = torch.arange(6.0).reshape(2, 3).T
    tensors["expanded"] = torch.ones(1).expand(4)
    tensors["conj"] = torch.tensor([1 + 2j]).conj()
    write_tensors(tmp_path / "t.safetensors", tensors, {"x": 1})
    back, about = read_tensors(tmp_path / "t.safetensors")
    assert about == {"x": 1}
    assert back.keys() == tensors.keys()
    for name, one in tensors.items():
        assert back[name].dtype == one.dtype
        assert back[name].shape == one.shape
        raw = [
            t.resolve_conj().contiguous().reshape(-1).view(torch.uint8)
            for t in (back[name], one)
        ]
        assert torch.equal(*raw)
    assert [one.name for one in tmp_path.iterdir()] == ["t.safetensors"]
