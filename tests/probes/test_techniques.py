"""What steadies a run is recognised, whoever wrote it, and nothing else is."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_optimizer import SAM, PCGrad
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as hooked_spectral_norm
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.optim.swa_utils import SWALR, AveragedModel

import surefoot
from surefoot.diagnosis.in_use import clipped_at, in_use, seen, warmed_up
from surefoot.gradients import ZScoreClip
from surefoot.nn.regularize import MaxNorm
from surefoot.probes.techniques import techniques
from surefoot.record.facts import facts_in
from surefoot.record.reader import RecordReader
from surefoot.remedies.clipping import clip
from surefoot.remedies.learning_rate import warm_up
from surefoot.schedules import after_step
from surefoot.types import Facts, Series, Technique


def found(net: nn.Module, optimizer: Any = None) -> dict[str, Technique]:
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=0.1)
    return {one.name: one for one in techniques(dict(net.named_modules()), optimizer)}


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.BatchNorm2d(4), "batch norm"),
        (nn.SyncBatchNorm(4), "batch norm"),
        (nn.LayerNorm(4), "layer norm"),
        (nn.RMSNorm(4), "RMS norm"),
        (nn.GroupNorm(2, 4), "group norm"),
        (nn.InstanceNorm2d(4), "instance norm"),
        (nn.Dropout2d(0.1), "dropout"),
        (nn.AlphaDropout(0.1), "alpha dropout"),
        (parametrizations.spectral_norm(nn.Linear(4, 4)), "spectral norm"),
        (hooked_spectral_norm(nn.Linear(4, 4)), "spectral norm"),
        (parametrizations.weight_norm(nn.Linear(4, 4)), "weight norm"),
        (parametrizations.orthogonal(nn.Linear(4, 4)), "orthogonal weights"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_layer_of_torch_is_recognised_by_its_module(
    layer: nn.Module, name: str
) -> None:
    net = nn.Sequential(nn.Linear(4, 4), layer)
    assert found(net)[name].where == ("1",)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ScaledStdConv2d", "weight standardisation"),
        ("FilterResponseNormTlu2d", "filter response normalisation"),
        ("EvoNorm2dS0", "EvoNorm"),
        ("GlobalResponseNorm", "global response normalisation"),
        ("LayerNorm2d", "layer norm"),
        ("DropPath", "stochastic depth"),
        ("LlamaRMSNorm", "RMS norm"),
    ],
)
def test_layers_of_other_libraries_are_recognised_by_class(
    kind: str, name: str
) -> None:
    other = type(kind, (nn.Module,), {})()
    assert name in found(nn.Sequential(nn.Linear(2, 2), other))


def test_a_plain_net_uses_nothing() -> None:
    plain = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    told = [one for one in found(plain).values() if one.family != "loss"]
    assert [one.name for one in told] == ["SGD"]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (torch.optim.SGD, "weight decay as an L2 term"),
        (torch.optim.Adam, "weight decay as an L2 term"),
        (torch.optim.AdamW, "decoupled weight decay"),
    ],
)
def test_weight_decay_is_told_apart_and_its_exemptions_counted(
    make: Callable[..., torch.optim.Optimizer], name: str
) -> None:
    net = nn.Linear(3, 3)
    groups = [
        {"params": [net.weight], "weight_decay": 0.02},
        {"params": [net.bias], "weight_decay": 0.0},
    ]
    decay = found(net, make(groups, lr=0.1))[name]
    assert dict(decay.settings) == {"weight_decay": 0.02, "exempt": 1.0}


def test_what_stands_beside_the_optimizer_is_recognised() -> None:
    net = nn.Linear(3, 3)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    beside = [OneCycleLR(sgd, 0.1, total_steps=9), AveragedModel(net), PCGrad(sgd)]
    own = found(net, sgd)
    assert {"OneCycleLR", "weight averaging", "gradient surgery on conflict"} <= set(
        own
    )
    assert own["label smoothing"].settings["label_smoothing"] == 0.1
    other = nn.Linear(2, 2)
    foreign = set(found(other))
    assert not foreign & {"OneCycleLR", "weight averaging"}
    assert "gradient surgery on conflict" not in foreign
    del smooth, beside
    gc.collect()


def test_flat_regions_and_their_schedule_are_recognised() -> None:
    net = nn.Linear(3, 3)
    sam = SAM(net.parameters(), torch.optim.SGD, lr=0.1)
    rates = SWALR(sam, swa_lr=0.05)
    assert {"SAM", "search for flat regions", "SWALR"} <= set(found(net, sam))
    del rates


def test_actions_and_clips_of_this_library_are_recognised() -> None:
    net = nn.Linear(3, 3)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    with (
        ZScoreClip().attach(sgd),
        after_step(sgd, MaxNorm([net.weight], cap=1.0), every=5),
    ):
        own = found(net, sgd)
    assert own["MaxNorm"].settings["every"] == 5
    assert "clipping by ZScoreClip" in own
    assert not {"MaxNorm", "clipping by ZScoreClip"} & set(found(net, sgd))


def clipping_run(
    folder: Path, *, bound: float | None, warm: bool, steps: int = 80
) -> tuple[Technique, ...]:
    """What is read from the record of a small run."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    schedule = CosineAnnealingLR(optimizer, steps)
    if warm:
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=20)
    with surefoot.watch(net, optimizer, folder=folder) as run:
        for _ in range(steps):
            optimizer.zero_grad()
            x = torch.randn(8, 6)
            loss = (net(x) - x[:, :2].sin()).square().mean()
            loss.backward()
            if bound is not None:
                nn.utils.clip_grad_norm_(net.parameters(), bound)
            optimizer.step()
            schedule.step()
            run.step(loss)
    assert run.path is not None
    with RecordReader(run.path) as reader:
        return seen(reader)


