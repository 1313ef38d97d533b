"""Dead and saturated units: those that are made so are found, and no others."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from conventions import keeps_conventions
from surefoot.nn.flow import DeadUnits, FlowError, Saturation, saturated, watch_units


def test_a_bias_of_minus_ten_on_three_of_eight_units_kills_exactly_those() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        net[0].bias[[1, 4, 6]] = -10.0
    with watch_units(net, window=20) as watch:
        for _ in range(20):
            net(torch.randn(64, 4))
    assert watch.dead()["1"].tolist() == [1, 4, 6]
    assert watch.meters["1"].share().item() == pytest.approx(3 / 8)


class ZeroLast(nn.Module):
    """A block that begins as the identity: its last layer is zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        for weight in self.branch[2].parameters():
            nn.init.zeros_(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x)


def test_a_block_that_begins_as_the_identity_raises_no_alarm() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(ZeroLast(16), ZeroLast(16), nn.Linear(16, 2))
    with watch_units(net, window=10) as watch:
        for _ in range(10):
            net(torch.randn(32, 16)).square().sum().backward()
    assert not net[0].branch[0].weight.grad.any()  # though nothing comes back to it
    assert all(not len(places) for places in watch.dead().values())
    assert len(watch.dead()) == 2


def test_a_unit_counts_as_dead_only_after_a_whole_window() -> None:
    meter = DeadUnits(2, window=3)
    for _ in range(2):
        meter(torch.tensor([[1.0, 0.0]]))
    assert meter.dead().tolist() == [False, False]
    meter(torch.tensor([[1.0, 0.0]]))
    assert meter.dead().tolist() == [False, True]
    meter(torch.tensor([[0.0, 0.5]]))
    assert meter.dead().tolist() == [False, False]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=12),
    st.integers(1, 5),
)
def test_the_window_is_the_last_passes(passes: list[list[bool]], window: int) -> None:
    meter = DeadUnits(3, window)
    for active in passes:
        meter(torch.tensor(active).float()[None])
    recent = passes[-window:]
    full = len(passes) >= window
    expected = [full and not any(row[i] for row in recent) for i in range(3)]
    assert meter.dead().tolist() == expected


def test_channels_of_maps_are_units() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    nn.init.constant_(net[0].bias[2], -100.0)
    with watch_units(net, window=1) as watch:
        net(torch.randn(2, 1, 8, 8))
    assert watch.dead()["1"].tolist() == [2]
    meter = DeadUnits(4, window=1, dim=1)
    meter(net(torch.randn(2, 1, 8, 8)))
    assert meter.dead().tolist() == [False, False, True, False]


def test_passes_of_evaluation_do_not_count() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh()).eval()
    with watch_units(net) as watch:
        net(torch.randn(4, 2))
    assert not watch.meters
    meter = DeadUnits(2).eval()
    meter(torch.zeros(1, 2))
    assert meter.passes.item() == 0


def test_a_watch_leaves_the_state_dict_as_it_is_and_ends() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    names = list(net.state_dict())
    watch = watch_units(net)
    net(torch.randn(4, 2))
    assert list(net.state_dict()) == names
    watch.remove()
    net(torch.randn(4, 2))
    assert watch.meters["1"].passes.item() == 1


def test_tanh_of_a_wide_normal_is_saturated_in_three_of_eight() -> None:
    """Pre-activations N(0, 3²): abs(tanh) > 0.99 has share 0.3777."""
    draw = torch.Generator().manual_seed(0)
    meter = Saturation()
    for _ in range(20):
        meter(torch.tanh(3 * torch.randn(4096, generator=draw)))
    assert meter.share().item() == pytest.approx(0.3777, abs=0.01)


def test_a_watch_reads_saturation_of_each_bounded_module() -> None:
    net = nn.Sequential(nn.Sigmoid(), nn.Hardtanh(-2.0, 2.0), nn.ReLU6())
    with watch_units(net) as watch:
        net(torch.full((3, 4), 50.0))
    assert watch.saturated() == {"0": 1.0, "1": 0.0}
    assert list(watch.dead()) == ["2"]


@pytest.mark.parametrize("near", [0.005, 0.01, 0.05])
def test_what_counts_as_the_end_is_a_share_of_the_range(near: float) -> None:
    edge = 1 - 2 * near
    found = saturated(
        torch.tensor([edge - 1e-4, edge + 1e-4, -edge - 1e-4]), -1.0, 1.0, near=near
    )
    assert found.tolist() == [False, True, True]


def test_the_share_is_of_the_last_passes() -> None:
    meter = Saturation(window=2)
    assert meter.share().item() == 0.0
    for value in (1.0, 0.0, 0.0):
        meter(torch.full((4,), value))
    assert meter.share().item() == 0.0
    meter(torch.ones(4))
    assert meter.share().item() == 0.5


def test_meters_keep_the_conventions() -> None:
    values = torch.randn(6, 5).relu()
    keeps_conventions(lambda: DeadUnits(5), values, exported=True)
    keeps_conventions(Saturation, values, exported=True)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DeadUnits(0), "1 or more"),
        (lambda: DeadUnits(3)(torch.zeros(2, 4)), "expected 3 units"),
        (lambda: Saturation(1.0, 1.0), "low < high"),
        (lambda: Saturation(near=0.7), "between 0 and 0.5"),
        (lambda: watch_units(nn.Linear(2, 2)), "no activation modules"),
        (lambda: watch_units(nn.ReLU(), window=0), "1 or more passes"),
    ],
)
def test_wrong_requests_are_refused(make: object, told: str) -> None:
    with pytest.raises(FlowError, match=told):
        make()  # type: ignore[operator]


def test_reset_forgets() -> None:
    for meter in (DeadUnits(2, window=1), Saturation()):
        meter(torch.zeros(1, 2))
        meter.reset_parameters()
        assert meter.passes.item() == 0
        assert meter.share().item() == 0.0
