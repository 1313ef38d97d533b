"""The loss on lines and planes, and the model that stays as it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surefoot.landscape.directions import Mark, random_directions, slice_of
from surefoot.landscape.surface import Options, Surface, line, surface

Batch = tuple[Tensor, Tensor]


class Residual(nn.Module):
    """Norm layer, dropout, skip connection: all that a pass could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.first(x)))
        h = h + self.dropout(torch.relu(self.second(h)))
        return self.head(h.mean((2, 3)))


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


@pytest.fixture
def net() -> Residual:
    torch.manual_seed(0)
    return Residual()


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, 1, 6, 6, generator=generator)
    return x, torch.arange(12) % 3


def everything(model: nn.Module) -> dict[str, Any]:
    """All that must be the same afterwards, as plain values."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "tensors": {
            n: t.detach().clone().numpy().tobytes() for n, t in tensors.items()
        },
        "grads": [p.grad for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
        "versions": [p._version for p in model.parameters()],
    }


def by_hand(
    model: nn.Module, batch: Batch, plane: Any, place: tuple[float, float]
) -> float:
    """The loss at a place, by the definition, one tensor at a time."""
    kept = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for at, weight in enumerate(model.parameters()):
            first, second = plane.directions[0][at], plane.directions[1][at]
            weight.copy_(kept[at] + place[0] * first + place[1] * second)
        loss = float(cross_entropy(model, batch))
        for weight, value in zip(model.parameters(), kept, strict=True):
            weight.copy_(value)
    return loss


def test_a_surface_is_the_loss_at_each_place(net: Residual, batch: Batch) -> None:
    net.eval()
    plane = random_directions(net, seed=3)
    drawn = surface(
        net, batch, loss_fn=cross_entropy, directions=plane, points=5,
        options=Options(exact=True),
    )  # fmt: skip
    assert drawn.losses.shape == (5, 5)
    assert drawn.evaluated.all()
    for i, alpha in enumerate(drawn.alphas):
        for j, beta in enumerate(drawn.betas):
            expected = by_hand(net, batch, plane, (float(alpha), float(beta)))
            assert drawn.losses[i, j] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("training", [None, True, False])
def test_model_and_random_streams_end_as_they_were(
    net: Residual, batch: Batch, training: bool | None
) -> None:
    net.dropout.eval()
    before = everything(net)
    for options in (Options(training=training), Options(training=training, exact=True)):
        surface(net, batch, loss_fn=cross_entropy, points=5, options=options)
        assert everything(net) == before


def test_a_graph_that_was_open_can_still_be_walked(net: Residual, batch: Batch) -> None:
    loss = cross_entropy(net, batch)
    line(net, batch, loss_fn=cross_entropy, points=3)
    loss.backward()


class Interrupted:
    """A loss that is interrupted at one of its calls."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.left, self.error = at, error

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return cross_entropy(model, batch)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no memory")])
@pytest.mark.parametrize("at", [1, 7])
def test_an_interrupted_drawing_leaves_the_model_as_it_was(
    net: Residual, batch: Batch, error: BaseException, at: int
) -> None:
    before = everything(net)
    with pytest.raises(type(error)):
        surface(net, batch, loss_fn=Interrupted(at, error), points=5)
    assert everything(net) == before


def test_dropout_draws_the_same_numbers_at_every_place(
    net: Residual, batch: Batch
) -> None:
    net.train()
    zero = [torch.zeros_like(p) for p in net.parameters()]
    tiny = [torch.full_like(p, 1e-30) for p in net.parameters()]
    flat = slice_of(net, (tuple(tiny), tuple(zero)))
    drawn = surface(net, batch, loss_fn=cross_entropy, directions=flat, points=4)
    assert len(np.unique(drawn.losses)) == 1


def test_compiled_and_wrapped_models_have_the_same_surface(
    net: Residual, batch: Batch
) -> None:
    net.eval()
    plain = line(net, batch, loss_fn=cross_entropy, points=3)
    compiled = torch.compile(net, backend="eager")
    drawn = line(compiled, batch, loss_fn=cross_entropy, points=3)
    np.testing.assert_array_equal(drawn.losses, plain.losses)


