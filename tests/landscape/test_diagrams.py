"""Diagrams: what they say of a network is what its forward pass did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from landscape.pictured import pixels, settings, texts
from surefoot.landscape.diagram_block import block_diagram, blocks_of, residual_block
from surefoot.landscape.diagram_dropout import dropout_diagram, dropped_units
from surefoot.landscape.diagram_norms import (
    CELLS,
    norm_axes,
    norm_diagram,
    shaded_cells,
)


class Basic(nn.Module):
    """A residual block as in a ResNet."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, 1, 1)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1)
        same = channels == out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.conv2(self.relu(self.bn1(self.conv1(x))))
        branch += self.shortcut(x)
        return torch.relu(branch)


class Functional(nn.Module):
    """Drops units by a function of torch, not by a module."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(self.inner(x), 0.25, self.training)


def _mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 7), nn.Dropout(0.2)
    )


def _seen(model: nn.Module, batch: torch.Tensor, names: list[str]) -> list[Any]:
    """What modules put out in one pass in training mode, from the same seed."""
    found: list[Any] = []
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output: found.append(output[0].detach().clone())
        )
        for name in names
    ]
    model.train()
    model(batch)
    for handle in handles:
        handle.remove()
    return found


# --- dropout --------------------------------------------------------------------


def test_crossed_units_are_those_that_the_pass_dropped() -> None:
    torch.manual_seed(3)
    net, batch = _mlp(), torch.randn(5, 6)
    net[0].bias.data.fill_(10.0)  # so that no unit is zero but by dropout
    streams = torch.get_rng_state()
    first, hidden, last = dropped_units(net, batch)
    assert torch.equal(torch.get_rng_state(), streams)
    dropped, out = _seen(net, batch, ["2", "4"])
    assert first.kept is None
    np.testing.assert_array_equal(hidden.kept, dropped.numpy() != 0)
    np.testing.assert_array_equal(last.kept, out.numpy() != 0)
    assert [hidden.rate, last.rate] == [0.5, 0.2]
    assert 0 < hidden.dropped < 40


def test_units_that_are_zero_anyway_are_not_crossed() -> None:
    net = nn.Sequential(nn.Linear(3, 200), nn.ReLU(), nn.Dropout(0.5))
    net[0].bias.data.fill_(-100.0)  # all zero after ReLU
    _, hidden = dropped_units(net, torch.zeros(1, 3))
    assert 60 < hidden.dropped < 140


def test_functional_dropout_and_channels_are_seen() -> None:
    torch.manual_seed(0)
    _, column = dropped_units(Functional(), torch.randn(2, 4))
    assert column.rate == 0.25
    assert 0 < column.dropped < 32
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Dropout2d(0.5))
    batch = torch.randn(2, 3, 8, 8)
    streams = torch.get_rng_state()
    (column,) = dropped_units(net, batch, example=1)
    torch.set_rng_state(streams)
    expected = net(batch)[1].flatten(1).any(1)
    np.testing.assert_array_equal(column.kept, expected.numpy())
    assert 0 < column.dropped < 16


def test_the_example_that_is_asked_for_is_drawn() -> None:
    net, batch = _mlp(), torch.randn(5, 6)
    one, other = (dropped_units(net, batch, example=index)[1] for index in (0, 1))
    assert not np.array_equal(one.kept, other.kept)


def test_a_network_without_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match="called no dropout in a forward pass"):
        dropped_units(nn.Sequential(nn.Linear(2, 2)), torch.ones(1, 2))


def test_the_diagram_crosses_as_many_units_as_were_dropped() -> None:
    torch.manual_seed(1)
    net, batch = _mlp(), torch.randn(5, 6)
    columns = dropped_units(net, batch)
    made = dropout_diagram(net, batch)
    crosses = [
        one
        for one in made.axes[0].get_lines()
        if one.get_marker() == "x" and len(one.get_xdata())
    ]
    drawn = {int(one.get_xdata()[0]): len(one.get_xdata()) for one in crosses}
    first_twelve = {
        index: int((~one.kept[:12]).sum())
        for index, one in enumerate(columns)
        if one.kept is not None and not one.kept[:12].all()
    }
    assert drawn == first_twelve
    assert f"{columns[1].dropped} of 40 dropped" in texts(made)
    assert "12 of 40 units" in texts(made)


# --- residual blocks ------------------------------------------------------------


def test_a_block_is_what_ran_in_it() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), Basic(8, 8), Basic(8, 16))
    block = residual_block(net, torch.randn(2, 3, 9, 9))
    assert (block.name, block.kind) == ("1", "Basic")
    assert [(node.label, node.inputs) for node in block.nodes] == [
        ("input", ()),
        ("conv1: Conv2d 8→8, 3×3", (0,)),
        ("bn1: BatchNorm2d 8", (1,)),
        ("relu: ReLU", (2,)),
        ("conv2: Conv2d 8→8, 3×3", (3,)),
        ("+", (4, 0)),
        ("relu", (5,)),
    ]
    assert block.residual == 5
    assert block.trunk == tuple(range(7))
    assert block.nodes[5].shape == (8, 7, 7)


def test_what_goes_around_a_branch_may_have_modules() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), Basic(8, 8), Basic(8, 16))
    block = residual_block(net, torch.randn(2, 3, 9, 9), where="2")
    aside = set(range(len(block.nodes))) - set(block.trunk)
    assert [block.nodes[one].label for one in aside] == ["shortcut: Conv2d 8→16, 1×1"]
    assert block.residual is not None


def test_a_transformer_layer_has_two_sums() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    block = residual_block(layer, torch.randn(2, 3, 8))
    sums = [index for index, node in enumerate(block.nodes) if node.is_sum]
    assert len(sums) == 2
    assert block.nodes[sums[0]].inputs[0] == 0
    assert block.nodes[sums[1]].inputs[0] == sums[0]


def test_adding_a_bias_makes_no_residual_block() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)
            self.shift = nn.Parameter(torch.ones(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) + self.shift

    net = nn.Sequential(Shifted())
    assert all(one.residual is None for one in blocks_of(net, torch.ones(1, 2)))
    with pytest.raises(ValueError, match="adds to a branch what came in; name one"):
        residual_block(net, torch.ones(1, 2))
    assert residual_block(net, torch.ones(1, 2), where="0").kind == "Shifted"
    with pytest.raises(ValueError, match='no module "1" with others in it ran'):
        residual_block(net, torch.ones(1, 2), where="1")


# --- norms ----------------------------------------------------------------------

NORMS: tuple[Any, ...] = (
    pytest.param(nn.BatchNorm1d(6), (5, 6), (0,), 6, id="batch norm"),
    pytest.param(nn.BatchNorm2d(6), (5, 6, 3, 4), (0, 2, 3), 6, id="batch norm 2d"),
    pytest.param(nn.LayerNorm(6), (5, 3, 6), (2,), 15, id="layer norm"),
    pytest.param(nn.LayerNorm((6, 3, 4)), (5, 6, 3, 4), (1, 2, 3), 5, id="whole"),
    pytest.param(nn.InstanceNorm2d(6), (5, 6, 3, 4), (2, 3), 30, id="instance norm"),
    pytest.param(nn.GroupNorm(1, 6), (5, 6, 3, 4), (1, 2, 3), 5, id="one group"),
)


@pytest.mark.parametrize(("module", "shape", "reduced", "count"), NORMS)
def test_reduced_dimensions_are_those_that_the_layer_normalises(
    module: nn.Module, shape: tuple[int, ...], reduced: tuple[int, ...], count: int
) -> None:
    net = nn.Sequential(module)
    batch = 3 + 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    (found,) = norm_axes(net, batch)
    assert found.reduced == reduced
    assert found.statistics == count
    out = net(batch).detach()
    mean, variance = out.mean(reduced), out.var(reduced, unbiased=False)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(variance, torch.ones_like(mean), atol=1e-3, rtol=0)
    for one in reduced:  # over fewer dimensions, the means are not all zero
        fewer = tuple(set(reduced) - {one})
        assert not fewer or float(out.mean(fewer).abs().max()) > 0.05


def test_groups_share_a_mean_within_themselves() -> None:
    (found,) = norm_axes(nn.Sequential(nn.GroupNorm(3, 6)), torch.randn(5, 6, 4))
    assert found.groups == 3
    assert found.statistics == 15
    assert shaded_cells(found).any(axis=(0, 2)).sum() == CELLS[1] // 3


@pytest.mark.parametrize(("module", "shape", "reduced", "count"), NORMS)
def test_shaded_are_all_cells_along_what_is_reduced_and_one_along_the_rest(
    module: nn.Module, shape: tuple[int, ...], reduced: tuple[int, ...], count: int
) -> None:
    (found,) = norm_axes(nn.Sequential(module), torch.randn(shape))
    cells = shaded_cells(found)
    over = {found.roles[index] for index in reduced}
    for axis, role in enumerate(("batch", "channels", "positions")):
        others = tuple(one for one in range(3) if one != axis)
        shaded = int(cells.any(axis=others).sum())
        assert shaded == (cells.shape[axis] if role in over else 1)


def test_batch_norm_in_eval_mode_averages_over_nothing() -> None:
    net = nn.Sequential(nn.BatchNorm1d(4)).eval()
    (found,) = norm_axes(net, torch.randn(3, 4))
    assert found.reduced == ()
    assert not shaded_cells(found).any()
    assert "stored statistics" in texts(norm_diagram(net, torch.randn(3, 4)))


def test_rms_norm_is_known_and_a_model_without_norms_is_refused() -> None:
    (found,) = norm_axes(nn.Sequential(nn.RMSNorm(4)), torch.randn(3, 2, 4))
    assert (found.reduced, found.roles) == ((2,), ("batch", "positions", "channels"))
    with pytest.raises(ValueError, match="ran no norm layer"):
        norm_axes(nn.Sequential(nn.Linear(2, 2)), torch.ones(1, 2))


def test_each_kind_of_norm_is_drawn_once() -> None:
    net = nn.Sequential(
        nn.Conv1d(3, 6, 1), nn.BatchNorm1d(6), nn.BatchNorm1d(6), nn.GroupNorm(2, 6)
    )
    made = norm_diagram(net, torch.randn(4, 3, 5))
    assert len(made.axes) == 2
    assert "BatchNorm1d  1" in texts(made)
    assert "averages over batch and positions:\n6 means" in texts(made)


# --- all of them ----------------------------------------------------------------

DIAGRAMS: tuple[Callable[..., Figure], ...] = (
    dropout_diagram,
    block_diagram,
    norm_diagram,
)


class Whole(nn.Module):
    """Has a residual block, batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Basic(3, 8)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.drop(self.block(x).mean((2, 3))))


