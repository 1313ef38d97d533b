"""Changes and autopilots in the loops that people write: schedules, scalers, ranks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import surefoot
from on_ranks import both_ranks
from surefoot.autopilot.apply import apply_changes
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.policy import Policy
from surefoot.record.folder import list_runs
from surefoot.record.reader import RecordReader
from surefoot.types import Change, Event


def net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def batch(step: int) -> Tensor:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(step))


def loss_of(model: Any, step: int) -> Tensor:
    x = batch(step)
    return (model(x) - x[:, :2].sin()).square().mean()


def apply(model: Any, optimizer: Any, *changes: Change) -> Callable[[], None]:
    told: list[Event] = []
    return apply_changes(changes, Live({"model": model}, [optimizer]), "", told.append)


# --- schedules and checkpoints ----------------------------------------------------

SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=30),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 30),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.9),
    "warm": lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=10),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_is_scaled_and_never_fought(kind: str) -> None:
    rates: dict[bool, list[Any]] = {}
    stepped: list[float] = []
    for changed in (False, True):
        model = net()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        schedule = SCHEDULES[kind](optimizer)
        if changed:
            apply(
                model,
                optimizer,
                Change("lr", "scale", 0.25),
                Change("betas.1", "set", 0.95),
            )
            optimizer.register_step_pre_hook(
                lambda one, *_: stepped.append(one.param_groups[0]["lr"])
            )
        rates[changed] = []
        for _ in range(25):
            group = optimizer.param_groups[0]
            rates[changed].append((group["lr"], group["betas"], schedule.get_last_lr()))
            optimizer.step()
            metric = (1.0,) if kind == "plateau" else ()
            schedule.step(*metric)
    assert rates[True] == rates[False]
    assert stepped == [pytest.approx(0.25 * lr) for lr, _, _ in rates[False]]


def test_what_is_lent_is_in_no_checkpoint_and_outlives_a_loaded_one() -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    plain = copy.deepcopy(optimizer.state_dict()["param_groups"])
    apply(
        model,
        optimizer,
        Change("lr", "scale", 0.5),
        Change("eps", "set", 1e-3),
        Change("clip", "set", "adaptive"),
    )
    loss_of(model, 0).backward()
    optimizer.step()
    saved = optimizer.state_dict()
    assert saved["param_groups"] == plain
    assert set(saved) == {"state", "param_groups"}
    optimizer.load_state_dict(copy.deepcopy(saved))
    copied = copy.deepcopy(optimizer)
    seen: list[float] = []
    for one in (optimizer, copied):
        one.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
        one.step()
    assert seen == [0.005, 0.01]


# --- scalers, accumulation, several optimizers --------------------------------------


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_are_clipped_as_they_are_without_a_scaler(fused: bool) -> None:
    weights: list[list[Tensor]] = []
    for scaled in (False, True):
        model = net()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        apply(model, sgd, Change("clip_norm", "set", 0.01))
        for step in range(3):
            sgd.zero_grad()
            scaler.scale(loss_of(model, step)).backward()
            scaler.step(sgd)
            scaler.update()
        weights.append([p.detach().clone() for p in model.parameters()])
    for one, other in zip(*weights, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_step_that_the_scaler_leaves_out_is_no_update(tmp_path: Path) -> None:
    model = net()
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    with surefoot.watch(model, adam, folder=tmp_path, autopilot="guard") as run:
        for step in range(20):
            loss = loss_of(model, step)
            adam.zero_grad()
            scaler.scale(loss * (float("inf") if step == 10 else 1.0)).backward()
            before = adam.state_dict()["state"].get(0, {}).get("step", 0)
            scaler.step(adam)
            scaler.update()
            if step == 10:
                assert adam.state_dict()["state"][0]["step"] == before
                continue
            run.step(loss)
    assert run.path is not None
    with RecordReader(run.path) as reader:
        assert not [e for e in reader.events() if e.kind == "change"]


def test_accumulated_losses_of_a_healthy_run_move_nothing(tmp_path: Path) -> None:
    ends: list[list[Tensor]] = []
    for guarded in (False, True):
        model = net()
        adam = torch.optim.Adam(model.parameters(), lr=0.01)
        mode: Any = "guard" if guarded else None
        with surefoot.watch(model, adam, folder=tmp_path, autopilot=mode) as run:
            for step in range(40):
                adam.zero_grad()
                for micro in range(3):
                    loss = loss_of(model, 3 * step + micro)
                    (loss / 3).backward()
                    run.step(loss)
                adam.step()
        ends.append([p.detach().clone() for p in model.parameters()])
    assert all(map(torch.equal, *ends))


def test_each_of_several_optimizers_is_guarded_by_itself(tmp_path: Path) -> None:
    models = {"a": net(), "b": net()}
    optimizers = {
        name: torch.optim.SGD(model.parameters(), lr=0.01)
        for name, model in models.items()
    }
    with surefoot.watch(models, optimizers, folder=tmp_path, autopilot="guard") as run:
        for step in range(20):
            for name, model in models.items():
                loss = loss_of(model, step)
                bad = step == 12 and name == "b"
                optimizers[name].zero_grad()
                (loss * (float("nan") if bad else 1.0)).backward()
                before = model[0].weight.clone()
                optimizers[name].step()
                assert torch.equal(before, model[0].weight) == bad
                run.step({name: loss})
    for model in models.values():
        assert bool(torch.isfinite(model[0].weight).all())


# --- closures, compiled models ------------------------------------------------------


def test_lbfgs_cannot_be_flown(tmp_path: Path) -> None:
    model = net()
    lbfgs = torch.optim.LBFGS(model.parameters())
    with pytest.raises(KnobError, match="expected"):
        surefoot.watch(model, lbfgs, folder=tmp_path, autopilot="guard")
    assert [one.status for one in list_runs(tmp_path)] == ["failed"]


def test_a_closure_is_told_of_and_training_goes_on(tmp_path: Path) -> None:
    model = net()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)

    def closure() -> Any:
        sgd.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()
        return loss

    with surefoot.watch(model, sgd, folder=tmp_path, autopilot="guard") as run:
        first = closure().item()
        for _ in range(5):
            run.step(sgd.step(closure))
        assert loss_of(model, 0).item() < first
    assert run.path is not None
    with RecordReader(run.path) as reader:
        told = [e.body for e in reader.events() if e.kind == "autopilot"]
    assert len(told) == 1
    assert "closure" in str(told[0]["why"])


def test_a_compiled_model_is_guarded(tmp_path: Path) -> None:
    model = net()
    compiled: Any = torch.compile(model, backend="eager")
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    policy = Policy(mode="guard")
    with surefoot.watch(compiled, adam, folder=tmp_path, autopilot=policy) as run:
        for step in range(15):
            loss = loss_of(compiled, step) * (float("nan") if step == 9 else 1.0)
            adam.zero_grad()
            loss.backward()
            adam.step()
            run.step(loss)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


# --- ranks --------------------------------------------------------------------------

REST = """
for step in range(40):
    x, y = batch_of(step)
    if rank == 1 and step == 25:
        x = x * float("nan")
    if rank == 1 and step in (30, 31):
        x = x * 1e4
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
weights = model.parameters()
whole = [p.full_tensor() if kind == "fsdp2" else p.detach() for p in weights]
print("sum", torch.cat([w.flatten() for w in whole]).double().sum().item())
dist.destroy_process_group()
"""


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_all_ranks_decide_alike(kind: str, tmp_path: Path) -> None:
    told = both_ranks(tmp_path, REST, kind, "--autopilot", "steer")
    first, second = (out for out, _ in told)
    assert first == second, told
    assert "nan" not in first, told
    [run] = list_runs(tmp_path / "surefoot-runs")
    with RecordReader(run.path) as reader:
        changes = [e for e in reader.events() if e.kind == "change"]
    assert 25 in [event.step for event in changes]


def test_the_rate_that_is_recorded_is_the_one_that_was_stepped_with(
    tmp_path: Path,
) -> None:
    model = net()
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    with surefoot.watch(model, adam, folder=tmp_path, autopilot="guard") as run:
        for step in range(6):
            if step == 3:
                apply(model, adam, Change("lr", "scale", 0.5))
            loss = loss_of(model, step)
            adam.zero_grad()
            loss.backward()
            adam.step()
            run.step(loss)
            assert adam.param_groups[0]["lr"] == 0.01
    assert run.path is not None
    with RecordReader(run.path) as reader:
        rates = reader.series("lr", "main").values[:, 0].tolist()
    assert rates == pytest.approx([0.01] * 3 + [0.005] * 3)
