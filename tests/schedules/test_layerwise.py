"""Rates that grow with the layer, and rates from what a layer shows."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR

from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.operators import hessian
from surefoot.schedules import (
    Constant,
    Cosine,
    LayerRates,
    Linear,
    ScheduledLR,
    ScheduleError,
    after_step,
    curvature_rates,
    group_norms,
    layerwise_lr,
    norm_rates,
)


def four() -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))


def rates(groups: list[dict[str, Any]]) -> list[float]:
    return [group["lr"] for group in groups]


# --- by depth --------------------------------------------------------------------


def test_four_layers_with_a_half_have_an_eighth_a_quarter_a_half_and_one() -> None:
    assert rates(layerwise_lr(four(), 0.8, decay=0.5)) == [0.1, 0.2, 0.4, 0.8]


@pytest.mark.parametrize(
    "make",
    [
        lambda o: StepLR(o, 1, gamma=0.1),
        lambda o: CosineAnnealingLR(o, 10),
        lambda o: ScheduledLR(o, Cosine(1.0, 0.0, steps=10)),
    ],
)
@pytest.mark.parametrize(
    "kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adagrad]
)
def test_the_ratios_stay_after_a_torch_scheduler_has_stepped(
    kind: Any, make: Any
) -> None:
    model = four()
    optimizer = kind(layerwise_lr(model, 0.8, decay=0.5), lr=123.0)
    scheduler: LRScheduler = make(optimizer)
    for _ in range(3):
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        scheduler.step()
        found = rates(optimizer.param_groups)
        assert found[3] < 0.8
        assert [one / found[3] for one in found] == pytest.approx(
            [1 / 8, 1 / 4, 1 / 2, 1]
        )


def test_the_rate_is_what_moves_the_weights() -> None:
    model = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(3)))
    optimizer = torch.optim.SGD(layerwise_lr(model, 0.4, decay=0.5), lr=9.0)
    before = [w.detach().clone() for w in model.parameters()]
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    after = [w.detach() for w in model.parameters()]
    moved = [float(b - w) for b, w in zip(before, after, strict=True)]
    assert moved == pytest.approx([0.1, 0.2, 0.4], rel=1e-5)


def test_tied_weights_count_once_and_nearest_the_input() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 4)
            self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
            self.head = nn.Linear(4, 7)
            self.head.weight = self.embed.weight

    model = Tied()
    groups = layerwise_lr(model, 1.0, decay=0.5)
    held = [id(w) for group in groups for w in group["params"]]
    assert len(held) == len(set(held)) == len(list(model.parameters()))
    assert groups[0]["params"][0] is model.embed.weight
    torch.optim.AdamW(groups)


class Block(nn.Module):
    """Attention and a feed-forward stack: one layer, though it holds a Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.mix = nn.Linear(4, 4)
        self.feed = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(5, 4))
        self.embed = nn.Embedding(7, 4)
        self.stack = nn.ModuleList(Block() for _ in range(3))
        self.last = nn.LayerNorm(4)


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Linear(4, 2)


def test_the_layers_of_a_transformer_are_its_embedding_blocks_and_head() -> None:
    model = Classifier()
    groups = layerwise_lr(model, 1.0, decay=0.5)
    names = ["encoder.embed", *(f"encoder.stack.{i}" for i in range(3)), "head"]
    assert [group["layer"] for group in groups] == names
    own = {
        name: {id(w) for w in g["params"]}
        for name, g in zip(names, groups, strict=True)
    }
    assert id(model.encoder.place) in own["encoder.embed"]
    assert id(model.encoder.last.weight) in own["encoder.stack.2"]


def test_a_norm_belongs_to_the_layer_before_it() -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()),
        nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    names = [group["layer"] for group in layerwise_lr(model, 1.0)]
    assert names == ["0.0", "1.0", "3"]


