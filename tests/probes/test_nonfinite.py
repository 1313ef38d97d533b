"""Where a NaN was born: module, operation, line and direction, in nine ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import surefoot
from surefoot.attach import Attachment
from surefoot.record.reader import RecordReader
from surefoot.watching import open_run

BROKEN_STEP = 12


class Log(nn.Module):
    def forward(self, x):
        return torch.log(x.abs())


class Divide(nn.Module):
    def forward(self, x):
        return x / x.norm(dim=1, keepdim=True)


class Overflow(nn.Module):
    def forward(self, x):
        return torch.exp(x) / torch.exp(x).sum(1, keepdim=True)


class Root(nn.Module):
    """Finite forward, infinite slope at zero."""

    def forward(self, x):
        return torch.sqrt(x.abs())


class Masked(nn.Module):
    """A mask of infinities by hand: harmless, unless a row is masked as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.whole_row = False

    def forward(self, x):
        mask = torch.zeros_like(x, dtype=torch.bool)
        mask[:, :2] = True
        if self.whole_row:
            mask[0] = True
        return functional.softmax(x.masked_fill(mask, float("-inf")), dim=1)


class Net(nn.Module):
    def __init__(self, fragile: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.norm = nn.BatchNorm1d(5)
        self.drop = nn.Dropout(0.2)
        self.fragile = fragile
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.fragile(self.norm(self.drop(self.first(x)))))


