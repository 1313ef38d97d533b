"""What steering goes by: angle and noise ratio, from all weights or a sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from surefoot.autopilot import gauges
from surefoot.autopilot.gauges import Gauges, cosine_of, noise_of, sampled
from surefoot.autopilot.piling import UPDATES, Piling
from surefoot.probes.shield import Shield


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([one.detach().reshape(-1) for one in tensors])


def looked(optimizer: torch.optim.Optimizer, model: nn.Module) -> tuple[Tensor, Tensor]:
    """The look at an update, and the exact cosine of gradient and update."""
    instruments = Gauges(optimizer)
    x = torch.ones(4, model[0].in_features)  # type: ignore[index]
    model(x).square().mean().backward()
    with torch.no_grad():
        instruments.arm(0)
    before = flat(list(model.parameters()))
    optimizer.step()
    optimizer.zero_grad()
    (model(x) - 1).square().mean().backward()
    with torch.no_grad():
        sums = instruments.look()
    moved = before - flat(list(model.parameters()))
    grads = flat([w.grad for w in model.parameters() if w.grad is not None])
    assert sums is not None
    return sums, torch.nn.functional.cosine_similarity(moved, grads, dim=0)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("width", [32, 512])
def test_the_angle_is_that_of_all_weights(kind: str, width: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))
    weights = list(model.parameters())
    made = {
        "sgd": torch.optim.SGD(weights, lr=0.05, momentum=0.9),
        "adam": torch.optim.Adam(weights, lr=1e-3),
    }[kind]
    sums, exact = looked(made, model)
    found, noise = cosine_of(sums.tolist()), noise_of(sums.tolist())
    assert found == pytest.approx(exact.item(), abs=1e-3 if width == 32 else 0.05)
    assert (noise is None) == (kind == "sgd")
    # After one update of Adam every number moved by the rate: no noise, all ones.
    assert noise is None or noise == pytest.approx(1 / 0.2294, rel=0.02)


@pytest.mark.parametrize("phase", range(gauges.PHASES))
def test_a_sample_is_the_same_places_of_whatever_lies_there(phase: int) -> None:
    shapes = [(700, 300), (5,), (300, 64, 3, 3), (17,)]
    ones = [torch.arange(math.prod(s)).reshape(s).double() for s in shapes]
    ones[2] = ones[2].to(memory_format=torch.channels_last)
    other = [one.contiguous() for one in ones]
    assert torch.equal(sampled(ones, phase), sampled(other, phase))
    # Every fifth piece: the first two phases begin at the same one.
    assert (phase < 2) == torch.equal(sampled(ones), sampled(ones, phase))
    sizes = tuple(one.numel() for one in ones)
    shares = gauges.shares_of(sizes, phase, torch.device("cpu"))
    assert len(shares) == len(sampled(ones, phase)) < 1.3 * gauges.SAMPLE
    assert shares.sum().item() == pytest.approx(sum(sizes), rel=1e-4)


def test_what_is_not_finite_is_no_angle() -> None:
    assert cosine_of((math.nan, 1.0, 1.0, 0.0, 0.0)) is None
    assert cosine_of((1.0, math.inf, 1.0, 0.0, 0.0)) is None
    assert noise_of((1.0, 1.0, 1.0, math.nan, 3.0)) is None


# --- gradients that nobody clears ---


def pile_of(clear: str, steps: int = 6, micro: int = 1) -> list[float]:
    """What is seen before each update of a loop that clears gradients in some way."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    piling, found = Piling(sgd, Shield(lambda name, error: None)), list[float]()
    for step in range(steps):
        for _ in range(micro):
            loss = model(torch.randn(4, 3)).square().mean()
            if clear == "before backward" and micro == 1:
                sgd.zero_grad()
            loss.backward()
        found.append(float(piling.seen()))
        sgd.step()
        piling.arm(step + 1)
        if clear == "to zero":
            sgd.zero_grad(set_to_none=False)
        elif clear == "after":
            sgd.zero_grad()
    piling.close()
    return found


@pytest.mark.parametrize("clear", ["before backward", "after", "to zero"])
def test_a_loop_that_clears_its_gradients_is_not_accused(clear: str) -> None:
    assert pile_of(clear) == [0.0] * 6


@pytest.mark.parametrize("clear", ["after", "to zero"])
def test_accumulation_on_purpose_is_not_accused(clear: str) -> None:
    assert pile_of(clear, micro=3) == [0.0] * 6


@pytest.mark.parametrize("to_none", [True, False])
def test_a_critic_that_is_cleared_at_its_own_turn_is_not_accused(
    to_none: bool,
) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    piling, found = Piling(sgd, Shield(lambda name, error: None)), list[float]()
    for step in range(5):
        model(torch.randn(4, 3)).sum().backward()  # the loss of another model
        sgd.zero_grad(set_to_none=to_none)
        model(torch.randn(4, 3)).square().mean().backward()
        found.append(float(piling.seen()))
        sgd.step()
        piling.arm(step + 1)
    piling.close()
    assert found == [0.0] * 5


def test_a_loop_that_never_clears_them_is() -> None:
    assert pile_of("never") == [0.0] + [1.0] * 5
    assert pile_of("never", micro=2) == [0.0] + [1.0] * 5
    assert sum(pile_of("never", steps=UPDATES + 10)) == UPDATES - 1
