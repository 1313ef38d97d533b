"""The wiring of a loss, read from its graph, also after backward has freed it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from surefoot.probes.wiring import wiring

X, Y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


LOSSES: dict[tuple[str, ...], Callable[[torch.Tensor], torch.Tensor]] = {
    ("NllLoss", "LogSoftmax", "Addmm"): lambda o: F.cross_entropy(o, Y),
    ("NllLoss", "LogSoftmax", "Softmax", "Addmm"): lambda o: F.cross_entropy(
        o.softmax(-1).view(5, 3), Y
    ),
    ("NllLoss", "Log", "Softmax", "Addmm"): lambda o: F.nll_loss(
        o.softmax(-1).log(), Y
    ),
    ("NllLoss", "LogSoftmax", "Relu", "Addmm"): lambda o: F.cross_entropy(o.relu(), Y),
    ("BinaryCrossEntropyWithLogits", "Sigmoid", "Addmm"): lambda o: (
        F.binary_cross_entropy_with_logits(o.sigmoid(), torch.rand(5, 3))
    ),
}


@pytest.mark.parametrize("head", LOSSES)
def test_the_head_is_read_after_backward(head: tuple[str, ...]) -> None:
    model = net()
    loss = LOSSES[head](model(X))
    loss.backward()
    assert wiring(loss, dict(model.named_parameters())).heads == (head,)


def test_parameters_that_nobody_holds_are_found() -> None:
    model, hidden = net(), nn.Linear(3, 3)
    loss = F.cross_entropy(hidden(model(X)), Y)
    known = dict(model.named_parameters())
    assert wiring(loss, known).loose == ((3,), (3, 3))
    assert wiring(loss, known).after == ("2.bias",)
    optimizer = torch.optim.SGD(hidden.parameters(), lr=0.1)
    assert wiring(loss, known).loose == (), "held by another optimizer"
    del optimizer


def test_an_input_that_asks_for_a_gradient_is_no_parameter() -> None:
    model = net()
    loss = F.cross_entropy(model(X.clone().requires_grad_()), Y)
    assert wiring(loss, dict(model.named_parameters())).loose == ()


def test_a_cut_graph_leaves_parameters_unreached() -> None:
    model = net()
    loss = F.cross_entropy(model[2](model[1](model[0](X)).detach()), Y)
    found = wiring(loss, dict(model.named_parameters()))
    assert found.unreached == ("0.weight", "0.bias")


def test_what_checkpointing_hides_is_not_called_unreached() -> None:
    model = net()
    hidden = checkpoint(model[:2], X.clone().requires_grad_(), use_reentrant=True)
    found = wiring(F.cross_entropy(model[2](hidden), Y), dict(model.named_parameters()))
    assert found.unreached == ()
    assert not found.whole


def test_a_loss_without_a_graph_reaches_nothing() -> None:
    model = net()
    assert wiring(torch.tensor(1.0), dict(model.named_parameters())).heads == ()
