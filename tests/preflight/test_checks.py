"""Each rule: one planted flaw that raises it and names the layer, and silence else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import surefoot
from preflight_setups import Setup, clusters, cross_entropy, mlp, squared_error
from surefoot.nn.init.layers import difference
from surefoot.preflight.catalogue import RULES
from surefoot.preflight.measure import measure
from surefoot.preflight.signs import weighted
from surefoot.preflight.trial import Subject

Make = Callable[[], Setup]


def scaled(model: nn.Module, place: str, factor: float) -> nn.Module:
    """The model with the weights of one layer multiplied."""
    with torch.no_grad():
        model.get_submodule(place).weight.mul_(factor)
    return model


def all_scaled(model: nn.Module, factor: float) -> nn.Module:
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(factor)
    return model


def regression(act: nn.Module) -> Setup:
    x, _ = clusters()
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1), act)
    return Setup(model, (x, 3 + x[:, :1]), squared_error)


class Cut(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach()


class Loose(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.rest = [nn.Linear(16, 16), nn.Linear(16, 5)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest[1](F.relu(self.rest[0](F.relu(self.first(x)))))


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.log(-x.square())


def with_layers(*extra: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 32), *extra, nn.ReLU(), nn.Linear(32, 5))


def unheld() -> Setup:
    model = mlp()
    held = [w for n, w in model.named_parameters() if not n.startswith("2.")]
    return Setup(model, clusters(), optimizer=torch.optim.Adam(held, lr=1e-3))


def doubly_held() -> Setup:
    model = mlp()
    groups = [{"params": list(model.parameters())}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    optimizer.param_groups[0]["params"].append(model[0].weight)
    return Setup(model, clusters(), optimizer=optimizer)


def adam(model: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), **{"lr": 1e-3, **settings})


def tuned(model: nn.Module, **settings: Any) -> Setup:
    return Setup(model, clusters(), optimizer=adam(model, **settings))


def decayed() -> Setup:
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=10.0)
    return Setup(model, clusters(), optimizer=optimizer)


def evaluated() -> Setup:
    model = with_layers(nn.BatchNorm1d(32))
    model.eval()
    return Setup(model, clusters())


def dead() -> Setup:
    model = mlp()
    with torch.no_grad():
        model[2].bias.fill_(-50.0)
    return Setup(model, clusters())


def dying() -> Setup:
    model = mlp(width=64)
    with torch.no_grad():
        model[2].bias[:61] = -50.0
    return Setup(model, clusters())


def of_classes(target: torch.Tensor) -> Setup:
    return Setup(mlp(), (clusters()[0], target))


def stubborn() -> Setup:
    """A start far off that forty updates at a low rate do not mend."""
    return tuned(all_scaled(mlp(), 6), lr=1e-5)


def post_norm() -> Setup:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    core = nn.TransformerEncoder(layer, 8, enable_nested_tensor=False)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 16)), core, nn.Flatten(), nn.Linear(16, 5)
    )
    return Setup(model, clusters())


def faint() -> Setup:
    model = with_layers().half()

    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        return F.cross_entropy(net(batch[0].half()).float(), batch[1]) * 1e-7

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Setup(model, clusters(), loss, optimizer)


def in_half(net: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(net(batch[0].half()).float(), batch[1])


def half_adam() -> Setup:
    model = with_layers().half()
    return Setup(model, clusters(), in_half, adam(model))


def wide_half() -> Setup:
    model = with_layers().half()
    model[0].weight.data.mul_(1e4)
    model[2].weight.data.mul_(1e-4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    return Setup(model, clusters(), in_half, optimizer)


def constant(module: nn.Module) -> nn.Module:
    for one in module.modules():
        if isinstance(one, nn.Linear):
            nn.init.constant_(one.weight, 1 / one.in_features)
            nn.init.zeros_(one.bias)
    return module


def zeroed(model: nn.Module) -> nn.Module:
    for one in model.modules():
        if isinstance(one, nn.Linear):
            nn.init.zeros_(one.weight)
    return model


def unrepeatable() -> Setup:
    calls = [0.0]

    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        calls[0] += 1
        return cross_entropy(net, batch) + 0.1 * calls[0]

    return Setup(mlp(), clusters(), loss)


def nll(probabilities: bool) -> Setup:
    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        out = net(batch[0])
        return F.nll_loss(out.softmax(-1) if probabilities else out, batch[1])

    return Setup(mlp(), clusters(), loss)


def squares() -> Setup:
    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        return F.mse_loss(net(batch[0]).sigmoid(), F.one_hot(batch[1], 5).float())

    return Setup(mlp(), clusters(), loss)


def flat_regression() -> Setup:
    x, _ = clusters()
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))

    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        return (net(batch[0]) - batch[1]).square().mean()

    def mse(net: nn.Module, batch: Any) -> torch.Tensor:
        return F.mse_loss(net(batch[0]), batch[1][:, None].expand(-1, 3)[:, 0])

    return Setup(model, (x, x[:, 0]), mse)


def binary(target: torch.Tensor) -> Setup:
    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(net(batch[0])[:, 0], batch[1])

    return Setup(mlp(), (clusters()[0], target), loss)


def unused() -> Setup:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.a, self.b = mlp(), nn.Linear(5, 5), nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(self.body(x))

    return Setup(Heads(), clusters())


FLAWS: tuple[tuple[str, str, str, Make], ...] = (
    ("SF101", "error", "1", lambda: Setup(with_layers(Broken()), clusters())),
    ("SF102", "info", "4", lambda: Setup(all_scaled(mlp(), 6), clusters())),
    ("SF102", "warning", "4", stubborn),
    ("SF103", "error", "5", lambda: Setup(mlp().append(nn.Softmax(-1)), clusters())),
    ("SF104", "error", "5", lambda: Setup(mlp().append(nn.Sigmoid()), clusters())),
    ("SF104", "error", "3", lambda: regression(nn.Sigmoid())),
    ("SF105", "error", "run", lambda: nll(probabilities=True)),
    ("SF105", "error", "run", lambda: nll(probabilities=False)),
    ("SF105", "warning", "run", squares),
    ("SF106", "error", "run", flat_regression),
    ("SF107", "error", "run", lambda: Setup(mlp().append(Cut()), clusters())),
    ("SF108", "error", "0", lambda: Setup(with_layers(Cut()), clusters())),
    ("SF109", "error", "run", lambda: Setup(Loose(), clusters())),
    ("SF110", "info", "b.bias", unused),
    ("SF201", "error", "2", unheld),
    ("SF202", "error", "run", lambda: Setup(mlp(), clusters(), optimizer=adam(mlp()))),
    ("SF203", "error", "run", lambda: Setup(mlp().requires_grad_(False), clusters())),
    ("SF204", "error", "0.weight", doubly_held),
    ("SF205", "info", "0.bias", lambda: tuned(mlp(), weight_decay=1e-4)),
    ("SF206", "warning", "run", decayed),
    ("SF206", "warning", "run", lambda: tuned(mlp(), weight_decay=5.0)),
    ("SF207", "warning", "run", lambda: tuned(mlp(), eps=10.0)),
    ("SF208", "error", "run", half_adam),
    ("SF209", "error", "run", lambda: tuned(mlp(), lr=0.0)),
    ("SF301", "error", "0", lambda: Setup(mlp(24, 32), clusters())),
    ("SF301", "error", "0", lambda: Setup(mlp(12, 32, nn.Sigmoid), clusters())),
    ("SF304", "error", "2", dead),
    ("SF304", "warning", "2", dying),
    ("SF305", "warning", "2", lambda: Setup(scaled(mlp(3, 32, nn.Tanh), "2", 100),
                                            clusters())),
    ("SF306", "error", "0", lambda: Setup(constant(mlp()), clusters())),
    ("SF307", "error", "0", lambda: Setup(zeroed(mlp()), clusters())),
    ("SF308", "warning", "2", lambda: Setup(scaled(mlp(), "2", 500), clusters())),
    ("SF309", "info", "1.layers.0", post_norm),
    ("SF401", "error", "run", lambda: Setup(mlp(), (clusters()[0] / 0, clusters()[1]))),
    ("SF402", "warning", "run", lambda: Setup(mlp(), (clusters()[0] * 300,
                                                      clusters()[1]))),
    ("SF403", "warning", "run", lambda: Setup(mlp(), (torch.ones(64, 16),
                                                      clusters()[1]))),
    ("SF404", "error", "run", lambda: binary(clusters()[1].float())),
    ("SF405", "info", "run", lambda: of_classes(torch.ones(64, dtype=torch.long))),
    ("SF406", "info", "run", lambda: of_classes((torch.arange(64) == 3).long())),
    ("SF501", "warning", "1", lambda: Setup(with_layers(nn.BatchNorm1d(32)),
                                            clusters(2))),
    ("SF501", "error", "run", lambda: Setup(with_layers(nn.BatchNorm1d(32)),
                                            clusters(1))),
    ("SF501", "info", "1", lambda: Setup(with_layers(nn.BatchNorm1d(32)), clusters(5))),
    ("SF502", "warning", "run", evaluated),
    ("SF503", "warning", "1", lambda: Setup(with_layers(nn.BatchNorm1d(32, momentum=0)),
                                            clusters())),
    ("SF504", "warning", "1", lambda: Setup(with_layers(nn.Dropout(0.95)), clusters())),
    ("SF602", "warning", "run", lambda: tuned(mlp(), lr=10.0)),
    ("SF603", "warning", "run", lambda: tuned(mlp(), lr=1e-9)),
    ("SF605", "info", "run", unrepeatable),
    ("SF701", "warning", "0", wide_half),
    ("SF702", "warning", "0.weight", faint),
)  # fmt: skip


FOLLOWING = ("SF701", "SF702")
"""Planted by weights that are themselves out of scale."""


@pytest.mark.parametrize(
    ("id", "severity", "layer", "make"),
    FLAWS,
    ids=[f"{place}-{flaw[0]}" for place, flaw in enumerate(FLAWS)],
)
@pytest.mark.filterwarnings("ignore:.*broadcast:UserWarning")
@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
@pytest.mark.filterwarnings("ignore:Initializing zero-element:UserWarning")
def test_a_planted_flaw_is_found(
    id: str, severity: str, layer: str, make: Make
) -> None:
    report = make().report()
    found = [(one.id, one.severity, one.layer) for one in report.findings]
    assert (id, severity, layer) in found, str(report)
    if severity != "info":
        assert report.flaws[0].id == id or id in FOLLOWING, str(report)


def test_nearly_every_rule_has_a_planted_flaw() -> None:
    left = {rule.id for rule in RULES} - {flaw[0] for flaw in FLAWS}
    assert left == {"SF302", "SF303", "SF601"}


def test_depth_that_explodes_is_told_from_one_large_layer() -> None:
    model = mlp(10, 64)
    for one in model:
        if isinstance(one, nn.Linear):
            nn.init.normal_(one.weight, std=5 / math.sqrt(one.in_features))
    found = Setup(model, clusters()).report().flaws
    assert found[0].id == "SF303"
    assert "blame" in found[0].detail


def test_outputs_that_stay_alike_without_a_culprit_are_told() -> None:
    class Averaging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x).mean(0, keepdim=True).expand(len(x), -1)

    found = Setup(Averaging(), clusters()).report().flaws
    assert [one.id for one in found] == ["SF601"]


# --- healthy ones ---------------------------------------------------------------


def residual(zero: bool) -> nn.Module:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
            if zero:
                nn.init.zeros_(self.b.weight)
                nn.init.zeros_(self.b.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.b(F.relu(self.a(x)))

    return nn.Sequential(Block(), Block(), Block(), nn.Linear(16, 5))


def zero_head() -> nn.Module:
    model = mlp()
    nn.init.zeros_(model[-1].weight)
    return model


def frozen() -> Setup:
    model = mlp(3)
    model[0].requires_grad_(False)
    model[2].requires_grad_(False)
    return Setup(model, clusters())


def fine_tuned() -> Setup:
    model, batch = mlp(), clusters()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        optimizer.step()
    held = torch.optim.Adam(model[-1].parameters(), lr=1e-3)
    return Setup(model, batch, optimizer=held)


def warming() -> Setup:
    setup = Setup(mlp(), clusters())
    assert setup.optimizer is not None
    torch.optim.lr_scheduler.LambdaLR(setup.optimizer, lambda k: (k + 1) / 1e5)
    return setup


def brier() -> Setup:
    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        return F.mse_loss(net(batch[0]).softmax(-1), F.one_hot(batch[1], 5).float())

    return Setup(mlp(), clusters(), loss)


def capped() -> Setup:
    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        return F.cross_entropy(10 * torch.tanh(net(batch[0]) / 10), batch[1])

    return Setup(mlp(), clusters(), loss)


HEALTHY: tuple[tuple[str, Make], ...] = (
    ("mlp", lambda: Setup(mlp(), clusters())),
    ("batch norm", lambda: Setup(with_layers(nn.BatchNorm1d(32)), clusters())),
    ("dropout", lambda: Setup(with_layers(nn.Dropout(0.5)), clusters())),
    ("residual", lambda: Setup(residual(zero=False), clusters())),
    ("zero branches", lambda: Setup(residual(zero=True), clusters())),
    ("zero head", lambda: Setup(zero_head(), clusters())),
    ("frozen layers", frozen),
    ("trained, head only", fine_tuned),
    ("warm-up", warming),
    ("one example", lambda: Setup(mlp(), clusters(1))),
    ("brier score", brier),
    ("capped logits", capped),
    ("log_softmax", lambda: Setup(mlp().append(nn.LogSoftmax(-1)), clusters(),
        lambda m, b: F.nll_loss(m(b[0]), b[1]))),
    ("sigmoid in range", lambda: Setup(nn.Sequential(nn.Linear(16, 1), nn.Sigmoid()),
        (clusters()[0], clusters()[0][:, :1].sigmoid()), squared_error)),
    ("without optimizer", lambda: Setup(mlp().requires_grad_(True), clusters())),
)  # fmt: skip


@pytest.mark.parametrize(
    "make", [one for _, one in HEALTHY], ids=[name for name, _ in HEALTHY]
)
def test_a_healthy_network_raises_no_alarm(make: Make) -> None:
    report = make().report()
    assert report.ok, str(report)


# --- numbers --------------------------------------------------------------------


def test_xavier_under_relu_shrinks_the_signal_as_theory_says() -> None:
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(1024, 1024, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    for one in model:
        if isinstance(one, nn.Linear):
            nn.init.xavier_normal_(one.weight)
    batch = torch.randn(256, 1024), torch.randn(256, 1024)
    subject = Subject(model, batch, lambda m, b: (m(b[0]) * b[1]).sum())
    trial = measure(subject, 1.0)
    sizes = [one.rms for one in weighted(trial)]
    assert sizes[-1] / sizes[0] == pytest.approx(0.177, abs=0.02)
    back = [one.gradient for one in weighted(trial)]
    assert back[0] / back[-1] == pytest.approx(0.177, abs=0.02)
    assert all(difference(one) <= one.rms for one in weighted(trial))


def test_the_suggested_rates_train_and_rates_far_above_do_not() -> None:
    report = Setup(mlp(), clusters()).report()
    assert report.facts is not None
    low, high = (report.facts[f"{end} suggested lr"] for end in ("lowest", "highest"))
    assert low < 1e-3 < high
    assert tuned(mlp(), lr=high).report().ok
    assert not tuned(mlp(), lr=100 * high).report().ok


def test_time_bounds_the_trial_updates() -> None:
    report = Setup(mlp(), clusters()).report(seconds=0.0)
    assert any("time was up" in sentence for sentence in report.skipped)
    assert surefoot.check(mlp(), clusters(), loss_fn=cross_entropy).ok