def train(
    model: nn.Module, breaks: Any, *, steps: int = 20, loss_of: Any = None
) -> None:
    """Train; `breaks(step, model, x)` gives the input of a step, broken or not."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 6, generator=generator)
        out = model(breaks(step, model, x))
        y = torch.arange(8) % 3
        loss = (loss_of or functional.cross_entropy)(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def origins(model: nn.Module, breaks: Any, folder: Any, **options: Any) -> list[Any]:
    attachment = Attachment(lambda: open_run(folder, "run", {}), lambda *_: None)
    try:
        train(model, breaks, **options)
    finally:
        attachment.detach()
    run = attachment.run
    assert run is not None
    assert not any(recorder.shield.off for recorder in run.streams.values())
    run.close()
    with RecordReader(run.path) as reader:
        return reader.events("nonfinite")


def zero_features(step: int, model: Any, x: torch.Tensor) -> torch.Tensor:
    """From the broken step on, batch norm puts out zeros."""
    if step == BROKEN_STEP:
        with torch.no_grad():
            model.norm.weight.zero_()
            model.norm.bias.zero_()
    return x


def big_features(step: int, model: Any, x: torch.Tensor) -> torch.Tensor:
    if step == BROKEN_STEP:
        with torch.no_grad():
            model.norm.weight.fill_(1e3)
    return x


def whole_row(step: int, model: Any, x: torch.Tensor) -> torch.Tensor:
    model.fragile.whole_row = step == BROKEN_STEP
    return x


@pytest.mark.parametrize(
    ("fragile", "breaks", "operation", "direction"),
    [
        (Log(), zero_features, "log", "forward"),
        (Divide(), zero_features, "Tensor.div", "forward"),
        (Overflow(), big_features, "exp", "forward"),
        (Root(), zero_features, "sqrt", "backward"),
        (Masked(), whole_row, "nn.functional.softmax", "forward"),
    ],
    ids=["log", "divide", "overflow", "root", "masked"],
)
def test_module_operation_line_and_step(
    fragile: nn.Module, breaks: Any, operation: str, direction: str, tmp_path: Any
) -> None:
    found = origins(Net(fragile), breaks, tmp_path)
    assert found[0].step == BROKEN_STEP
    body = found[0].body
    assert (body["module"], body["operation"], body["direction"]) == (
        "fragile",
        operation,
        direction,
    )
    source = Path(__file__).read_text().splitlines()
    name, _, line = body["line"].partition(":")
    assert name == "test_nonfinite.py"
    assert (
        operation.rpartition(".")[2] in source[int(line) - 1]
        or "/" in source[int(line) - 1]
    )
    assert body["certain"]


def test_a_healthy_mask_is_no_origin(tmp_path: Any) -> None:
    assert origins(Net(Masked()), lambda step, model, x: x, tmp_path) == []


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_bad_data_is_named_as_data(number: str, tmp_path: Any) -> None:
    def breaks(step: int, model: Any, x: torch.Tensor) -> torch.Tensor:
        return x * float(number) if step == BROKEN_STEP else x

    found = origins(Net(nn.ReLU()), breaks, tmp_path)
    assert (found[0].step, found[0].body["module"]) == (BROKEN_STEP, "input")
    assert found[0].body["direction"] == "data"


def test_an_update_that_broke_the_weights(tmp_path: Any) -> None:
    def breaks(step: int, model: Any, x: torch.Tensor) -> torch.Tensor:
        if step == BROKEN_STEP:
            with torch.no_grad():
                model.last.weight[0, 0] = float("inf")
        return x

    body = origins(Net(nn.ReLU()), breaks, tmp_path)[0].body
    assert (body["module"], body["direction"]) == ("last", "update")


def test_a_loss_written_by_hand(tmp_path: Any) -> None:
    def loss_of(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        shares = out.softmax(1)
        return -torch.log(shares[torch.arange(8), y] - shares.max()).mean()

    found = origins(Net(nn.ReLU()), lambda step, model, x: x, tmp_path, loss_of=loss_of)
    assert found[0].step == 0
    assert (found[0].body["module"], found[0].body["operation"]) == ("loss", "log")
    assert found[0].body["line"].startswith("test_nonfinite.py:")


def test_a_model_whose_weights_are_its_own(tmp_path: Any) -> None:
    """No module inside it: a loss that overflows, then weights that are broken."""

    def too_large(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (out * 1e30).square().mean()

    model = nn.Linear(6, 3)
    found = origins(model, lambda step, model, x: x, tmp_path, loss_of=too_large)
    assert (found[0].step, found[0].body["module"]) == (0, "loss")

    def breaks(step: int, model: Any, x: torch.Tensor) -> torch.Tensor:
        if step == BROKEN_STEP:
            with torch.no_grad():
                model.weight[0, 0] = float("inf")
        return x

    body = origins(nn.Linear(6, 3), breaks, tmp_path)[0].body
    assert (body["module"], body["operation"]) == ("model", "update of weight")


def test_one_search_for_a_lasting_condition(tmp_path: Any) -> None:
    found = origins(Net(Log()), zero_features, tmp_path, steps=40)
    assert len(found) == 1


def test_the_search_changes_nothing(tmp_path: Any) -> None:
    """A run that skips its broken step goes on bit-identically."""

    def losses(watch: bool) -> list[bytes]:
        torch.manual_seed(1)
        model = Net(Log())
        with torch.no_grad():
            model.norm.bias.fill_(5.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        run = surefoot.watch(model, optimizer, folder=tmp_path) if watch else None
        found: list[bytes] = []
        for step in range(20):
            x = torch.randn(8, 6) * (1e9 if step == BROKEN_STEP else 1.0)
            loss = functional.cross_entropy(model(x), torch.arange(8) % 3)
            optimizer.zero_grad()
            loss.backward()
            if step == BROKEN_STEP:
                model.norm.reset_running_stats()
                for weight in model.parameters():
                    weight.grad = torch.full_like(weight, float("nan"))
                hook = optimizer.register_step_post_hook(lambda *_: None)
                before = {n: p.detach().clone() for n, p in model.named_parameters()}
                optimizer.step()
                hook.remove()
                with torch.no_grad():
                    for name, weight in model.named_parameters():
                        weight.copy_(before[name])
            else:
                optimizer.step()
            if run is not None:
                run.step(loss)
            found += [v.numpy().tobytes() for v in model.state_dict().values()]
            found.append(torch.get_rng_state().numpy().tobytes())
        if run is not None:
            run.close()
            with RecordReader(run.path) as reader:
                assert len(reader.events("nonfinite")) == 1
        return found

    assert losses(watch=True) == losses(watch=False)