def test_a_data_loader_counts_each_sample_once(net: Residual, batch: Batch) -> None:
    net.eval()
    data = torch.utils.data.TensorDataset(*batch)
    loader = torch.utils.data.DataLoader(data, batch_size=5, shuffle=True)
    before = torch.get_rng_state()
    several = line(net, loader, loss_fn=cross_entropy, points=3)
    one = line(net, batch, loss_fn=cross_entropy, points=3)
    np.testing.assert_allclose(several.losses, one.losses, rtol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_slice_of_a_quadratic_has_its_curvature() -> None:
    # H = diag(10, 1) along (.6, .8): 10 * .36 + 1 * .64 = 4.24
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.zero_()
    scale = torch.tensor([10.0, 1.0], dtype=torch.float64)
    way = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    cut = line(
        model,
        scale,
        loss_fn=lambda m, h: 0.5 * (h * m.weight.square()).sum(),
        directions=slice_of(model, [(way,)]),
        points=3,
    )
    below, middle, above = cut.losses
    assert (above - 2 * middle + below) / 1.0**2 == pytest.approx(4.24, rel=1e-12)


def test_losses_that_are_not_finite_stay_so() -> None:
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    cut = line(
        model,
        torch.ones(4, 1),
        loss_fn=lambda m, x: m(x).mean().log(),
        directions=slice_of(model, [(torch.ones(1, 1),)], reach=(-2.0, 2.0)),
        points=5,
    )
    assert np.isnan(cut.losses[0])
    assert cut.losses[1] == -np.inf
    assert np.isfinite(cut.losses[2:]).all()


def test_a_field_holds_what_the_page_draws(net: Residual, batch: Batch) -> None:
    drawn = surface(
        net, batch, loss_fn=cross_entropy, points=5,
        options=Options(exact=True, training=False, title="at the start"),
    )  # fmt: skip
    field = drawn.field(step=7)
    assert (field.step, field.kind) == (7, "landscape")
    assert list(field.axes) == ["alpha", "beta"]
    assert field.values.dtype == np.float32
    assert field.about["evaluations"] == 25
    assert field.about["mode"] == "eval"
    assert field.about["title"] == "at the start"
    assert field.about["loss_at_centre"] == drawn.losses[2, 2]
    flat = line(net, batch, loss_fn=cross_entropy, points=5).field()
    assert list(flat.axes) == ["alpha"]
    assert flat.values.shape == (5,)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda net: net.first.weight.data.fill_(float("nan")),
            "first.weight holds NaN",
        ),
        (lambda net: net.requires_grad_(False), None),
    ],
)
def test_a_model_without_a_landscape_is_refused(
    net: Residual, batch: Batch, change: Callable[[Residual], object], told: str | None
) -> None:
    change(net)
    if told is None:  # frozen weights have one
        line(net, batch, loss_fn=cross_entropy, points=3)
    else:
        with pytest.raises(ValueError, match=told):
            line(net, batch, loss_fn=cross_entropy, points=3)


def test_what_is_no_loss_is_refused(net: Residual, batch: Batch) -> None:
    with pytest.raises(ValueError, match=r"gave \(12, 3\); expected a tensor"):
        surface(net, batch, loss_fn=lambda m, b: m(b[0]), points=3)
    with pytest.raises(ValueError, match="gave float"):
        surface(net, batch, loss_fn=lambda m, b: 1.0, points=3)  # type: ignore


def test_a_line_is_no_surface(net: Residual, batch: Batch) -> None:
    one = random_directions(net, count=1)
    with pytest.raises(ValueError, match="needs two directions"):
        surface(net, batch, loss_fn=cross_entropy, directions=one)
    with pytest.raises(ValueError, match="no axis"):
        surface(net, batch, loss_fn=cross_entropy, points=1)


def test_a_loss_may_take_gradients_of_its_own(net: Residual, batch: Batch) -> None:
    def penalised(model: nn.Module, given: Batch) -> Tensor:
        x = given[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return slope.square().mean()

    drawn = line(
        net, batch, loss_fn=penalised, points=3, options=Options(differentiable=True)
    )
    assert np.isfinite(drawn.losses).all()


def test_a_surface_is_saved_and_loaded(
    net: Residual, batch: Batch, tmp_path: Path
) -> None:
    drawn = surface(net, batch, loss_fn=cross_entropy, points=9)
    drawn = replace(drawn, marks=(Mark((0.0, 1.0), "here"),), explained=(0.7, 0.2))
    drawn.save(tmp_path / "drawn.npz")
    loaded = Surface.load(tmp_path / "drawn.npz")
    one, other = drawn.field(), loaded.field()
    np.testing.assert_array_equal(one.values, other.values)
    assert (one.axes, one.about) == (other.axes, other.about)
    (tmp_path / "other.npz").write_text("nothing")
    with pytest.raises(ValueError, match="no file that Surefoot wrote"):
        Surface.load(tmp_path / "other.npz")


def test_the_loss_at_a_place_lies_between_its_neighbours(
    net: Residual, batch: Batch
) -> None:
    drawn = surface(net, batch, loss_fn=cross_entropy, points=5)
    assert drawn.at(0.5, -1.0) == drawn.losses[3, 0]
    assert drawn.at(1.0, 1.0) == drawn.losses[4, 4]
    middle = drawn.losses[1:3, 3:5].mean()
    assert drawn.at(-0.25, 0.75) == pytest.approx(middle)
    cut = line(net, batch, loss_fn=cross_entropy, points=5)
    assert cut.at(0.25) == pytest.approx((cut.losses[2] + cut.losses[3]) / 2)
    with pytest.raises(ValueError, match="outside what was drawn, -1 to 1"):
        drawn.at(1.5, 0.0)


def test_stored_statistics_are_told_of(net: Residual, batch: Batch) -> None:
    for training, told in ((False, True), (True, False)):
        options = Options(training=training)
        drawn = line(net, batch, loss_fn=cross_entropy, points=3, options=options)
        assert ("running statistics" in drawn.field().about.get("note", "")) == told
