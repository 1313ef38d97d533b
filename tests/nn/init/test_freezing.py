"""Frozen parts stay as they are through decay, momentum, batches and train()."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from surefoot.nn.init import GradualUnfreezing, InitError, freeze, unfreeze
from surefoot.schedules import Constant, Linear, after_step


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2)
    )


def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    optimizer.zero_grad()
    model(3 + torch.randn(16, 4)).square().mean().backward()
    optimizer.step()


def test_a_frozen_batch_norm_keeps_its_statistics_through_ten_training_batches() -> (
    None
):
    model, plain = net(), net()
    freeze(model, "0", "1")
    plain[0].requires_grad_(False)
    plain[1].requires_grad_(False)
    for one in (model, plain):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        before = copy.deepcopy(one[1].state_dict())
        for _ in range(10):
            update(one, optimizer)
        same = torch.equal(one[1].running_mean, before["running_mean"])
        assert same == (one is model)  # requires_grad=False alone lets it move
    assert torch.equal(model[1].running_var, torch.ones(6))
    assert model[1].num_batches_tracked == 0
    assert model[3].training


@pytest.mark.parametrize("when", ["before backward", "before step"])
def test_frozen_weights_stay_under_adamw_with_weight_decay(when: str) -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    update(model, optimizer)
    model(torch.randn(8, 4)).sum().backward()
    assert freeze(model, "0") == ("0.weight", "0.bias")
    before = copy.deepcopy(model.state_dict())
    if when == "before step":  # requires_grad=False alone lets it move here
        optimizer.step()
    for _ in range(10):
        update(model, optimizer)
    after = model.state_dict()
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert torch.equal(before["0.bias"], after["0.bias"])
    assert not torch.equal(before["4.weight"], after["4.weight"])


def test_a_frozen_part_stays_in_evaluation_mode_in_every_copy() -> None:
    model = net()
    freeze(model, "1")
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = [model, copy.deepcopy(model), torch.load(file, weights_only=False)]
    for one in copies:
        one.eval()
        one.train()
        assert one.training
        assert one[0].training
        assert not one[1].training
        update(one, torch.optim.SGD(one.parameters(), lr=0.1))
        assert not one[1].running_mean.any()
    unfreeze(copies[1])
    assert copies[1][1].training
    assert not model[1].training


def test_a_frozen_part_compiles() -> None:
    torch._dynamo.reset()
    model = net()
    model[3].p = 0.0
    freeze(model, "0", "1")
    x = torch.randn(8, 4)
    fast = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(fast(x), model(x))
    assert not model[1].running_mean.any()


def test_unfreezing_lets_all_train_again_in_the_mode_of_the_model() -> None:
    model = net()
    assert len(freeze(model)) == 6
    assert not any(p.requires_grad for p in model.parameters())
    model.eval()
    assert unfreeze(model, "1") == ("1.weight", "1.bias")
    assert not model[1].training
    model.train()
    assert model[1].training
    assert unfreeze(model, "4.weight") == ("4.weight",)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        "1.weight", "1.bias", "4.weight"
    ]  # fmt: skip
    update(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert model[1].running_mean.any()


def test_the_vectors_of_a_spectral_norm_stay() -> None:
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)))
    freeze(model)
    model.train()
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(8, 4))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def _thawing() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    action = GradualUnfreezing(model, ["4", ("0", "1")], stages=Linear(0, 2, steps=4))
    after_step(optimizer, action, name="thaw")
    return model, optimizer


def test_parts_unfreeze_at_their_stages_and_a_resumed_run_has_those_of_its_step() -> (
    None
):
    model, optimizer = _thawing()
    counts = []
    for step in range(5):
        counts.append(sum(p.requires_grad for p in model.parameters()))
        if counts[-1]:
            update(model, optimizer)
        else:
            optimizer.step()
        if step == 2:
            saved = copy.deepcopy(optimizer.state_dict())
    assert counts == [0, 0, 2, 2, 6]
    assert model[1].training
    other, again = _thawing()
    again.load_state_dict(saved)
    assert [n for n, p in other.named_parameters() if p.requires_grad] == [
        "4.weight", "4.bias"
    ]  # fmt: skip
    other.train()
    assert not other[1].training


def test_each_unfreezing_is_told_once() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    action = GradualUnfreezing(model, ["4", "1"], stages=Linear(1, 2, steps=2))
    handle = after_step(optimizer, action)
    for _ in range(4):
        update(model, optimizer)
    assert [(e.step, e.body["unfrozen"]) for e in handle.log] == [
        (2, ["1.weight", "1.bias"])
    ]


def test_names_that_are_unknown_are_refused_untouched() -> None:
    model = net()
    for call in (freeze, unfreeze):
        with pytest.raises(InitError, match="the name 'one' came"):
            call(model, "0", "one")
    with pytest.raises(InitError, match="expected a module of the Sequential"):
        GradualUnfreezing(model, ["head"], stages=Constant(1))
    assert all(p.requires_grad for p in model.parameters())


def test_a_list_in_the_place_of_a_name_is_refused_and_says_how() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with pytest.raises(InitError, match="unpack a list"):
        freeze(model, ["0"])  # type: ignore[arg-type]
    assert all(weight.requires_grad for weight in model.parameters())
