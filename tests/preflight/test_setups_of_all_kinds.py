"""Models, optimizers and batches of many kinds can be checked, and stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

import surefoot
from preflight_setups import Setup, clusters, cross_entropy, mlp


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.first, self.rest, self.reentrant = nn.Linear(16, 32), mlp(), reentrant
        self.back = nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.back(F.relu(self.first(x)))
        return checkpoint(self.rest, hidden, use_reentrant=self.reentrant)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.head = nn.Linear(16, 20, bias=False)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.head.weight = self.embed.weight

    def forward(self, codes: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.embed(codes))}


def codes() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.arange(64).reshape(8, 8) % 20
    return x, (x + 1) % 20


def of_codes(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0])["logits"].flatten(0, 1), batch[1].flatten())


def in_place() -> Setup:
    layers = [nn.Linear(16, 32), nn.ReLU(inplace=True), nn.Linear(32, 5)]
    return Setup(nn.Sequential(*layers), clusters())


def sparse() -> Setup:
    embed = nn.Embedding(20, 16, sparse=True)
    model = nn.Sequential(embed, nn.Linear(16, 20))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        return F.cross_entropy(net(batch[0]).flatten(0, 1), batch[1].flatten())

    return Setup(model, codes(), loss, optimizer)


def named_batch() -> Setup:
    x, y = clusters()

    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        return F.cross_entropy(net(batch["x"]), batch["y"])

    return Setup(mlp(), {"x": x, "y": y, "name": "first"}, loss)


def second_order() -> Setup:
    model = mlp()
    return Setup(model, clusters(), optimizer=torch.optim.LBFGS(model.parameters()))


def several_groups() -> Setup:
    model = mlp()
    groups = [
        {"params": [w for w in model.parameters() if w.dim() > 1], "lr": 1e-3},
        {"params": [w for w in model.parameters() if w.dim() < 2], "lr": 1e-2},
    ]
    return Setup(model, clusters(), optimizer=torch.optim.AdamW(groups))


def normed_weights() -> Setup:
    model = mlp()
    nn.utils.parametrizations.weight_norm(model[0])
    return Setup(model, clusters())


def two_optimizers() -> Setup:
    model = mlp()
    kept = torch.optim.SGD(model[2].parameters(), lr=0.1)
    others = [*model[0].parameters(), *model[4].parameters()]
    setup = Setup(model, clusters(), optimizer=torch.optim.SGD(others, lr=0.1))
    model.other = kept  # keeps it alive
    return setup


def recurrent() -> Setup:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = nn.LSTM(4, 32, batch_first=True)
            self.head = nn.Linear(32, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.core(x.view(-1, 4, 4))[0][:, -1])

    model = Rows()
    return Setup(
        model, clusters(), optimizer=torch.optim.Adam(model.parameters(), 1e-2)
    )


KINDS: tuple[Callable[[], Setup], ...] = (
    in_place, sparse, named_batch, second_order, several_groups, normed_weights,
    two_optimizers, recurrent,
    lambda: Setup(Checkpointed(reentrant=False), clusters()),
    lambda: Setup(Checkpointed(reentrant=True), clusters()),
    lambda: Setup(Tied(), codes(), of_codes),
)  # fmt: skip


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_it_is_sound_and_stays_as_it_is(make: Callable[[], Setup]) -> None:
    setup = make()
    before = {k: v.clone() for k, v in setup.model.state_dict().items()}
    report = setup.report()
    assert report.ok, str(report)
    after = setup.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(weight.grad is None for weight in setup.model.parameters())


def test_a_network_of_float64_on_a_batch_of_one_row_is_fine() -> None:
    model = mlp().double()
    batch = tuple(t.double() if t.is_floating_point() else t for t in clusters(1))
    assert surefoot.check(model, batch, loss_fn=cross_entropy).ok