@pytest.mark.parametrize("draw", DIAGRAMS)
def test_a_diagram_is_drawn_and_leaves_no_trace(draw: Callable[..., Figure]) -> None:
    torch.manual_seed(0)
    model, batch = Whole(), (torch.randn(4, 3, 6, 6), torch.zeros(4).long())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    streams, before = torch.get_rng_state(), settings()
    made = draw(model, batch, loss_fn=_loss)
    drawn = pixels(made)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 30
    np.testing.assert_array_equal(drawn, pixels(draw(model, batch)))
    assert torch.equal(torch.get_rng_state(), streams)
    assert all(torch.equal(state[n], v) for n, v in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(one._forward_hooks for one in model.modules())
    assert not any(one._forward_pre_hooks for one in model.modules())
    assert settings() == before


def _loss(model: nn.Module, batch: Any) -> torch.Tensor:
    inputs, targets = batch
    return nn.functional.cross_entropy(model(inputs), targets)


@pytest.mark.parametrize("draw", DIAGRAMS)
def test_a_pass_that_fails_leaves_no_hook(draw: Callable[..., Figure]) -> None:
    model = Whole()
    with pytest.raises(RuntimeError):
        draw(model, torch.randn(4, 5, 6, 6))
    assert not any(one._forward_hooks for one in model.modules())
    assert not any(one._forward_pre_hooks for one in model.modules())
