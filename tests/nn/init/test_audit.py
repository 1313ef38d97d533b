"""What an audit measures at the start, what it blames, and that nothing remains."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from surefoot.nn.init import InitError, audit_init, residual_block


def net(
    depth: int,
    width: int,
    draw: Callable[[Tensor], object],
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    layers = [nn.Linear(width, width, bias=False) for _ in range(depth)]
    for layer in layers:
        draw(layer.weight)
    return nn.Sequential(*(part for one in layers for part in (one, activation())))


def loss_fn(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) * batch[1]).sum()


def batch(width: int, rows: int = 64) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, width), torch.randn(rows, width)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_xavier_and_relu_over_5_layers_is_told_as_0_177_and_blamed_on_the_gain(
    seed: int,
) -> None:
    torch.manual_seed(seed)
    found = audit_init(net(5, 512, nn.init.xavier_normal_), batch(512), loss_fn)
    assert found.forward == pytest.approx(0.177, abs=0.02)
    assert found.backward == pytest.approx(0.5**2, abs=0.03)  # four ways between five
    assert found.blamed == ()
    assert not found.healthy
    assert "forward: vanishing ×0.7" in found.verdict
    assert "the gain is to blame, no one layer" in found.verdict
    assert "ReLU wants 1.41" in found.verdict
    assert [one.wanted for one in found.layers] == pytest.approx([2**0.5] * 5)
    assert [one.gain for one in found.layers] == pytest.approx([1.0] * 5, rel=0.02)


def test_torch_s_own_start_is_told_as_vanishing_by_0_41_per_layer() -> None:
    torch.manual_seed(0)
    found = audit_init(net(6, 256, lambda w: None), batch(256), loss_fn)
    assert found.forward ** (1 / 6) == pytest.approx(6**-0.5, rel=0.03)
    assert "×0.41 per layer" in found.verdict


@pytest.mark.parametrize("depth", [5, 20])
def test_the_right_gain_is_healthy(depth: int) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        model = net(
            depth, 64, lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")
        )
        found = audit_init(model, batch(64), loss_fn)
        assert found.healthy, found.verdict
        assert "steady" in found.verdict


def test_too_large_a_gain_explodes() -> None:
    torch.manual_seed(0)
    model = net(6, 64, lambda w: nn.init.normal_(w, std=0.5), nn.Identity)
    found = audit_init(model, batch(64), loss_fn)
    assert "forward: exploding ×" in found.verdict
    assert found.forward ** (1 / 6) == pytest.approx(4.0, rel=0.1)


def test_one_layer_that_stands_out_is_blamed_by_name() -> None:
    torch.manual_seed(0)
    model = net(6, 128, lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"))
    with torch.no_grad():
        model[4].weight.mul_(0.02)
    found = audit_init(model, batch(128), loss_fn)
    assert "4" in found.blamed
    assert "stands out from the other layers" in found.verdict


def test_one_activation_module_that_is_called_often_is_seen_everywhere() -> None:
    torch.manual_seed(0)
    relu = nn.ReLU()
    model = net(4, 64, nn.init.xavier_normal_, lambda: relu)
    found = audit_init(model, batch(64), loss_fn)
    assert [one.activation for one in found.layers[:3]] == ["ReLU"] * 3


def test_branches_that_start_at_zero_are_no_fault() -> None:
    torch.manual_seed(0)
    model = net(4, 64, lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"))
    for place in (6, 4, 2):
        branch = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
        model.insert(place, residual_block(branch))
    found = audit_init(model, batch(64), loss_fn)
    assert [one.name for one in found.layers] == ["0", "3", "6", "9"]
    assert found.healthy, found.verdict


def test_the_model_is_left_bit_identical() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(144, 2),
    )  # fmt: skip
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    before, stream = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = audit_init(model, torch.randn(4, 3, 8, 8, generator=torch.Generator()),
                       lambda m, x: m(x).square().mean())  # fmt: skip
    assert math.isnan(found.layers[0].wanted)  # a norm decides there, not the gain
    assert torch.equal(torch.get_rng_state(), stream)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(torch.equal(p.grad, grads[n]) for n, p in model.named_parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_a_table_shows_each_layer() -> None:
    torch.manual_seed(0)
    text = str(audit_init(net(3, 64, nn.init.xavier_normal_), batch(64), loss_fn))
    rows = text.splitlines()
    assert rows[0].split() == [
        "layer", "behind", "it", "gain", "wanted", "std", "forward", "backward"
    ]  # fmt: skip
    assert [row.split()[0] for row in rows[1:4]] == ["0", "2", "4"]
    assert rows[4].startswith("forward: ")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(4, 4), "1 layers with weights were called"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).requires_grad_(False),
            "0 wei",
        ),
        (nn.Sequential(nn.Identity()), "expected a finite loss"),
    ],
)
def test_what_cannot_be_audited_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(InitError, match=message):
        audit_init(model, batch(4), loss_fn)


def test_a_loss_that_is_not_finite_is_refused() -> None:
    model = net(2, 4, nn.init.xavier_normal_)
    with pytest.raises(InitError, match="a loss of inf came"):
        audit_init(model, torch.ones(2, 4), lambda m, x: m(x).sum() + math.inf)