def test_clipping_and_warm_up_are_read_from_the_record(tmp_path: Path) -> None:
    told = {one.name: one for one in clipping_run(tmp_path, bound=0.2, warm=True)}
    assert told["gradient clipping"].settings["max_norm"] == pytest.approx(0.2)
    assert told["warm-up"].settings["steps"] == 20
    assert "LinearLR" in told


def test_a_run_without_them_shows_neither(tmp_path: Path) -> None:
    told = {one.name for one in clipping_run(tmp_path, bound=None, warm=False)}
    assert not told & {"gradient clipping", "warm-up"}
    assert "CosineAnnealingLR" in told


def test_series_that_are_short_empty_or_broken_show_nothing() -> None:
    for values in ([], [[1.0]], *([[x]] * 30 for x in (0.0, np.nan, np.inf))):
        rows = np.array(values, dtype=np.float32).reshape(len(values), 1)
        series = Series("grad_norm", ("w",), np.arange(len(values)), rows)
        assert clipped_at(series) is None
        assert warmed_up(series) is None
    assert in_use(Facts(), {}) == ()


def test_what_is_in_use_already_is_not_prescribed_again() -> None:
    used = (
        Technique("gradients", "gradient clipping", (), {"max_norm": 1.0}),
        Technique("schedule", "warm-up", (), {"steps": 400.0}),
    )
    facts = Facts(techniques=used)
    assert clip((), facts).changes[0].amount == 0.5
    assert "Lower the bound" in clip((), facts).advice
    assert warm_up((), facts).changes[0].amount == 800.0
    assert "Clip the gradient norm" in clip((), Facts()).advice


def test_techniques_survive_the_record() -> None:
    body = {
        "techniques": [
            {"family": "weights", "name": "spectral norm", "where": ["0"], "odd": 1},
            "junk",
        ]
    }
    assert facts_in("main", body).techniques == (
        Technique("weights", "spectral norm", ("0",), {}),
    )


def test_a_parametrized_layer_is_watched_like_any_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inner = parametrizations.spectral_norm(nn.Linear(6, 16))
    net = nn.Sequential(
        inner, nn.ReLU(), parametrizations.weight_norm(nn.Linear(16, 2))
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    with surefoot.watch(net, optimizer, folder=tmp_path) as run:
        for _ in range(30):
            optimizer.zero_grad()
            loss = net(torch.randn(8, 6)).square().mean()
            loss.backward()
            optimizer.step()
            run.step(loss)
    assert run.path is not None
    with RecordReader(run.path) as reader:
        facts = reader.facts()["main"]
        layers = set(reader.series("activation_std").layers)
    assert {"0", "1", "2"} <= layers
    kinds = {module.name: module.kind for module in facts.modules}
    assert (kinds["0"], kinds["2"]) == ("Linear", "Linear")
    assert {parameter.module for parameter in facts.parameters} == {"0", "2"}
