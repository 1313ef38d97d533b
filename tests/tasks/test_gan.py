"""Games between two networks: losses, turns, penalties, attacks, stability."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from surefoot.schedules import Constant, Linear, ScheduledLR, Then, after_step
from surefoot.tasks import gan
from surefoot.tasks.gan import GameError


def linear(*slopes: float) -> nn.Linear:
    """A critic with these slopes."""
    made = nn.Linear(len(slopes), 1).double()
    with torch.no_grad():
        made.weight.copy_(torch.tensor([slopes]))
    return made


def normal(*shape: int, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=stream, dtype=torch.float64)


# --- Wasserstein ----------------------------------------------------------------


@pytest.mark.parametrize("mean", [-2.0, 0.5, 3.0])
def test_a_critic_of_slope_1_estimates_the_distance_of_two_normals(mean: float) -> None:
    """W₁ of N(0, 1) and N(m, 1) is |m|; of two samples, that of sorted values."""
    real = normal(2_000, 1)
    fake = real + mean
    critic = linear(0.3)
    sgd = torch.optim.SGD(critic.parameters(), lr=0.5)
    after_step(sgd, gan.ClipWeights(critic, limit=1.0))
    for _ in range(20):
        sgd.zero_grad()
        loss = gan.wasserstein_critic_loss(critic(real), critic(fake))
        loss.backward()
        sgd.step()
    distance = -gan.wasserstein_critic_loss(critic(real), critic(fake)).item()
    assert distance == pytest.approx(abs(mean), abs=1e-9)
    by_sorting = (real.sort(0).values - fake.sort(0).values).abs().mean().item()
    assert distance == pytest.approx(by_sorting, abs=1e-9)


def test_the_generator_s_loss_raises_the_score_of_what_it_makes() -> None:
    scores = torch.zeros(4, requires_grad=True)
    gan.wasserstein_generator_loss(scores).backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [-0.25] * 4


def test_clipping_sets_all_weights_into_the_limit_and_only_those_beyond() -> None:
    weight = torch.tensor([-0.5, -0.005, 0.0, 0.01, 0.02])
    gan.clip_weights_([weight])
    torch.testing.assert_close(weight, torch.tensor([-0.01, -0.005, 0, 0.01, 0.01]))


def test_the_limit_holds_from_the_start_and_follows_a_schedule() -> None:
    critic = linear(3.0)
    sgd = torch.optim.SGD(critic.parameters(), lr=0.0)
    handle = after_step(sgd, gan.ClipWeights(critic, limit=Linear(1.0, 0.5, steps=2)))
    assert critic.weight.item() == 1.0
    critic.weight.grad = torch.zeros_like(critic.weight)
    for _ in range(2):
        sgd.step()
    assert critic.weight.item() == 0.5
    assert [event.body["limit"] for event in handle.log] == [0.75, 0.5]


def test_a_fixed_limit_writes_no_log_line() -> None:
    critic = linear(3.0)
    sgd = torch.optim.SGD(critic.parameters(), lr=0.0)
    handle = after_step(sgd, gan.ClipWeights(critic))
    critic.weight.grad = torch.zeros_like(critic.weight)
    sgd.step()
    assert (handle.step, len(handle.log)) == (1, 0)
    assert critic.weight.abs().max().item() == pytest.approx(0.01)


# --- turns and rates ------------------------------------------------------------


class Player:
    """A network that counts its updates."""

    def __init__(self, group: dict, kind: type = torch.optim.SGD) -> None:
        self.optimizer = kind([group])
        self.moves = 0
        self.optimizer.register_step_post_hook(self._moved)

    def _moved(self, *_: object) -> None:
        self.moves += 1


def test_five_updates_of_the_critic_come_before_each_of_the_generator() -> None:
    generator, critic = linear(1.0), linear(0.1)
    groups = gan.two_rates(generator, critic)
    players = {
        name: Player(group)
        for name, group in zip(("generator", "critic"), groups, strict=True)
    }
    order = list(gan.CriticSteps(5).order(steps=7))
    for name in order:
        net = {"generator": generator, "critic": critic}[name]
        net(torch.ones(1, 1).double()).sum().backward()
        players[name].optimizer.step()
    assert {name: one.moves for name, one in players.items()} == {
        "generator": 7,
        "critic": 35,
    }
    runs = [(who, len(list(group))) for who, group in itertools.groupby(order)]
    assert runs == [("critic", 5), ("generator", 1)] * 7


def test_a_warm_start_gives_the_critic_more_updates_at_first() -> None:
    turns = gan.CriticSteps(Then(Constant(100), Constant(5), at=25))
    assert [turns(step) for step in (0, 24, 25, 1_000)] == [100, 100, 5, 5]
    assert Counter(turns.order(steps=30)) == {"critic": 25 * 100 + 5 * 5,
                                              "generator": 30}  # fmt: skip


@given(start=st.integers(0, 40), count=st.integers(1, 9), warm=st.integers(1, 30))
def test_a_resumed_game_goes_on_where_it_stopped(
    start: int, count: int, warm: int
) -> None:
    turns = gan.CriticSteps(Then(Constant(warm), Constant(count), at=20))
    whole = list(turns.order(steps=45))
    first = list(turns.order(steps=start))
    assert whole == first + list(turns.order(steps=45 - start, start=start))


def test_rates_and_turns_are_two_settings_and_both_may_be_set() -> None:
    for count, rates in itertools.product((1, 5), ((1e-3, 1e-3), (1e-4, 4e-4))):
        nets = linear(1.0), linear(1.0)
        groups = gan.two_rates(*nets, generator_lr=rates[0], critic_lr=rates[1])
        optimizer = torch.optim.Adam(groups, betas=(0.0, 0.9))
        before = [net.weight.item() for net in nets]
        for name in gan.CriticSteps(count).order(steps=1):
            optimizer.zero_grad()
            nets[name == "critic"](torch.ones(1, 1).double()).sum().backward()
            optimizer.step()
        moved = [was - net.weight.item() for was, net in zip(before, nets, strict=True)]
        # The first steps of Adam along a constant gradient have the rate's length.
        assert moved == pytest.approx([rates[0], count * rates[1]], rel=1e-4)


def test_two_rates_keep_their_ratio_under_a_schedule() -> None:
    optimizer = torch.optim.SGD(gan.two_rates(linear(1.0), linear(1.0)))
    rates = ScheduledLR(optimizer, Linear(1.0, 0.0, steps=10))
    optimizer.step()
    rates.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
        [0.9e-4, 3.6e-4]
    )


# --- penalties ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slope", "penalty", "r1"), [(0, 10, 0), (1, 0, 5), (3, 40, 45)]
)
def test_penalties_of_a_linear_critic(slope: float, penalty: float, r1: float) -> None:
    critic = linear(float(slope))
    real, fake = normal(16, 1), normal(16, 1, seed=1)
    found = gan.gradient_penalty(critic, real, fake)
    assert found.item() == pytest.approx(penalty, abs=1e-12)
    assert gan.r1_penalty(critic, real).item() == pytest.approx(r1, abs=1e-12)
    assert gan.r2_penalty(critic, fake).item() == pytest.approx(r1, abs=1e-12)


def smooth() -> nn.Sequential:
    """A critic whose slope depends on the sample."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def test_the_gradient_of_a_penalty_is_right() -> None:
    critic, inputs = smooth(), normal(5, 3)
    names = [name for name, _ in critic.named_parameters()]

    def penalty(*weights: Tensor) -> Tensor:
        def score(x: Tensor) -> Tensor:
            named = dict(zip(names, weights, strict=True))
            return torch.func.functional_call(critic, named, (x,))

        stream = torch.Generator().manual_seed(0)
        wasserstein = gan.gradient_penalty(score, inputs, inputs + 1, generator=stream)
        return wasserstein + gan.r1_penalty(score, inputs)

    weights = [one.detach().clone().requires_grad_() for one in critic.parameters()]
    assert torch.autograd.gradcheck(penalty, weights)


