"""Growth leaves outputs, weights and moments as they were, or is refused by name."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from surefoot.nn.init import (
    Growing,
    GrowthError,
    InitError,
    Split,
    grow_depth,
    grow_width,
    identity_block,
    identity_error,
    residual_block,
)
from surefoot.restore.random_streams import repeated
from surefoot.schedules import Linear, after_step


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)
    )


def zero_last(width: int = 6) -> nn.Module:
    branch = nn.Linear(width, 8), nn.GELU(), nn.Linear(8, width)
    return residual_block(nn.Sequential(*branch))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()


def state(model: nn.Module, optimizer: Any) -> dict[str, Any]:
    """Everything by value: weights, buffers, moments, options."""
    named = {id(p): name for name, p in model.named_parameters()}
    moments = {
        named[id(p)]: {k: torch.as_tensor(v).clone() for k, v in one.items()}
        for p, one in optimizer.state.items()
    }
    groups = [
        [named[id(p)] for p in group["params"]] for group in optimizer.param_groups
    ]
    return {"weights": copy.deepcopy(model.state_dict()), "moments": moments,
            "groups": groups, "text": repr(model)}  # fmt: skip


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left["text"] == right["text"]
    assert left["groups"] == right["groups"]
    torch.testing.assert_close(left["weights"], right["weights"], rtol=0, atol=0)
    torch.testing.assert_close(left["moments"], right["moments"], rtol=0, atol=0)


# --- depth ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zero-last residual", "identity and ReLU"])
def test_max_abs_output_change_is_zero_for_exact_blocks(kind: str) -> None:
    model = net()
    x = torch.randn(64, 4)
    before = model(x)
    exact = {
        "zero-last residual": zero_last(),
        "identity and ReLU": identity_block(model[0], nn.ReLU()),
    }
    grown = grow_depth(model, exact[kind], after="1", inputs=x)
    assert len(model) == 6
    assert (model(x) - before).abs().max().item() == 0.0
    assert grown.change == 0.0
    assert all(name.startswith("2.") for name in grown.parameters)


def test_exact_blocks_of_convolutions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(),
        nn.Linear(45, 2),
    )  # fmt: skip
    x = torch.randn(4, 3, 8, 8)
    model.eval()
    before = model(x)
    grow_depth(model, identity_block(model[0], nn.ReLU()), after="2", inputs=x)
    branch = nn.Sequential(nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(),
                           nn.Conv2d(5, 5, 1))  # fmt: skip
    statistics = model[1].running_mean.clone()
    grow_depth(model, residual_block(branch), after="2", inputs=x)
    assert torch.equal(model(x), before)
    assert torch.equal(model[1].running_mean, statistics)
    assert not branch[1].running_mean.any()
    assert not model[3].training


@pytest.mark.parametrize(
    ("activation", "change", "within"),
    [
        (nn.GELU(), 0.17, 0.005),
        (nn.Tanh(), 0.24, 0.005),
        (nn.LeakyReLU(0.2), 0.50, 0.08),  # 0.16 times the lowest of 1,000 draws
    ],
)
def test_an_identity_before_gelu_tanh_leaky_is_refused_with_its_change(
    activation: nn.Module, change: float, within: float
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Identity(), activation)
    block = identity_block(nn.Linear(8, 8), copy.deepcopy(activation))
    x = torch.randn(125, 8)
    measured = identity_error(block, activation(x))
    assert measured == pytest.approx(change, abs=within)
    name = type(activation).__name__
    message = rf"Sequential\(Linear, {name}\) behind '1'.*{measured:.2g}.*{name}"
    with pytest.raises(GrowthError, match=message):
        grow_depth(model, block, after="1", inputs=x)
    assert len(model) == 2


def test_a_fresh_batch_norm_is_refused_for_what_it_does_in_training() -> None:
    torch.manual_seed(0)
    model = net()
    block = nn.Sequential(identity_block(model[0]), nn.BatchNorm1d(6), nn.ReLU())
    x = 5 * torch.randn(64, 4) + 5
    optimizer = torch.optim.AdamW(model.parameters())
    train(model, optimizer)
    before = state(model, optimizer)
    with pytest.raises(GrowthError, match=r"part 1, BatchNorm1d, by \d"):
        grow_depth(model, block, after="1", inputs=x, optimizer=optimizer)
    assert_same(before, state(model, optimizer))
    assert block[1].num_batches_tracked == 0
    # In evaluation mode its change is that of eps alone: the worse mode counts.
    assert identity_error(block, model[:2](x).detach()) > 1


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
        lambda p: torch.optim.Adam(p, lr=0.01, foreach=True),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
        lambda p: torch.optim.RMSprop(p, lr=0.01),
    ],
    ids=["AdamW", "Adam foreach", "SGD", "RMSprop"],
)
def test_old_moments_are_byte_equal_and_new_ones_begin_at_step_zero(make: Any) -> None:
    model = net()
    optimizer = make(model.parameters())
    train(model, optimizer)
    old = dict(model.named_parameters())
    before = {
        p: {k: torch.as_tensor(v).clone() for k, v in optimizer.state[p].items()}
        for p in old.values()
    }
    block = zero_last()
    grow_depth(model, block, after="3", inputs=torch.randn(5, 4), optimizer=optimizer)
    for parameter, moments in before.items():
        for key, value in moments.items():
            assert torch.equal(torch.as_tensor(optimizer.state[parameter][key]), value)
    assert not any(p in optimizer.state for p in block.parameters())
    train(model, optimizer, steps=1)
    if "step" in before[model[0].weight]:
        assert optimizer.state[model[0].weight]["step"] == 4
        assert all(optimizer.state[p]["step"] == 1 for p in block.parameters())
    train(model, optimizer, steps=2)
    assert block.branch[0].weight.grad.norm() > 0


def test_new_weights_go_to_the_groups_of_their_neighbours_and_schedulers_go_on() -> (
    None
):
    model = net()
    kinds = {"weight": [], "bias": []}
    for name, parameter in model.named_parameters():
        kinds[name.rpartition(".")[2]].append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": kinds["weight"], "weight_decay": 0.1, "lr": 0.1},
         {"params": kinds["bias"], "weight_decay": 0.0, "lr": 0.01}]
    )  # fmt: skip
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    train(model, optimizer, 1)
    scheduler.step()
    block = zero_last()
    grow_depth(model, block, after="1", inputs=torch.randn(3, 4), optimizer=optimizer)
    for place, kind in enumerate(("weight", "bias")):
        ids = {id(p) for p in optimizer.param_groups[place]["params"]}
        own = [p for n, p in block.named_parameters() if n.endswith(kind)]
        assert len(own) == 2
        assert all(id(p) in ids for p in own)
    train(model, optimizer, 1)
    scheduler.step()
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.025, 0.0025])


def test_an_optimizer_that_knows_names_knows_the_new_ones() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    grow_depth(model, zero_last(), after="1", inputs=torch.randn(3, 4),
               optimizer=optimizer)  # fmt: skip
    [group] = optimizer.param_groups
    named = {id(p): name for name, p in model.named_parameters()}
    assert group["param_names"] == [named[id(p)] for p in group["params"]]
    assert len(group["params"]) == len(named)


def test_masked_scores_may_be_infinite_and_nan_is_refused() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.masked_fill(x < 0, -torch.inf)

    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / (x * 0) if self.training else x

    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), Masked())
    x = torch.randn(6, 4)
    assert grow_depth(model, zero_last(4), after="1", inputs=x).change == 0.0
    with pytest.raises(GrowthError, match="by up to inf"):
        grow_depth(model, Breaks(), after="1", inputs=x)


def test_a_part_outside_a_sequence_becomes_one() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.relu(self.first(x)))

    model = Net()
    x = torch.randn(5, 4)
    before = model(x)
    grow_depth(model, zero_last(), after="first", inputs=(x,))
    assert isinstance(model.first, nn.Sequential)
    assert torch.equal(model(x), before)


def test_a_model_that_counts_its_layers_is_refused_and_put_back() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

        def forward(self, x: Tensor) -> Tensor:
            return self.layers[1](torch.relu(self.layers[0](x)))

    model = Counts()
    text = repr(model)
    with pytest.raises(GrowthError, match="calls its parts in order"):
        grow_depth(model, zero_last(4), after="layers.0", inputs=torch.randn(3, 4))
    assert repr(model) == text


@pytest.mark.parametrize(
    ("after", "block", "optimizer", "message"),
    [
        ("9", zero_last, None, "the name '9' came"),
        ("1", lambda: zero_last(5), None, "cannot take"),
        ("1", lambda: nn.Linear(6, 3), None, "keeps the shape"),
        ("1", zero_last, torch.optim.LBFGS, "LBFGS came"),
    ],
)
def test_what_cannot_grow_is_refused_untouched(
    after: str, block: Any, optimizer: Any, message: str
) -> None:
    model = net()
    given = optimizer and optimizer(model.parameters())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InitError, match=message):
        grow_depth(
            model, block(), after=after, inputs=torch.randn(3, 4), optimizer=given
        )
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert len(model) == 5


def test_groups_that_do_not_tell_are_asked_for() -> None:
    model = net()
    head = [{"params": [p], "lr": 0.1} for p in model[4].parameters()]
    optimizer = torch.optim.SGD(head)
    x = torch.randn(3, 4)
    with pytest.raises(GrowthError, match="give group="):
        grow_depth(model, zero_last(), after="0", inputs=x, optimizer=optimizer)
    with pytest.raises(GrowthError, match="group=7 came; the optimizer has 2"):
        grow_depth(
            model, zero_last(), after="0", inputs=x, optimizer=optimizer, group=7
        )
    assert len(model) == 5
    grow_depth(model, zero_last(), after="0", inputs=x, optimizer=optimizer, group=1)
    assert len(optimizer.param_groups[1]["params"]) == 5


# --- width ----------------------------------------------------------------------


def test_six_units_become_nine_and_outputs_stay_within_1e_6() -> None:
    model = net()
    x = torch.randn(64, 4)
    before = model(x)
    grown = grow_width(model, Split("0", "2", to=9), inputs=x)
    assert model[0].weight.shape == (9, 4)
    assert model[2].weight.shape == (6, 9)
    assert (model(x) - before).abs().max().item() <= 1e-6
    assert grown.change <= 1e-6


@given(
    units=some.integers(1, 6),
    more=some.integers(1, 9),
    apart=some.sampled_from([0.0, 0.25, 1.0]),
    seed=some.integers(0, 99),
)
@settings(deadline=None, max_examples=25)
def test_any_split_computes_the_same(
    units: int, more: int, apart: float, seed: int
) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, units), nn.Tanh(), nn.Linear(units, 2)).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    before = model(x)
    split = Split("0", "2", to=units + more, apart=apart)
    grow_width(model, split, inputs=x, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(model(x), before, rtol=1e-12, atol=1e-12)


def test_convolutions_batch_norms_and_flattened_maps_widen() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Conv2d(4, 5, 3),
        nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(80, 2),
    )  # fmt: skip
    x = torch.randn(6, 3, 8, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model(x).sum().backward()
    optimizer.step()
    model.eval()
    before = model(x)
    split = Split("0", "3", to=6, through=("1", "2"))
    grow_width(model, split, inputs=x, optimizer=optimizer)
    grow_width(model, Split("3", "7", to=8), inputs=x, optimizer=optimizer)
    assert (model(x) - before).abs().max() <= 1e-6
    assert (model[0].out_channels, model[1].num_features) == (6, 6)
    assert (model[3].in_channels, model[3].out_channels) == (6, 8)
    assert model[7].in_features == 128
    model.train()
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_moments_of_old_units_are_byte_equal_while_a_graph_is_alive(kind: Any) -> None:
    model = net()
    extra = {"momentum": 0.9} if kind is torch.optim.SGD else {"amsgrad": True}
    optimizer = kind(model.parameters(), lr=0.01, **extra)
    train(model, optimizer, 3)
    alive = model(torch.randn(5, 4)).sum()
    alive.backward()
    first = model[0].weight
    before = {k: v.clone() for k, v in optimizer.state[first].items() if v is not None}
    grow_width(model, Split("0", "2", to=9), inputs=torch.randn(5, 4),
               optimizer=optimizer)  # fmt: skip
    assert model[0].weight is first
    for key, value in before.items():
        now = optimizer.state[first][key]
        assert torch.equal(now if key == "step" else now[:6], value)
    assert set(optimizer.state[first]) >= set(before)
    train(model, optimizer, 2)
    assert alive.isfinite()


def test_moments_of_copies_are_those_of_their_gradients() -> None:
    """A split model's gradients for copies are their source's times the share."""
    model = net().double()
    x = torch.randn(16, 4, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    model(x).square().mean().backward()
    optimizer.step()
    grow_width(model, Split("0", "2", to=12, apart=0.25), inputs=x, optimizer=optimizer)
    model(x).square().mean().backward()
    own = optimizer.state[model[0].weight]
    torch.testing.assert_close(own["exp_avg"][6:], 0.1 * model[0].weight.grad[6:])
    torch.testing.assert_close(
        own["exp_avg_sq"][6:], 0.001 * model[0].weight.grad[6:] ** 2
    )
    after = optimizer.state[model[2].weight]["exp_avg"]
    torch.testing.assert_close(after, 0.1 * model[2].weight.grad)


def test_equal_shares_leave_twins_under_adam_and_opposed_ones_part_them() -> None:
    spread = {}
    for apart in (0.0, 0.25):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 1), nn.Tanh(), nn.Linear(1, 1)).double()
        split = Split("0", "2", to=2, apart=apart)
        grow_width(model, split, inputs=torch.randn(5, 4, dtype=torch.float64))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(50):
            x = torch.randn(16, 4, dtype=torch.float64)
            optimizer.zero_grad()
            (model(x)[:, 0] - x.prod(1)).square().mean().backward()
            optimizer.step()
        first, second = model[0].weight
        spread[apart] = (first - second).norm().item()
    assert spread[0.0] < 1e-9
    assert spread[0.25] > 0.1


@pytest.mark.parametrize(
    ("change", "split", "message"),
    [
        (lambda m: m.insert(1, nn.LayerNorm(6)), Split("0", "3", 9), "does not fit"),
        (lambda m: m.insert(1, nn.Softmax(1)), Split("0", "3", 9),
         r"changes the output by .*1, 2"),
        (lambda m: m.insert(1, nn.BatchNorm1d(6)), Split("0", "3", 9), "through="),
        (lambda m: None, Split("0", "2", 6), "expected more units than now"),
        (lambda m: None, Split("0", "4", 9), "does not fit|changes the output"),
        (lambda m: None, Split("1", "2", 9), "expected a linear layer"),
        (lambda m: None, Split("0", "2", 9, through=("4",)), "one value for each"),
        (lambda m: m.__setitem__(3, _tied(m[2])), Split("0", "2", 9),
         "3.weight uses the same weights"),
        (lambda m: nn.utils.parametrizations.weight_norm(m[0]), Split("0", "2", 9),
         "without parametrisations"),
    ],
)  # fmt: skip
def test_widths_that_are_not_exact_are_refused_untouched(
    change: Any, split: Split, message: str
) -> None:
    model = net()
    change(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    x = torch.randn(8, 4)
    model(x).sum().backward()
    optimizer.step()
    before = state(model, optimizer)
    with pytest.raises(GrowthError, match=message):
        grow_width(model, split, inputs=x, optimizer=optimizer)
    assert_same(before, state(model, optimizer))


def _tied(layer: nn.Linear) -> nn.Linear:
    other = nn.Linear(6, 6)
    other.weight = layer.weight
    return other


def test_a_state_whose_split_is_unknown_is_refused() -> None:
    model = net()
    optimizer = torch.optim.Adadelta(model.parameters())
    train(model, optimizer)
    before = state(model, optimizer)
    with pytest.raises(GrowthError, match="Adadelta keeps 'acc_delta'"):
        grow_width(model, Split("0", "2", to=9), inputs=torch.randn(5, 4),
                   optimizer=optimizer)  # fmt: skip
    assert_same(before, state(model, optimizer))


# --- at steps of a schedule, in other hands -------------------------------------


def _growing_run() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    x = torch.ones(3, 4)

    def grow(number: int) -> Any:
        with repeated(number):
            if number == 0:
                return grow_depth(model, zero_last(), after="3", inputs=x,
                                  optimizer=optimizer)  # fmt: skip
            split = Split("0", "2", to=9)
            return grow_width(model, split, inputs=x, optimizer=optimizer)

    after_step(optimizer, Growing(grow, stages=Linear(0, 2, steps=8)), name="growth")
    return model, optimizer


def _update(model: nn.Module, optimizer: Any, step: int) -> None:
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def test_growth_at_steps_of_a_schedule_resumes_bit_for_bit() -> None:
    model, optimizer = _growing_run()
    saved: dict[int, Any] = {}
    for step in range(10):
        _update(model, optimizer, step)
        both = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        saved[step + 1] = copy.deepcopy(both)
    assert len(model) == 6
    assert model[0].out_features == 9
    for start in (2, 4, 5, 8):
        other, again = _growing_run()
        again.load_state_dict(saved[start]["optimizer"])
        other.load_state_dict(saved[start]["model"])
        for step in range(start, 10):
            _update(other, again, step)
        assert_same(state(other, again), state(model, optimizer))
        assert len(other) == 6
        assert other[0].out_features == 9


def test_a_compiled_model_sees_its_growth() -> None:
    torch._dynamo.reset()
    model = net()
    fast = torch.compile(model, backend="eager", fullgraph=True)
    x = torch.randn(5, 4)
    before = fast(x)
    grow_depth(model, zero_last(), after="1", inputs=x)
    assert torch.equal(fast(x), before)
    with torch.no_grad():
        model[2].branch[2].bias.fill_(1.0)
    assert torch.equal(fast(x), model(x))
    assert not torch.equal(fast(x), before)
    grow_width(model, Split("2.branch.0", "2.branch.2", to=12), inputs=x)
    torch.testing.assert_close(fast(x), model(x))


@pytest.fixture
def alone(tmp_path: Any) -> Any:
    """A process group of one."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_distributed_model_is_refused_grown_inside_and_wrapped_anew(
    alone: None,
) -> None:
    model = net()
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    x = torch.randn(5, 4)
    with pytest.raises(GrowthError, match="wrap anew"):
        grow_depth(wrapped, zero_last(), after="module.1", inputs=x)
    with pytest.raises(GrowthError, match="wrap anew"):
        grow_width(wrapped, Split("module.0", "module.2", to=9), inputs=x)
    train(wrapped, optimizer, 2)
    block = zero_last()
    grow_depth(model, block, after="1", inputs=x, optimizer=optimizer)
    before = wrapped.module(x)
    wrapped = DistributedDataParallel(model)
    assert torch.equal(wrapped(x), before)
    train(wrapped, optimizer, 2)
    assert all(p.grad is not None for p in block.parameters())
    assert all(optimizer.state[p]["step"] == 2 for p in block.parameters())


def test_a_sharded_model_is_refused(alone: None) -> None:
    model = fully_shard(net(), mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(GrowthError, match="wrap anew"):
        grow_depth(model, zero_last(), after="1", inputs=torch.randn(5, 4))