def test_layers_may_be_named_from_input_to_output() -> None:
    model = Classifier()
    names = ["encoder.place", "encoder.embed", "encoder.stack", "encoder.last", "head"]
    groups = layerwise_lr(model, 1.0, decay=0.5, layers=names)
    assert [group["layer"] for group in groups] == names
    assert rates(groups) == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0]


def test_frozen_weights_are_left_out() -> None:
    model = four().requires_grad_(False)
    model[1:].requires_grad_(True)
    groups = layerwise_lr(model, 0.8, decay=0.5)
    assert rates(groups) == [0.2, 0.4, 0.8]
    assert all(w.requires_grad for group in groups for w in group["params"])


@given(
    sizes=st.lists(st.integers(1, 3), min_size=2, max_size=5),
    decay=st.floats(0.1, 1.0),
)
def test_every_weight_is_in_exactly_one_group(sizes: list[int], decay: float) -> None:
    model = nn.Sequential(
        *(nn.Sequential(*(nn.Linear(2, 2) for _ in range(n))) for n in sizes)
    )
    groups = layerwise_lr(model, 1.0, decay=decay)
    assert len(groups) == sum(sizes)
    held = [id(w) for group in groups for w in group["params"]]
    assert sorted(held) == sorted(id(w) for w in model.parameters())
    assert rates(groups) == sorted(rates(groups))


def test_one_group_for_all_is_refused() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.LSTM(3, 4)

    for model in (Alone(), nn.Linear(2, 2), nn.ReLU()):
        with pytest.raises(ScheduleError, match=r"layers="):
            layerwise_lr(model, 0.1)
    with pytest.raises(ScheduleError, match="has 1 layer with trained weights"):
        layerwise_lr(Alone(), 0.1, layers=["inner"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"layers": ["0", "1", "2"]}, "in none of the layers, such as 3.weight"),
        ({"layers": ["0", "1", "2", "3", "4"]}, "the layer '4' came"),
        ({"layers": ["0", "0", "1", "2", "3"]}, "no other layer holds"),
        ({"decay": 0.0}, "above 0 and at most 1"),
        ({"decay": 1.1}, "above 0 and at most 1"),
    ],
)
def test_what_makes_no_groups_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ScheduleError, match=told):
        layerwise_lr(four(), 0.1, **given)
    with pytest.raises(ScheduleError, match="positive rate"):
        layerwise_lr(four(), math.nan)


# --- by measurement --------------------------------------------------------------


def two_valleys() -> tuple[nn.ParameterDict, Any]:
    """A loss whose layers curve with 100 and with 1, and something between them."""
    model = nn.ParameterDict(
        {"steep": nn.Parameter(torch.ones(3)), "flat": nn.Parameter(torch.ones(3))}
    ).double()

    def loss_fn(model: nn.ParameterDict, _: Any) -> torch.Tensor:
        steep, flat = model["steep"], model["flat"]
        bent = 0.01 * (steep * flat).sum()
        return 50 * steep.square().sum() + 0.5 * flat.square().sum() + bent

    return model, loss_fn


def _curvatures(model: nn.ParameterDict, loss_fn: Any) -> list[float]:
    return [
        float(
            eigenpairs(hessian(model, None, loss_fn=loss_fn, where=name), 1).values[0]
        )
        for name in ("steep", "flat")
    ]


def test_layers_that_curve_with_100_and_1_have_rates_of_1_to_100() -> None:
    model, loss_fn = two_valleys()
    found = curvature_rates(_curvatures(model, loss_fn), most=10.0)
    assert found[1] / found[0] == pytest.approx(100, rel=0.05)
    assert found[0] == pytest.approx(0.01, rel=0.05)


def test_the_rates_are_capped() -> None:
    model, loss_fn = two_valleys()
    steep, flat = curvature_rates(_curvatures(model, loss_fn), most=0.5)
    assert steep == pytest.approx(0.01, rel=0.05)
    assert flat == 0.5
    assert curvature_rates([0.0, -3.0, 1e-300], most=0.5) == [0.5] * 3


