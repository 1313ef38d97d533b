"""Curvature that is tracked while a model is trained."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import surefoot
from surefoot.curvature.operators import hessian, preconditioned
from surefoot.probes.curvature import FEWEST_ROWS
from surefoot.probes.held import Held
from surefoot.probes.spectrum import PRODUCTS, Spectra, tensor_traces
from surefoot.record.reader import RecordReader
from surefoot.restore.random_streams import repeated

ALWAYS = surefoot.Options(every=5, budget=0, histograms=False, curvature=None)
SERIES = ("sharpness", "sharpness_error", "stability_ratio")


class Net(nn.Module):
    """A convolution, batch norm and dropout: all that passes could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(4 * 36, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.norm(self.conv(images)))
        return self.head(self.drop(hidden.flatten(1)))


class Attending(nn.Module):
    """Attention as torch writes it, whose fast kernels have no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 8)
        self.head = nn.Linear(8, 5)
        self.unused = nn.Linear(2, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        x = self.words(rows)
        x = x + functional.scaled_dot_product_attention(x, x, x, is_causal=True)
        return self.head(x.mean(1))


def loss_fn(model: Any, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def fused_adam(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(weights, lr=torch.tensor(1e-3), fused=True)


def compiled() -> nn.Module:
    model = Net()
    model.compile(backend="eager")
    return model


def images(rows: int = 64, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 1, 8, 8, generator=drawn)
    return x, torch.randint(5, (rows,), generator=drawn)


def words(rows: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    x = torch.randint(7, (rows, 6), generator=drawn)
    return x, torch.randint(5, (rows,), generator=drawn)


def sgd(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(weights, lr=0.05, momentum=0.9)


def adam(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(weights, lr=1e-3)


class Trained:
    """A seeded training, watched or not, and what it leaves behind."""

    def __init__(
        self,
        folder: Any = None,
        *,
        make: Any = Net,
        optimizer: Any = sgd,
        batch: Any = images,
        steps: int = 12,
        options: surefoot.Options = ALWAYS,
        loss: Any = loss_fn,
        spoil: Any = lambda model, step: None,
    ) -> None:
        for seed in (torch.manual_seed, random.seed, np.random.seed):
            seed(3)
        self.model = make()
        self.optimizer = optimizer(self.model.parameters())
        self.losses: list[torch.Tensor] = []
        self.path = None
        if folder is None:
            self._train(steps, batch, loss, spoil, told=lambda value, rows: None)
            return
        with surefoot.watch(
            self.model, self.optimizer, loss_fn=loss, folder=folder, options=options
        ) as run:
            self._train(steps, batch, loss, spoil, told=run.step)
            self.off = run.streams["main"].shield.off
            self.path = run.path

    def _train(
        self, steps: int, batch: Any, loss: Any, spoil: Any, *, told: Any
    ) -> None:
        for step in range(steps):
            rows = batch(seed=step)
            value = loss(self.model, rows)
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()
            spoil(self.model, step)
            told(value, rows)
            self.losses.append(value.detach())

    def left(self) -> list[torch.Tensor]:
        kept = [*self.losses, *self.model.state_dict().values()]
        kept += [p.grad for p in self.model.parameters() if p.grad is not None]
        for own in self.optimizer.state.values():
            kept += [one for one in own.values() if isinstance(one, torch.Tensor)]
        drawn = [torch.rand(3), torch.tensor(np.random.rand(3))]
        return [*kept, *drawn, torch.tensor([random.random()])]

    def series(self, quantity: str) -> Any:
        with RecordReader(self.path) as reader:
            return reader.series(quantity)

    def events(self, kind: str) -> list[Any]:
        with RecordReader(self.path) as reader:
            return [event for event in reader.events() if event.kind == kind]


@pytest.mark.parametrize(
    ("make", "batch", "optimizer"),
    [
        (Net, images, sgd),
        (Net, images, fused_adam),
        (Attending, words, adam),
        (compiled, images, sgd),
    ],
    ids=["batch norm, sgd", "batch norm, fused adam", "attention, adam", "compiled"],
)
def test_training_is_the_same_to_the_last_bit(
    make: Any, batch: Any, optimizer: Any, tmp_path: Any
) -> None:
    setting = {"make": make, "batch": batch, "optimizer": optimizer}
    bare = Trained(**setting).left()
    watched = Trained(tmp_path, **setting)
    assert not watched.off
    assert watched.series("sharpness").steps.tolist() == [0, 5, 10]
    left = watched.left()
    assert len(left) == len(bare)
    assert all(torch.equal(one, other) for one, other in zip(left, bare, strict=True))


def test_micro_batches_are_not_disturbed(tmp_path: Any) -> None:
    def train(run: Any, model: Any, optimizer: Any) -> list[torch.Tensor]:
        for step in range(6):
            for part in range(3):
                batch = images(16, seed=3 * step + part)
                loss = loss_fn(model, batch) / 3
                loss.backward()
                if part == 2:
                    optimizer.step()
                if run is not None:
                    run.step(loss, batch=batch)
            optimizer.zero_grad()
        return [*model.state_dict().values(), torch.rand(2)]

    left: list[list[torch.Tensor]] = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = Net()
        optimizer = sgd(model.parameters())
        if not watched:
            left.append(train(None, model, optimizer))
            continue
        with surefoot.watch(
            model, optimizer, loss_fn=loss_fn, folder=tmp_path, options=ALWAYS
        ) as run:
            left.append(train(run, model, optimizer))
            assert not run.streams["main"].shield.off
            assert run.streams["main"].curvature.points == 2
    assert all(torch.equal(one, other) for one, other in zip(*left, strict=True))


def test_the_sharpness_is_that_of_the_weights_after_the_update(tmp_path: Any) -> None:
    trained = Trained(tmp_path, steps=6)
    rows = trained.events("curvature")[0].body["rows"]
    batch = tuple(one[:rows] for one in images(seed=0))
    with repeated(0):
        dense = hessian(trained.model, batch, loss_fn=loss_fn)
    matrix = dense @ torch.eye(dense.shape[0])
    truth = float(torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])
    value = float(trained.series("sharpness").values[-1, 0])
    assert abs(value - truth) <= trained.series("sharpness_error").values[-1, 0]
    assert abs(value - truth) <= 0.01 * truth
    line = 2 * (1 + 0.9) / 0.05
    ratio = float(trained.series("stability_ratio").values[-1, 0])
    assert ratio == pytest.approx(value / line, rel=1e-5)


def test_adam_is_held_against_38_over_its_rate(tmp_path: Any) -> None:
    trained = Trained(tmp_path, make=Attending, batch=words, optimizer=adam, steps=6)
    held = [w for w in trained.model.parameters() if trained.optimizer.state.get(w)]
    whole = hessian(trained.model, words(seed=0), loss_fn=loss_fn, where=held)
    matrix = preconditioned(whole, trained.optimizer) @ torch.eye(whole.shape[0])
    truth = float(torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])
    value = float(trained.series("preconditioned_sharpness").values[-1, 0])
    assert value == pytest.approx(truth, rel=0.01)
    ratio = float(trained.series("stability_ratio").values[-1, 0])
    assert ratio == pytest.approx(value / (38 / 1e-3), rel=1e-4)


def test_the_ratio_follows_the_schedule_of_the_rate(tmp_path: Any) -> None:
    def halved(model: Any, step: int) -> None:
        trained_by.param_groups[0]["lr"] = 0.04 if step < 5 else 0.01

    made: list[Any] = []

    def optimizer(weights: Any) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(weights, lr=0.04))
        return made[0]

    class Kept:
        @property
        def param_groups(self) -> Any:
            return made[0].param_groups

    trained_by = Kept()
    trained = Trained(tmp_path, optimizer=optimizer, spoil=halved)
    values = trained.series("sharpness").values[:, 0]
    ratios = trained.series("stability_ratio").values[:, 0]
    np.testing.assert_allclose(values / ratios, [50, 200, 200], rtol=1e-5)


def test_the_error_by_sampling_is_told_and_rows_are_chosen_by_it(tmp_path: Any) -> None:
    trained = Trained(tmp_path, batch=lambda seed: images(256, seed))
    body = trained.events("curvature")[0].body
    assert body["of"] == 256
    assert FEWEST_ROWS <= body["rows"] <= 256
    first = trained.series("sharpness_sampling_error")
    assert first.steps[0] == 0
    share = first.values[0, 0] / trained.series("sharpness").values[0, 0]
    assert 0 < share <= 0.2 or body["rows"] == 256


def test_a_batch_without_rows_is_taken_whole(tmp_path: Any) -> None:
    def batch(seed: int) -> Any:
        return *images(8, seed), torch.ones(3)

    trained = Trained(tmp_path, batch=batch, loss=lambda m, b: loss_fn(m, b[:2]))
    assert trained.events("curvature")[0].body == {"rows": 0, "of": 0}
    assert len(trained.series("sharpness").steps) == 3
    with RecordReader(trained.path) as reader:
        assert not reader.has("sharpness_sampling_error")


def test_a_loss_that_is_no_number_is_skipped_and_said_once(tmp_path: Any) -> None:
    def spoil(model: Any, step: int) -> None:
        if step == 5:
            torch.nn.init.constant_(model.head.bias, float("nan"))

    trained = Trained(tmp_path, spoil=spoil, steps=17)
    assert not trained.off
    assert trained.series("sharpness").steps.tolist() == [0]
    skipped = [e for e in trained.events("curvature") if "skipped" in e.body]
    assert len(skipped) == 1
    assert "head.bias" in skipped[0].body["skipped"]


def test_an_operation_without_second_derivative_switches_it_off_alone(
    tmp_path: Any,
) -> None:
    def loss(model: Any, batch: Any) -> torch.Tensor:
        return torch.cdist(model(batch[0]), torch.zeros(2, 5), p=3.0).mean()

    bare = Trained(loss=loss).left()
    trained = Trained(tmp_path, loss=loss)
    assert set(trained.off) == {"curvature"}
    assert "_cdist_backward" in trained.events("probe_off")[0].body["error"]
    assert len(trained.series("loss").steps) == 12
    left = trained.left()
    assert all(torch.equal(one, other) for one, other in zip(left, bare, strict=True))


def test_an_optimizer_whose_line_is_unknown_has_a_sharpness(tmp_path: Any) -> None:
    trained = Trained(
        tmp_path, optimizer=lambda weights: torch.optim.Rprop(weights, lr=1e-3)
    )
    assert not trained.off
    with RecordReader(trained.path) as reader:
        assert reader.has("sharpness")
        assert not reader.has("stability_ratio")


def test_autocast_in_the_loss_is_measured(tmp_path: Any) -> None:
    def loss(model: Any, batch: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            output = model(batch[0])
        return functional.cross_entropy(output.float(), batch[1])

    trained = Trained(tmp_path, loss=loss)
    assert not trained.off
    assert (trained.series("sharpness").values > 0).all()


def test_a_batch_that_was_never_told_is_asked_for(tmp_path: Any) -> None:
    model = nn.Linear(3, 2)
    optimizer = sgd(model.parameters())
    with surefoot.watch(
        model, optimizer, loss_fn=loss_fn, folder=tmp_path, options=ALWAYS
    ) as run:
        loss = model(torch.ones(2, 3)).sum()
        loss.backward()
        optimizer.step()
        run.step(loss)
        assert "batch=batch" in run.streams["main"].shield.off["curvature"]


@pytest.mark.parametrize("share", [-1.0, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(share: float, tmp_path: Any) -> None:
    model = nn.Linear(3, 2)
    options = surefoot.Options(curvature=share, loss_fn=loss_fn)
    with pytest.raises(ValueError, match="percent"):
        surefoot.watch(model, sgd(model.parameters()), folder=tmp_path, options=options)


def test_without_a_loss_function_it_is_refused(tmp_path: Any) -> None:
    model = nn.Linear(3, 2)
    options = surefoot.Options(curvature=3.0)
    with pytest.raises(ValueError, match="loss_fn"):
        surefoot.watch(model, sgd(model.parameters()), folder=tmp_path, options=options)
    assert not list(tmp_path.iterdir())


def test_two_models_in_one_stream_are_refused(tmp_path: Any) -> None:
    models = {"a": nn.Linear(3, 2), "b": nn.Linear(2, 1)}
    weights = [w for model in models.values() for w in model.parameters()]
    options = surefoot.Options(curvature=3.0)
    with pytest.raises(ValueError, match="a, b"):
        surefoot.watch(
            models, sgd(weights), loss_fn=loss_fn, folder=tmp_path, options=options
        )


def test_it_is_off_unless_asked_for(tmp_path: Any) -> None:
    trained = Trained(tmp_path, options=surefoot.Options(every=1, budget=None))
    with RecordReader(trained.path) as reader:
        assert not reader.has("sharpness")


def test_a_share_spaces_the_measurements(tmp_path: Any) -> None:
    """A point costs many steps, so at a percent there is one in this short run."""
    options = surefoot.Options(every=1, budget=0, histograms=False, curvature=1.0)
    trained = Trained(tmp_path, steps=30, options=options)
    assert len(trained.series("sharpness").steps) < 5


def test_the_spectrum_is_taken_now_and_then(tmp_path: Any) -> None:
    trained = Trained(tmp_path, steps=61)
    assert not trained.off
    with RecordReader(trained.path) as reader:
        taken = [
            step for kind, _, step, _ in reader.field_index() if kind == "spectrum"
        ]
        field = reader.field("spectrum")
        traces = reader.series("hessian_trace")
        errors = reader.series("hessian_trace_error")
    assert taken == [0, 50]
    assert field is not None
    assert traces.steps.tolist() == [0, 50]
    (top,) = field.about["top"]["model"]
    assert top == pytest.approx(float(trained.series("sharpness").values[10, 0]))
    grid = np.asarray(field.axes["eigenvalue"], dtype=float)
    assert np.trapezoid(field.values[0], grid) == pytest.approx(1, rel=0.05)
    assert set(traces.layers) == {n for n, _ in trained.model.named_parameters()}
    assert (errors.values[1] >= 0).all()


def test_traces_of_tensors_are_those_of_the_blocks() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 5))
    batch = torch.randn(32, 6), torch.randint(5, (32,))
    operator = hessian(model, batch, loss_fn=loss_fn)
    dense = operator @ torch.eye(operator.shape[0])
    truth = [
        float(dense.diagonal()[one].sum()) for one in operator.space.slices.values()
    ]
    found, errors = tensor_traces(operator, 64)
    off = (found - torch.tensor(truth)).abs() / errors
    assert (off < 4).all()
    assert (errors < 0.5 * found.abs().max()).all()


def test_the_spectrum_waits_until_it_can_be_afforded() -> None:
    spectra = Spectra(1.0, every=1, field=lambda one: None, put=lambda one: None)
    rates = {"product_seconds": 0.1, "step_seconds": 0.2}
    due = [step for step in range(0, 4000, 100) if spectra.due(step, **rates)]
    assert due[0] == PRODUCTS * 0.1 / (0.01 * 0.2)


def test_rows_are_copies_of_the_batch() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    held = Held({"x": x, "label": "kept"})
    part = held.part(0, 2)
    x.zero_()
    assert part["x"].tolist() == [[0, 1], [2, 3]]
    assert part["label"] == "kept"
    held.keep(1)
    assert held.rows == 1
    assert held.part()["x"].tolist() == [[0, 1]]


def test_a_model_that_was_copied_is_left_alone(tmp_path: Any) -> None:
    trained = Trained(tmp_path)
    twin = copy.deepcopy(trained.model)
    assert loss_fn(twin, images()).isfinite()
