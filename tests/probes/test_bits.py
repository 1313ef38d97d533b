"""Every instrument at every step changes no bit of training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import surefoot

EXPECTED = (
    "grad_cosine", "directional_sharpness", "contribution", "unit_spread", "accuracy",
    "example_loss", "target_share", "log_z_square", "attention_entropy", "norm_gap",
    "training_share",
)  # fmt: skip


class Net(nn.Module):
    """Attention by function with dropout, batch norm, dropout, and a linear head."""

    def __init__(self, *, recompute: bool) -> None:
        super().__init__()
        self.widen, self.norm = nn.Linear(1, 8), nn.BatchNorm1d(8)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(8, 3)
        self.recompute = recompute

    def mixed(self, hidden: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(
            hidden, hidden, hidden, dropout_p=0.2, is_causal=True
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.widen(x[..., None])[:, None]
        if self.recompute:
            hidden = checkpoint(self.mixed, hidden, use_reentrant=False)
        else:
            hidden = self.mixed(hidden)
        return self.head(self.drop(self.norm(hidden.mean((1, 2)))))


def trained(folder: Any, *, watched: bool, recompute: bool, half: bool) -> Any:
    torch.manual_seed(3)
    model = Net(recompute=recompute)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    options = surefoot.Options(every=1, budget=None)
    run = (
        surefoot.watch(model, optimizer, folder=folder, options=options)
        if watched
        else None
    )
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        for _ in range(2):
            x, y = torch.randn(6, 5), torch.randint(3, (6,))
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = functional.cross_entropy(model(x), y) / 2
            loss.backward()
            losses.append(loss.item())
            if run is not None and len(losses) % 2:
                run.step(loss, (x, y))
        optimizer.step()
        if run is not None:
            run.step(loss, (x, y))
    if run is not None:
        run.close()
    return model, optimizer, losses, run


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_no_bit_is_changed(recompute: bool, half: bool, recorded: Any) -> None:
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    folder, kind = recorded.folder, {"recompute": recompute, "half": half}
    bare, optimizer, losses, _ = trained(folder, watched=False, **kind)
    random = torch.get_rng_state()
    model, other, told, run = trained(folder, watched=True, **kind)
    assert losses == told
    assert torch.equal(random, torch.get_rng_state())
    states = [one.state_dict() for one in (bare, model, optimizer, other)]
    for one, two in zip(flat(states[::2]), flat(states[1::2]), strict=True):
        assert torch.equal(one, two)
    reader = recorded.reader(run.path)
    missing = [name for name in EXPECTED if not reader.has(name, "main")]
    assert not missing
    assert not reader.events("probe_off")


def test_no_hook_is_left_between_armed_steps(recorded: Any) -> None:
    torch._dynamo.utils.counters.clear()
    model = Net(recompute=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    options = surefoot.Options(every=4, budget=None)
    counts: list[int] = []
    with surefoot.watch(
        model, optimizer, folder=recorded.folder, options=options
    ) as run:
        for _ in range(8):
            hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in model.modules()]
            counts.append(sum(len(one) + len(two) for one, two in hooks))
            x, y = torch.randn(6, 5), torch.randint(3, (6,))
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.step(loss, (x, y))
    # The one that stays remembers what the model was called with.
    assert counts[2:4] == counts[6:8] == [1, 1]
    # Activations and output are looked at in steps 0 and 4, attention in 1 and 5.
    assert counts[0] == counts[4] > 1
    assert counts[1] == counts[5] > 1


def flat(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [x for one in value for x in flat(one)] if isinstance(value, list) else []