def test_the_slope_of_each_sample_is_its_own_and_that_of_patches_is_summed() -> None:
    critic, inputs = smooth(), normal(6, 3)
    jacobian = torch.func.vmap(torch.func.jacrev(critic))(inputs).squeeze(1)
    torch.testing.assert_close(gan.input_gradient(critic, inputs), jacobian)
    torch.testing.assert_close(gan.input_slopes(critic, inputs), jacobian.norm(dim=1))
    patches = gan.input_gradient(lambda x: critic(x).expand(-1, 4), inputs)
    torch.testing.assert_close(patches, 4 * jacobian)


def test_a_critic_that_ignores_its_inputs_has_no_slope() -> None:
    bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    critic = lambda x: bias.expand(len(x))  # noqa: E731
    assert gan.input_gradient(critic, normal(3, 2)).eq(0).all()
    found = gan.gradient_penalty(critic, normal(3, 2), normal(3, 2))
    assert found.item() == pytest.approx(10)


def test_penalties_give_the_generator_nothing_and_no_nan_at_slope_0() -> None:
    critic, made = linear(0.0, 0.0), normal(4, 2).requires_grad_()
    loss = gan.gradient_penalty(critic, normal(4, 2), made)
    loss.backward()
    assert made.grad is None
    assert critic.weight.grad is not None
    assert critic.weight.grad.isfinite().all()


