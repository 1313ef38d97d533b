"""The next update of an optimizer, made and undone; weights that are moved and back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from curvature import nets
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.moves import moving, norm_of
from surefoot.curvature.space import space
from surefoot.curvature.updates import next_update


@pytest.mark.parametrize(
    "maker",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda p: torch.optim.AdamW(p, lr=0.01),
        lambda p: torch.optim.RMSprop(p, lr=0.01),
    ],
)
def test_it_is_the_update_that_comes(maker) -> None:
    case = nets.made(nets.batch_norm)
    optimizer = maker(case.model.parameters())
    for _ in range(3):
        told = next_update(
            case.model, case.batch, loss_fn=case.loss_fn, optimizer=optimizer
        )
        before = [one.detach().clone() for one in case.model.parameters()]
        optimizer.zero_grad()
        case.loss_fn(case.model, case.batch).backward()
        optimizer.step()
        came = [
            (new.detach() - old).flatten()
            for new, old in zip(case.model.parameters(), before, strict=True)
        ]
        assert torch.equal(told, torch.cat(came))


def test_it_leaves_no_trace() -> None:
    case = nets.made(nets.batch_norm)
    optimizer = torch.optim.Adam(case.model.parameters())
    case.loss_fn(case.model, case.batch).backward()
    optimizer.step()
    before = copy.deepcopy((case.model.state_dict(), optimizer.state_dict()))
    slopes = [one.grad.clone() for one in case.model.parameters()]
    random = torch.get_rng_state()
    next_update(case.model, case.batch, loss_fn=case.loss_fn, optimizer=optimizer)
    after = case.model.state_dict(), optimizer.state_dict()
    for old, new in zip(before, after, strict=True):
        assert str(old) == str(new)
    for one, slope in zip(case.model.parameters(), slopes, strict=True):
        assert torch.equal(one.grad, slope)
    assert torch.equal(torch.get_rng_state(), random)


def test_nothing_that_watches_the_training_sees_it() -> None:
    case = nets.made(nets.logistic)
    optimizer = torch.optim.SGD(case.model.parameters(), lr=0.1)
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    update = next_update(
        case.model, case.batch, loss_fn=case.loss_fn, optimizer=optimizer
    )
    assert update.norm() > 0
    assert seen == []


def test_an_optimizer_that_computes_the_loss_itself_is_refused() -> None:
    case = nets.made(nets.logistic)
    with pytest.raises(CurvatureError, match="LBFGS computes the loss itself"):
        next_update(
            case.model,
            case.batch,
            loss_fn=case.loss_fn,
            optimizer=torch.optim.LBFGS(case.model.parameters()),
        )


def test_an_update_that_is_not_finite_is_refused() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=float("inf"))
    before = model.weight.detach().clone()
    with pytest.raises(CurvatureError, match="update is not finite"):
        next_update(
            model,
            torch.ones(3, 2),
            loss_fn=lambda m, x: m(x).square().mean(),
            optimizer=optimizer,
        )
    assert torch.equal(model.weight, before)


def test_moves_begin_at_the_same_weights_and_end_there() -> None:
    case = nets.made(nets.embedding_tied)
    over = space(case.model)
    kept = [one.detach().clone() for one in over.tensors]
    along = over.split(torch.randn(over.size, dtype=torch.float64))

    def interrupted() -> None:
        with moving(over) as moves:
            for step in (1.0, 1e6, 1 / 3):
                moves.to(along, step)
                for one, old, way in zip(over.tensors, kept, along, strict=True):
                    assert torch.allclose(one, old + step * way, rtol=1e-15)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(torch.equal(a, b) for a, b in zip(over.tensors, kept, strict=True))


def test_the_norm_of_all_weights() -> None:
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.bias.fill_(-4.0)
    assert norm_of(space(model)) == 5.0
