"""Skip paths and norms in a finished model: exact at gate zero, known to optimizers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conventions import keeps_conventions
from surefoot.nn.init import InitError, InputNorm, Skip, add_skip, insert_norm


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))


def test_gate_zero_gives_the_identical_output() -> None:
    model = net()
    x = torch.randn(8, 4)
    before = model(x)
    done = add_skip(model, "2")
    assert done.names == ("2",)
    assert torch.equal(model(x), before)


def test_gate_one_has_the_jacobian_of_the_part_plus_one() -> None:
    part = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double()
    x = torch.randn(4).double()
    own = torch.autograd.functional.jacobian(part, x)
    whole = torch.autograd.functional.jacobian(Skip(part, gate=1.0), x)
    assert (whole - own - torch.eye(4)).abs().max() < 1e-6
    assert torch.autograd.gradcheck(Skip(part, gate=0.4), x.requires_grad_())


@pytest.mark.parametrize("kind", ["skip", "norm"])
def test_the_optimizer_sees_the_new_parameters(kind: str) -> None:
    model = net()
    optimizer = torch.optim.AdamW(
        [{"params": [model[0].weight, model[2].weight], "weight_decay": 0.1},
         {"params": [model[0].bias, model[2].bias], "weight_decay": 0.0}], lr=0.1
    )  # fmt: skip
    if kind == "skip":
        add_skip(model, "2", optimizer=optimizer)
        new = [model[2].gate.gate]
    else:
        norm = insert_norm(model, "2", lambda: nn.LayerNorm(4), optimizer=optimizer)
        assert norm.count == 1
        new = [model[2][0].weight, model[2][0].bias]
    ids = [id(p) for p in optimizer.param_groups[1]["params"]]
    assert all(id(p) in ids for p in new)  # beside the biases, as they are no matrices
    before = [p.detach().clone() for p in new]
    model(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    assert not any(torch.equal(*pair) for pair in zip(new, before, strict=True))
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    assert len(held) == len(list(model.parameters()))


def test_state_dicts_and_optimizers_round_trip() -> None:
    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        add_skip(model, "0", gate=0.5, optimizer=optimizer)
        insert_norm(model, "2", lambda: nn.LayerNorm(4), after=True,
                    optimizer=optimizer)  # fmt: skip
        return model, optimizer

    def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        loss = (model(torch.ones(3, 4)) - 1).square().sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    first, other = make(), make()
    update(*first)
    other[0].load_state_dict(copy.deepcopy(first[0].state_dict()))
    other[1].load_state_dict(copy.deepcopy(first[1].state_dict()))
    for _ in range(3):
        assert torch.equal(update(*first), update(*other))


def test_undo_puts_model_and_optimizer_back() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    text, count = repr(model), len(optimizer.param_groups[0]["params"])
    done = [
        add_skip(model, "2", optimizer=optimizer),
        insert_norm(model, ["0", "1"], lambda: nn.LayerNorm(4), optimizer=optimizer),
    ]
    assert len(optimizer.param_groups[0]["params"]) == count + 5
    for one in reversed(done):
        one.undo()
    assert repr(model) == text
    assert len(optimizer.param_groups[0]["params"]) == count


def test_a_part_in_two_places_is_rebuilt_in_both() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    add_skip(model, "0", gate=1.0)
    assert isinstance(model[0], Skip)
    assert model[2] is model[0]


def test_modes_and_further_arguments_pass() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, batch_first=True)
    model = nn.Sequential(layer).eval()
    x = torch.randn(2, 3, 4)
    padded = torch.tensor([[False, False, True]]).expand(2, 3)
    before = layer(x, src_key_padding_mask=padded)
    add_skip(model, "0")
    assert not model[0].training
    assert torch.equal(model[0](x, src_key_padding_mask=padded), before)


def test_a_norm_without_weights_goes_before_many_parts_at_once() -> None:
    model = net()
    done = insert_norm(model, ["1", "2"])
    assert done.count == 2
    assert isinstance(model[1], InputNorm)
    x = torch.randn(8, 4)
    hidden = model[0](x)
    expected = torch.tanh(nn.functional.layer_norm(hidden, (4,)))
    assert torch.equal(model[1](hidden), expected)
    behind = nn.Sequential(nn.Linear(4, 4))
    insert_norm(behind, "0", after=True)
    assert behind(x).std(-1, correction=0).mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    "make", [lambda: Skip(nn.Linear(4, 4), 0.3), lambda: InputNorm(nn.Linear(4, 2))]
)
def test_conventions(make: Any) -> None:
    torch.manual_seed(0)
    keeps_conventions(make, torch.randn(5, 4), exported=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda m, o: add_skip(m, "first"), "the name 'first' came"),
        (lambda m, o: add_skip(m, ""), "the whole Sequential came"),
        (lambda m, o: insert_norm(m, ["0", "9"]), "the name '9' came"),
        (lambda m, o: add_skip(m, "0", optimizer=o, group=3), "group=3 came"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused_untouched(wrong: Any, message: str) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    text = repr(model)
    with pytest.raises(InitError, match=message):
        wrong(model, optimizer)
    assert repr(model) == text
    assert len(optimizer.param_groups[0]["params"]) == 4


def test_a_part_that_changes_the_shape_cannot_have_a_path_around_it() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    add_skip(model, "0")
    with pytest.raises(InitError, match=r"Linear takes \(2, 4\) to \(2, 3\)"):
        model(torch.ones(2, 4))