def test_measured_rates_train_both_valleys_at_one_pace() -> None:
    model, loss_fn = two_valleys()
    groups = [{"params": [model[name]]} for name in ("steep", "flat")]
    optimizer = torch.optim.SGD(groups, lr=0.0)
    measure = lambda: curvature_rates(_curvatures(model, loss_fn), share=0.5, most=1.0)  # noqa: E731
    handle = after_step(optimizer, LayerRates(optimizer, measure), every=5)
    for _ in range(25):
        optimizer.zero_grad()
        loss_fn(model, None).backward()
        optimizer.step()
    assert [event.step for event in handle.log] == [5, 10, 15, 20, 25]
    assert all(w.abs().max() < 1e-5 for w in model.values())


def test_norm_rates_move_each_layer_by_the_same_share() -> None:
    torch.manual_seed(0)
    model = four()
    groups = [{"params": list(layer.parameters())} for layer in model]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    (model(torch.randn(8, 4)) ** 2).sum().backward()
    weights, gradients = group_norms(optimizer)
    for layer, norm in zip(model, weights, strict=True):
        flat = torch.cat([w.detach().flatten() for w in layer.parameters()])
        assert norm == pytest.approx(float(flat.norm()), rel=1e-6)
    found = norm_rates(weights, gradients, share=0.01, most=10.0)
    moved = [r * g / w for r, g, w in zip(found, gradients, weights, strict=True)]
    assert moved == pytest.approx([0.01] * 4)
    assert norm_rates([1.0, 0.0, 1.0], [0.0, 1.0, 1e-9], most=0.5) == [0.5] * 3


def test_a_group_without_gradients_has_the_norm_0() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(4))], lr=1.0)
    assert group_norms(optimizer) == ([2.0], [0.0])


def test_measured_rates_are_averaged_scheduled_and_resumed() -> None:
    given = iter([[0.1, 1.0], [0.4, 1.0], [0.1, 1.0]])

    def made() -> torch.optim.SGD:
        weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
        optimizer = torch.optim.SGD([{"params": [w]} for w in weights], lr=0.1)
        line = Linear(1.0, 0.0, steps=10)
        action = LayerRates(optimizer, lambda: next(given), schedule=line, keep=0.5)
        after_step(optimizer, action)
        return optimizer

    optimizer = made()
    optimizer.step()
    assert rates(optimizer.param_groups) == pytest.approx([0.1 * 0.9, 0.9])
    optimizer.step()
    assert rates(optimizer.param_groups) == pytest.approx([0.2 * 0.8, 0.8])
    again = made()
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert rates(again.param_groups) == pytest.approx([0.2 * 0.8, 0.8])
    again.step()
    assert rates(again.param_groups) == pytest.approx([math.sqrt(0.02) * 0.7, 0.7])


@pytest.mark.parametrize("bad", [[0.1], [0.1, math.nan], [0.1, -1.0], []])
def test_a_measurement_that_fails_sets_no_rate(bad: list[float]) -> None:
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [w]} for w in weights], lr=0.1)
    after_step(optimizer, LayerRates(optimizer, lambda: bad))
    with pytest.raises(ScheduleError, match="at step 1 the measurement gave"):
        optimizer.step()
    assert rates(optimizer.param_groups) == [0.1, 0.1]


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ScheduleError, match="share=0"):
        curvature_rates([1.0], share=0, most=1.0)
    with pytest.raises(ScheduleError, match="most="):
        norm_rates([1.0], [1.0], most=math.inf)
    with pytest.raises(ScheduleError, match="finite"):
        curvature_rates([math.nan], most=1.0)
    with pytest.raises(ScheduleError, match="one of each"):
        norm_rates([1.0], [1.0, 2.0], most=1.0)
    with pytest.raises(ScheduleError, match="negative"):
        norm_rates([-1.0], [1.0], most=1.0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ScheduleError, match="keep=1"):
        LayerRates(optimizer, lambda: [0.1], schedule=Constant(1.0), keep=1)