def test_the_points_between_lie_between_and_are_drawn_for_each_pair() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.sum((1, 2))

    real, fake = torch.zeros(64, 2, 3), torch.ones(64, 2, 3)
    gan.gradient_penalty(critic, real, fake)
    (points,) = seen
    assert ((points >= 0) & (points <= 1)).all()
    assert (points == points[:, :1, :1]).all()
    assert points[:, 0, 0].std() > 0.2


def test_penalties_of_half_precision_are_finite_under_autocast() -> None:
    critic = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1))
    real, fake = normal(8, 4).float(), normal(8, 4, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = gan.gradient_penalty(critic, real, fake) + gan.r1_penalty(critic, real)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(one.grad.isfinite().all() for one in critic[:1].parameters())


# --- attacks --------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "change"), [(2, 0.5), (math.inf, 0.7)])
@pytest.mark.parametrize("steps", [1, 40])
@pytest.mark.parametrize("random_start", [False, True])
def test_the_worst_case_of_a_linear_discriminator(
    norm: float, change: float, steps: int, random_start: bool
) -> None:
    """w = (3, 4), ε = 0.1: ε‖w‖₂ = 0.5 in ℓ2, ε‖w‖₁ = 0.7 in ℓ∞."""
    critic, real = linear(3.0, 4.0), normal(5, 2)
    torch.manual_seed(0)
    attack = gan.Attack(0.1, norm=norm, steps=steps, random_start=random_start)
    for raising, sign in ((True, 1), (False, -1)):
        moved = attack(critic, real, raising=raising)
        found = critic(moved) - critic(real)
        # One step from a random start ends nearer to the start than the worst case is.
        if steps > 1 or not random_start:
            expected = torch.full_like(found, sign * change)
            near = 1e-2 if random_start else 1e-9
            torch.testing.assert_close(found, expected, atol=near, rtol=0)
        assert (torch.linalg.vector_norm(moved - real, norm, 1) <= 0.1 + 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(
    epsilon=st.floats(0, 1),
    steps=st.integers(1, 5),
    norm=st.sampled_from([2, math.inf]),
    seed=st.integers(0, 1_000),
)
def test_an_attack_stays_in_its_ball_and_bounds_and_lowers_what_it_should(
    epsilon: float, steps: int, norm: float, seed: int
) -> None:
    critic, inputs = smooth(), normal(4, 3, seed=seed).clamp(-1, 1)
    attack = gan.Attack(epsilon, norm=norm, steps=steps, bounds=(-1, 1))
    moved = attack(critic, inputs, raising=False)
    far = torch.linalg.vector_norm(moved - inputs, norm, 1)
    assert (far <= epsilon + 1e-9).all()
    assert moved.abs().max() <= 1
    assert not moved.requires_grad
    assert all(one.grad is None for one in critic.parameters())


def test_more_steps_find_a_worse_case_of_a_curved_critic() -> None:
    critic, inputs = smooth(), normal(64, 3)
    fallen = [
        (critic(inputs) - critic(gan.Attack(1.0, norm=2, steps=n)(
            critic, inputs, raising=False))).mean().item()
        for n in (1, 20)
    ]  # fmt: skip
    assert fallen[1] > fallen[0] > 0


@pytest.mark.parametrize(
    ("on", "moved"),
    [("real", (-0.1, 0.0)), ("fake", (0.0, 0.1)), ("both", (-0.1, 0.1))],
)
def test_real_samples_are_lowered_and_made_ones_raised(
    on: str, moved: tuple[float, float]
) -> None:
    pair = normal(3, 1), normal(3, 1, seed=1)
    found = gan.robust_inputs(linear(2.0), *pair, attack=gan.Attack(0.1), on=on)
    for after, before, change in zip(found, pair, moved, strict=True):
        torch.testing.assert_close(after - before, torch.full_like(before, change))


# --- a discriminator that is too strong ------------------------------------------


@pytest.mark.parametrize(
    ("logit", "minimax", "other"),
    [(0, 0.5, 0.5), (-5, 0.0067, 0.9933), (-10, 4.5e-5, 0.99995)],
)
def test_the_slope_that_reaches_the_generator(
    logit: float, minimax: float, other: float
) -> None:
    logits = torch.full((3,), float(logit), dtype=torch.float64, requires_grad=True)
    told = gan.generator_signal(logits)
    (slopes,) = torch.autograd.grad(gan.minimax_generator_loss(logits), logits)
    assert told.minimax == pytest.approx(minimax, rel=0.01)
    assert told.minimax == pytest.approx(-slopes.sum().item())
    (slopes,) = torch.autograd.grad(gan.non_saturating_generator_loss(logits), logits)
    assert told.non_saturating == pytest.approx(other, rel=1e-4)
    assert told.non_saturating == pytest.approx(-slopes.sum().item())
    assert told.too_strong == (logit < -4)


def test_losses_are_those_of_binary_cross_entropy() -> None:
    real, fake = normal(9), normal(9, seed=1)
    ones, zeros = torch.ones(9).double(), torch.zeros(9).double()
    cross = F.binary_cross_entropy_with_logits
    torch.testing.assert_close(
        gan.discriminator_loss(real, fake), cross(real, ones) + cross(fake, zeros)
    )
    torch.testing.assert_close(
        gan.non_saturating_generator_loss(fake), cross(fake, ones)
    )
    torch.testing.assert_close(gan.minimax_generator_loss(fake), -cross(fake, zeros))


def play(steps: int, *, away: float, strength: int) -> Tensor:
    """Logits of made samples after a game on points of a line."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1))
    shift = nn.Parameter(torch.tensor([away]))
    groups = {"params": critic.parameters(), "lr": 1e-2}
    ours, theirs = torch.optim.Adam([shift], lr=0.02), torch.optim.Adam([groups])
    for who in gan.CriticSteps(strength).order(steps=steps):
        noise, real = torch.randn(64, 1), torch.randn(64, 1)
        ours.zero_grad()
        theirs.zero_grad()
        fake = critic(noise + shift)
        if who == "critic":
            gan.discriminator_loss(critic(real), fake).backward()
            theirs.step()
        else:
            gan.minimax_generator_loss(fake).backward()
            ours.step()
    return critic(torch.randn(512, 1) + shift).detach()


def test_a_fair_game_is_silent_and_a_one_sided_one_is_told() -> None:
    fair = gan.generator_signal(play(300, away=2.0, strength=1))
    assert fair.minimax > 0.1
    assert not fair.too_strong
    lost = gan.generator_signal(play(2, away=8.0, strength=100))
    assert lost.too_strong
    assert "too strong" in str(lost)
    assert "too strong" not in str(fair)


# --- how smooth it is -----------------------------------------------------------


def test_the_smoothness_of_a_linear_discriminator_is_the_length_of_its_weights() -> (
    None
):
    told = gan.discriminator_smoothness(linear(3.0, 4.0), normal(7, 2), normal(9, 2))
    assert (told.real, told.fake) == (pytest.approx(5), pytest.approx(5))
    assert told.real_error == pytest.approx(0, abs=1e-12)


def test_measuring_leaves_the_discriminator_as_it_was() -> None:
    critic = nn.Sequential(
        nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1)
    )
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    torch.manual_seed(3)
    with torch.no_grad():
        told = gan.discriminator_smoothness(critic, torch.randn(8, 2), torch.ones(8, 2))
    drawn = torch.rand(1)
    torch.manual_seed(3)
    torch.randn(8, 2)
    assert torch.equal(drawn, torch.rand(1))
    assert told.real > 0
    assert all(torch.equal(before[k], v) for k, v in critic.state_dict().items())
    assert all(one.grad is None for one in critic.parameters())


def toy(seed: int, penalty: Callable | None) -> gan.Smoothness:
    """A discriminator that is trained to tell two clouds of the plane apart."""
    torch.manual_seed(seed)
    critic = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    adam = torch.optim.Adam(critic.parameters(), lr=1e-2)
    for _ in range(150):
        real, fake = torch.randn(64, 2) * 0.5, torch.randn(64, 2) * 0.5 + 1
        adam.zero_grad()
        loss = gan.discriminator_loss(critic(real), critic(fake))
        (loss if penalty is None else loss + penalty(critic, real)).backward()
        adam.step()
    clouds = torch.randn(256, 2) * 0.5, torch.randn(256, 2) * 0.5 + 1
    return gan.discriminator_smoothness(critic, *clouds)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_r1_lowers_the_slope_at_real_and_at_made_samples(seed: int) -> None:
    plain = toy(seed, None)
    cured = toy(seed, lambda critic, real: gan.r1_penalty(critic, real, gamma=1.0))
    assert cured.real + 3 * cured.real_error < plain.real - 3 * plain.real_error
    assert cured.fake + 3 * cured.fake_error < plain.fake - 3 * plain.fake_error


# --- stability ------------------------------------------------------------------


def bilinear() -> tuple[tuple[Tensor, ...], tuple[list[Tensor], ...]]:
    x, y = (torch.tensor(0.7, dtype=torch.float64, requires_grad=True) for _ in "xy")
    return (x * y, -x * y), ([x], [y])


@pytest.mark.parametrize(("rate", "radius"), [(0.1, 1.00499), (0.5, 1.11803)])
def test_a_bilinear_game_rotates_outwards_if_both_move_at_once(
    rate: float, radius: float
) -> None:
    told = gan.game_stability(*bilinear(), rates=(rate, rate))
    assert told.radius == pytest.approx(radius, abs=1e-5)
    assert told.radius == pytest.approx(math.sqrt(1 + rate**2), abs=1e-12)
    assert told.period == pytest.approx(2 * math.pi / math.atan(rate))
    assert told.state == "rotates outwards"
    assert told.rotation_alarm
    assert "rotates outwards" in str(told)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_bilinear_game_in_turn_has_multipliers_of_exactly_1(rate: float) -> None:
    told = gan.game_stability(*bilinear(), rates=(rate, rate), turns="alternating")
    assert [abs(one) for one in told.multipliers] == pytest.approx([1, 1], abs=1e-14)
    assert told.state == "circles"
    assert told.rotation_alarm


def test_the_multipliers_are_those_of_the_played_game() -> None:
    """Linear games: what a round does is what the matrix says."""
    stream = torch.Generator().manual_seed(0)
    matrix = torch.randn(5, 5, generator=stream, dtype=torch.float64)
    rates, turns = (0.05, 0.02), [[1], [1], [0]]

    def losses(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([x, y])
        flow = matrix @ both
        # Quadratic losses whose gradients are rows of one matrix.
        first = (x * (flow[:2] - matrix[:2, :2] @ x / 2)).sum()
        second = (y * (flow[2:] - matrix[2:, 2:] @ y / 2)).sum()
        return first, second

    x, y = torch.zeros(2).double(), torch.zeros(3).double()
    players = [x.requires_grad_()], [y.requires_grad_()]
    jacobian = gan.game_jacobian(losses(x, y), players)
    told = gan.game_stability(losses(x, y), players, rates=rates, turns=turns)
    whole = torch.eye(5, dtype=torch.float64)
    for turn in turns:
        moves = torch.tensor(
            [rates[0] * (0 in turn)] * 2 + [rates[1] * (1 in turn)] * 3
        )
        whole = (torch.eye(5).double() - moves.double()[:, None] * jacobian) @ whole
    expected = torch.linalg.eigvals(whole).abs().sort(descending=True).values
    assert [abs(one) for one in told.multipliers] == pytest.approx(expected.tolist())


def dirac(weight: float) -> tuple[tuple[Tensor, Tensor], tuple[list[Tensor], ...]]:
    """The Dirac-GAN at its solution (Mescheder et al. 2018), with R1 of this weight."""
    made, slope = (torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
                   for _ in range(2))  # fmt: skip
    real = torch.zeros(1, 1, dtype=torch.float64)
    critic = lambda x: x @ slope  # noqa: E731
    against = gan.discriminator_loss(critic(real), critic(made))
    against = against + gan.r1_penalty(critic, real, gamma=weight)
    return (gan.minimax_generator_loss(critic(made)), against), ([made], [slope])


def test_r1_turns_the_circles_of_a_gan_into_convergence() -> None:
    plain = gan.game_stability(*dirac(0.0), rates=(0.1, 0.1))
    assert plain.state == "rotates outwards"
    assert plain.radius == pytest.approx(math.sqrt(1 + 0.1**2 / 4))
    cured = gan.game_stability(*dirac(0.5), rates=(0.1, 0.1))
    assert cured.state == "converges"
    # Eigenvalues (γ ± √(γ² − 4f′²))/2 with f′ = 1/2 of the logistic loss.
    field = torch.linalg.eigvals(gan.game_jacobian(*dirac(0.5)))
    expected = complex(0.25, math.sqrt(4 * 0.25 - 0.25) / 2)
    assert complex(field[field.imag.argmax()].item()) == pytest.approx(expected)


@pytest.mark.parametrize("turns", ["simultaneous", "alternating"])
def test_a_large_game_is_judged_without_its_matrix(
    turns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    critic = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    real, noise = normal(32, 2), normal(32, 2, seed=1)

    def judged() -> gan.GameStability:
        fake = critic(generator(noise))
        losses = -fake.mean(), gan.discriminator_loss(critic(real), fake)
        mine = [list(one.parameters()) for one in (generator, critic)]
        return gan.game_stability(
            losses, mine, rates=(0.5, 2.0), turns=turns, products=50
        )

    exact = judged()
    monkeypatch.setattr("surefoot.tasks.gan.stability.EXACT", 0)
    found = judged()
    assert len(found.multipliers) <= 50 < len(exact.multipliers)
    assert found.radius == pytest.approx(exact.radius, rel=1e-6)
    assert found.error < 1e-6
    assert found.state == exact.state


def test_other_ends_of_a_game() -> None:
    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    y = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    players = [x], [y]

    def state(first: Tensor, second: Tensor) -> str:
        told = gan.game_stability((first, second), players, rates=(0.1, 0.1))
        assert told.rotation_alarm == (told.state in ("circles", "rotates outwards"))
        return told.state

    assert state(x**2, y**2) == "converges"
    assert state(-(x**2), y**2) == "diverges"
    assert state(x, y**2) == "flat"
    assert state(15 * x**2, y**2) == "diverges"  # overshoots: no rotation
    assert state(x * 3, -y) == "flat"  # no curvature at all


def test_too_few_products_say_that_they_do_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("surefoot.tasks.gan.stability.EXACT", 0)
    weights = torch.linspace(0.5, 9.9, 200, dtype=torch.float64)
    x = torch.zeros(200, dtype=torch.float64, requires_grad=True)
    y = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    game = (weights * x * x).sum(), (y * y).sum()
    told = gan.game_stability(game, ([x], [y]), rates=(0.1, 0.1), products=4)
    assert told.state == "unresolved"
    assert told.error > 1e-3


# --- what cannot be used --------------------------------------------------------


def test_weights_and_gradients_of_players_are_not_touched() -> None:
    (first, second), ((x,), (y,)) = bilinear()
    gan.game_stability((first, second), ([x], [y]), rates=(0.1, 0.1))
    assert (x.grad, y.grad) == (None, None)
    assert (x.item(), y.item()) == (0.7, 0.7)


X = torch.ones((), requires_grad=True)
Y = torch.ones((), requires_grad=True)
GAME = ((X * Y, -X * Y), ([X], [Y]))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: gan.wasserstein_critic_loss(torch.ones(0), X), r"shape \(0,\)"),
        (lambda: gan.discriminator_loss(X, torch.ones(2).long()), "floating-point"),
        (lambda: gan.generator_signal(torch.ones(0)), "at least one"),
        (lambda: gan.clip_weights_([X], -1.0), "positive"),
        (lambda: gan.ClipWeights(nn.Linear(1, 1), limit=0.0), "positive"),
        (lambda: gan.CriticSteps(0), "1 or more"),
        (lambda: gan.CriticSteps(2.5), "whole number"),  # type: ignore[arg-type]
        (lambda: gan.CriticSteps(Constant(0.2)), "1 or more"),
        (lambda: gan.two_rates(linear(1.0), linear(1.0), critic_lr=0.0), "critic_lr"),
        (lambda: gan.input_gradient(linear(1.0), torch.ones(3).double()), r"\[batch"),
        (lambda: gan.input_gradient(lambda x: x.sum(), torch.ones(3, 1)), "3 samples"),
        (lambda: gan.r1_penalty(lambda x: x.detach(), torch.ones(3, 1)), "no graph"),
        (
            lambda: gan.gradient_penalty(linear(1.0), normal(3, 1), normal(2, 1)),
            "one shape",
        ),
        (lambda: gan.Attack(-1.0), "epsilon"),
        (lambda: gan.Attack(1.0, norm=1), "norm"),
        (lambda: gan.Attack(1.0, steps=0), "steps"),
        (lambda: gan.Attack(1.0, bounds=(1.0, 0.0)), "bounds"),
        (
            lambda: gan.robust_inputs(
                linear(1.0), X, X, attack=gan.Attack(1.0), on="none"
            ),  # type: ignore[arg-type]
            "'both'",
        ),
        (lambda: gan.game_stability(GAME[0][:1], GAME[1], rates=(1, 1)), "1 losses"),
        (lambda: gan.game_stability(*GAME, rates=(1,)), "2 players"),
        (lambda: gan.game_stability(*GAME, rates=(1, 1), turns=[[2]]), "0 to 1"),
        (lambda: gan.game_stability(GAME[0], ([X], [X]), rates=(1, 1)), "twice"),
        (lambda: gan.game_stability((X * Y, Y * 0 + 1 / (Y - Y)), GAME[1],
                                    rates=(1, 1)), "NaN or infinite"),
        (lambda: gan.game_stability((torch.ones(()), X), GAME[1], rates=(1, 1)),
         "with a graph"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(run: Callable, words: str) -> None:
    with pytest.raises(GameError, match=words):
        run()


def test_players_that_share_a_weight_are_refused() -> None:
    net = linear(1.0)
    with pytest.raises(GameError, match="share a weight"):
        gan.two_rates(net, net)
