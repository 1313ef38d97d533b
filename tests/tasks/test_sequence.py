"""Teacher forcing, own inputs and what lies between; how much it matters."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from conventions import keeps_conventions
from surefoot.schedules import InverseSigmoid, Vary, after_step
from surefoot.tasks.sequence import (
    SequenceError,
    TeacherForcing,
    exposure_bias,
    forcing_mask,
    forcing_variance,
    mixed_inputs,
    unroll,
)


class Speller(nn.Module):
    """A small model of tokens, one step at a time."""

    def __init__(self, tokens: int = 5, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width)
        self.cell = nn.GRUCell(width, width)
        self.read = nn.Linear(width, tokens)

    def forward(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        state = self.cell(self.embed(tokens), state)
        return self.read(state), state


def greedy(logits: Tensor) -> Tensor:
    return logits.argmax(-1)


def speller() -> tuple[Speller, Tensor]:
    torch.manual_seed(0)
    return Speller(), torch.randint(0, 5, (6, 9))


def forced_by_hand(model: Speller, tokens: Tensor) -> Tensor:
    state, outputs = None, []
    for place in range(tokens.shape[1]):
        logits, state = model(tokens[:, place], state)
        outputs.append(logits)
    return torch.stack(outputs, dim=1)


def nll(logits: Tensor, tokens: Tensor) -> Tensor:
    return nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1)
    )


# --- the ends are exact ----------------------------------------------------------


@pytest.mark.parametrize("per", ["token", "sequence"])
def test_an_epsilon_of_1_is_plain_teacher_forcing_bit_for_bit(per: Any) -> None:
    model, tokens = speller()
    mask = TeacherForcing(1.0, per=per).mask(*tokens.shape)
    found = unroll(model, tokens, forced=mask, own=greedy)
    expected = forced_by_hand(model, tokens)
    assert torch.equal(found, expected)
    slopes = [
        torch.autograd.grad(nll(one, tokens), list(model.parameters()))
        for one in (found, expected)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


@pytest.mark.parametrize("per", ["token", "sequence"])
def test_an_epsilon_of_0_feeds_only_own_outputs(per: Any) -> None:
    model, tokens = speller()
    fed: list[Tensor] = []

    def watched(inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        fed.append(inputs)
        return model(inputs, state)

    mask = TeacherForcing(0.0, per=per).mask(*tokens.shape)
    outputs = unroll(watched, tokens, forced=mask, own=greedy)
    assert torch.equal(fed[0], tokens[:, 0])
    for place in range(1, tokens.shape[1]):
        assert torch.equal(fed[place], outputs[:, place - 1].argmax(-1))
    others = tokens.clone()
    others[:, 1:] = 0
    again = unroll(model, others, forced=mask, own=greedy)
    assert torch.equal(again, outputs)


def test_the_module_mixes_whole_sequences_exactly_at_both_ends() -> None:
    truth, own = torch.randn(4, 5, 3), torch.randn(4, 5, 3)
    assert torch.equal(TeacherForcing(1.0)(truth, own), truth)
    assert torch.equal(TeacherForcing(0.0)(truth, own), own)
    assert torch.equal(TeacherForcing(1.0).eval()(truth, own), own)


# --- what lies between -----------------------------------------------------------


@pytest.mark.parametrize("per", ["token", "sequence"])
@pytest.mark.parametrize("epsilon", [0.02, 0.3, 0.77])
def test_the_drawn_fraction_is_within_three_sigma_of_a_binomial(
    epsilon: float, per: Any
) -> None:
    stream = torch.Generator().manual_seed(0)
    mask = forcing_mask((20_000, 5), epsilon, per=per, generator=stream)
    draws = mask if per == "token" else mask[:, 0]
    sigma = math.sqrt(epsilon * (1 - epsilon) / draws.numel())
    assert abs(float(draws.float().mean()) - epsilon) < 3 * sigma
    assert (mask == mask[:, :1]).all() == (per == "sequence")


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 0.9])
def test_the_sampled_fraction_of_the_module_is_within_three_sigma(
    epsilon: float,
) -> None:
    torch.manual_seed(1)
    mixer = TeacherForcing(epsilon)
    taken = mixer(torch.ones(500, 80), torch.zeros(500, 80)).mean()
    assert abs(float(taken) - epsilon) < 3 * math.sqrt(epsilon * (1 - epsilon) / 40_000)


@given(
    sequences=st.integers(1, 4),
    steps=st.integers(1, 5),
    features=st.lists(st.integers(1, 3), max_size=2),
    seed=st.integers(0, 99),
)
def test_each_place_is_wholly_true_or_wholly_own(
    sequences: int, steps: int, features: list[int], seed: int
) -> None:
    stream = torch.Generator().manual_seed(seed)
    truth = torch.ones(sequences, steps, *features)
    mask = forcing_mask((sequences, steps), 0.5, generator=stream)
    mixed = mixed_inputs(truth, -truth, mask).reshape(sequences, steps, -1)
    assert torch.equal(mixed > 0, mask.unsqueeze(-1).expand_as(mixed))


def test_a_schedule_drives_epsilon_and_the_module_follows() -> None:
    mixer = TeacherForcing()
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    share = InverseSigmoid(2.0)
    after_step(optimizer, Vary(mixer, "epsilon", schedule=share))
    truth, own = torch.ones(100, 100), torch.zeros(100, 100)
    for step in range(5):
        assert float(mixer.epsilon) == pytest.approx(share(step))
        assert float(mixer(truth, own).mean()) == pytest.approx(share(step), abs=0.02)
        optimizer.step()


def test_gradients_flow_through_own_outputs_and_true_inputs() -> None:
    cell = nn.Linear(2, 2).double()
    truth = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    mask = forcing_mask((2, 4), 0.5, generator=torch.Generator().manual_seed(0))
    assert mask.any()
    assert not mask.all()

    def run(truth: Tensor, weight: Tensor) -> Tensor:
        def step(inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
            return torch.tanh(inputs @ weight), state

        return unroll(step, truth, forced=mask)

    assert torch.autograd.gradcheck(run, (truth, cell.weight))


@pytest.mark.parametrize("per", ["token", "sequence"])
def test_it_keeps_torchs_conventions(per: Any) -> None:
    truth, own = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    keeps_conventions(lambda: TeacherForcing(0.5, per=per), truth, own)
    keeps_conventions(lambda: TeacherForcing(0.5).eval(), truth, own, exported=True)
    assert repr(TeacherForcing(0.25)) == "TeacherForcing(epsilon=0.25, per='token')"
    assert TeacherForcing(0.5, dtype=torch.float64).epsilon.dtype == torch.float64


def test_compiled_code_follows_epsilon_without_compiling_again() -> None:
    compiled: list[int] = []

    def counting(graph: torch.fx.GraphModule, _: Any) -> Any:
        compiled.append(1)
        return graph.forward

    torch._dynamo.reset()
    mixer = TeacherForcing(1.0)
    fast = torch.compile(mixer, fullgraph=True, backend=counting)
    truth, own = torch.ones(3, 4), torch.zeros(3, 4)
    assert fast(truth, own).sum() == 12
    mixer.epsilon.fill_(0.0)
    assert fast(truth, own).sum() == 0
    assert len(compiled) == 1


def test_it_works_under_vmap() -> None:
    truth, own = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    mixer = TeacherForcing(1.0)
    found = torch.vmap(mixer, randomness="different")(truth, own)
    assert torch.equal(found, truth)


# --- how much it matters ---------------------------------------------------------


def test_exposure_bias_is_the_loss_of_free_runs_minus_that_of_forced_ones() -> None:
    model, tokens = speller()
    found = exposure_bias(model, tokens, loss=lambda out: nll(out, tokens), own=greedy)
    forced = nll(forced_by_hand(model, tokens), tokens)
    free = nll(
        unroll(model, tokens, forced=torch.zeros(6, 9, dtype=torch.bool), own=greedy),
        tokens,
    )
    assert found.forced == pytest.approx(float(forced.detach()))
    assert found.free == pytest.approx(float(free.detach()))
    assert found.gap == found.free - found.forced
    assert all(w.grad is None for w in model.parameters())


def test_a_linear_map_that_is_off_by_d_errs_as_its_powers_do() -> None:
    """x ← a·x, learned as a + d: free runs err by (a + d)^t - a^t, forced ones by d."""
    a, d, steps = 0.9, 0.05, 12
    truth = a ** torch.arange(steps, dtype=torch.float64).reshape(1, -1)
    target = a ** torch.arange(1, steps + 1, dtype=torch.float64).reshape(1, -1)
    found = exposure_bias(
        lambda x, state: ((a + d) * x, state),
        truth,
        loss=lambda out: (out - target).square().mean(),
    )
    powers = torch.arange(1, steps + 1, dtype=torch.float64)
    assert found.forced == pytest.approx(float((d * truth).square().mean()))
    errors = (a + d) ** powers - a**powers
    assert found.free == pytest.approx(float(errors.square().mean()))
    assert found.gap > 0


def test_the_gradient_is_noisiest_between_the_ends_and_exact_at_them() -> None:
    model, tokens = speller()

    def loss(epsilon: float) -> Tensor:
        mask = forcing_mask(tokens.shape, epsilon)
        return nll(unroll(model, tokens, forced=mask, own=greedy), tokens)

    torch.manual_seed(0)
    found = forcing_variance(
        loss, model.parameters(), epsilons=(0.0, 0.5, 1.0), draws=12
    )
    assert found[0.0] == found[1.0] == 0.0
    assert found[0.5] > 1e-4


def test_the_variance_is_that_of_a_binomial() -> None:
    """A gradient that is the mask itself: n·ε(1 - ε) in all."""
    weight = torch.ones(2_000, requires_grad=True)
    torch.manual_seed(0)
    found = forcing_variance(
        lambda e: (weight * forcing_mask((2_000,), e)).sum(),
        [weight],
        epsilons=(0.1, 0.5),
        draws=20,
    )
    for epsilon, variance in found.items():
        assert variance == pytest.approx(2_000 * epsilon * (1 - epsilon), rel=0.05)


# --- what is refused -------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, math.nan])
def test_a_share_outside_of_0_and_1_is_refused(epsilon: float) -> None:
    with pytest.raises(SequenceError, match="from 0 to 1"):
        TeacherForcing(epsilon)


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda: TeacherForcing(per="word"), "'token' or 'sequence'"),
        (lambda: forcing_mask((2, 2), 0.5, per="word"), "'token' or"),
        (lambda: forcing_mask((), 0.5), "a dimension at least"),
        (lambda: TeacherForcing()(torch.ones(3), torch.ones(3)), "first two"),
        (lambda: TeacherForcing()(torch.ones(3, 2), torch.ones(2, 3)), "one shape"),
        (lambda: TeacherForcing()(torch.ones(2, 2), torch.ones(2, 2).int()), "dtype"),
        (lambda: mixed_inputs(torch.ones(2), torch.ones(2), torch.ones(2)), "booleans"),
        (
            lambda: mixed_inputs(torch.ones(2), torch.ones(2), torch.ones(3).bool()),
            "first dimensions",
        ),
        (lambda: unroll(lambda x, s: (x, s), torch.ones(3, 0)), "one step or more"),
        (
            lambda: unroll(
                lambda x, s: (x, s), torch.ones(3, 4), forced=torch.ones(4, 3).bool()
            ),
            r"expected \(3, 4\)",
        ),
        (
            lambda: exposure_bias(
                lambda x, s: (x, s), torch.ones(3, 4), loss=lambda out: out
            ),
            "one number",
        ),
        (
            lambda: forcing_variance(lambda e: torch.ones(()), [], epsilons=[2.0]),
            "0 to",
        ),
        (
            lambda: forcing_variance(
                lambda e: torch.ones(()), [], epsilons=[0.5], draws=1
            ),
            "two or more",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(work: Any, told: str) -> None:
    with pytest.raises(SequenceError, match=told):
        work()
