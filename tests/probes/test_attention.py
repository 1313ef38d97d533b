"""Attention: entropy and size of logits, by function and by module."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from surefoot.probes.attention import sampled_logits, statistics

ATTENTION = functional.scaled_dot_product_attention
SOFTMAX = torch.softmax


@pytest.fixture(autouse=True)
def _nothing_was_compiled() -> Iterator[None]:
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    yield
    assert functional.scaled_dot_product_attention is ATTENTION
    assert torch.softmax is SOFTMAX
    assert "softmax" not in vars(torch.Tensor)


def test_uniform_one_hot_and_masked_rows() -> None:
    uniform = statistics(torch.zeros(5, 64))
    assert uniform.entropy.item() * math.log(64) == pytest.approx(4.1589, abs=1e-4)
    one_hot = statistics(1e4 * torch.eye(64)[:5])
    assert one_hot.entropy.item() == 0
    assert one_hot.largest.item() == 1e4
    for masked in (-math.inf, torch.finfo(torch.float32).min, -1e9, -1e4):
        logits = torch.zeros(5, 64)
        logits[:, 16:] = masked
        rows = statistics(logits)
        assert rows.entropy.item() == pytest.approx(1.0)
        assert rows.largest.item() == 0
    half = statistics(torch.zeros(2, 64).half())
    assert half.entropy.item() == pytest.approx(1.0)
    assert statistics(torch.zeros(3, 1)).entropy.isnan()


@pytest.mark.parametrize("kind", ["plain", "causal", "boolean", "added", "grouped"])
def test_logits_are_those_of_the_function(kind: str) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 4, 6, 8), torch.randn(2, 4, 6, 8)
    mask = torch.rand(6, 6) > 0.3
    mask[:, 0] = True
    given = {"boolean": mask, "added": torch.where(mask, 0.5, -math.inf)}.get(kind)
    if kind == "grouped":
        key = torch.randn(2, 2, 6, 8)
    found = sampled_logits(query, key, given, causal=kind == "causal", scale=None)
    assert found.shape == (8, 6, 6)
    eye = torch.eye(6).expand(*key.shape[:2], 6, 6)
    weights = functional.scaled_dot_product_attention(
        query, key, eye, given, is_causal=kind == "causal", enable_gqa=kind == "grouped"
    )
    torch.testing.assert_close(found.softmax(-1), weights.flatten(0, 1))


class Attention(nn.Module):
    """Causal self-attention, by one of the ways that people write it."""

    def __init__(self, way: str, size: float) -> None:
        super().__init__()
        self.way, self.size = way, size
        self.mix = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.mix(x)[:, None]
        if self.way == "function":
            query = self.size * torch.ones_like(hidden)
            key = torch.ones_like(hidden)
            mixed = functional.scaled_dot_product_attention(
                query, key, hidden, is_causal=True
            )
            return mixed[:, 0]
        logits = self.size * 2 * torch.ones(len(x), 1, x.shape[1], x.shape[1])
        logits = logits.masked_fill(torch.ones_like(logits).triu(1) > 0, -math.inf)
        softmax = {
            "torch": lambda: torch.softmax(logits, dim=-1),
            "method": lambda: logits.softmax(-1),
            "functional": lambda: functional.softmax(logits, dim=3),
        }[self.way]
        return (softmax() @ hidden)[:, 0]


class Net(nn.Module):
    def __init__(self, way: str, *, recompute: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.ModuleDict({"attn": Attention(way, 3.0)})
        self.second = nn.ModuleDict({"attn": Attention(way, 5.0)})
        self.head = nn.Linear(4, 4)
        self.recompute = recompute

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for one in (self.first["attn"], self.second["attn"]):
            x = x + (
                checkpoint(one, x, use_reentrant=False) if self.recompute else one(x)
            )
        return self.head(x).softmax(-1)


def trained(recorded: Any, model: nn.Module, *, steps: int = 6) -> Any:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number: int) -> torch.Tensor:
        loss = model(torch.ones(2, 9, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return recorded(model, optimizer, step, steps)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("way", ["function", "torch", "method", "functional"])
def test_every_way_to_write_it(way: str, recompute: bool, recorded: Any) -> None:
    """The softmax at the end has more rows than columns, and is none."""
    reader = trained(recorded, Net(way, recompute=recompute))
    largest = reader.series("attention_logit_absmax")
    assert largest.layers == ("first.attn", "second.attn")
    assert largest.steps.tolist() == [1, 2, 3, 4, 5]
    assert largest.values[0] == pytest.approx([6.0, 10.0])
    entropy = reader.series("attention_entropy").values
    assert entropy == pytest.approx(1.0, abs=1e-5)


def test_modules_of_torch(recorded: Any) -> None:
    model = nn.Sequential(
        nn.TransformerEncoderLayer(4, 2, 8, 0.1, batch_first=True),
        nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True, norm_first=True),
    )
    layers = trained(recorded, model).series("attention_entropy").layers
    assert layers == ("0.self_attn", "1.self_attn")


class Block(nn.Module):
    """Attention that no module is named after, and that returns its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.attn_norm, self.project = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query = self.project(self.attn_norm(x))
        return x + functional.scaled_dot_product_attention(query, query, query)


def test_attention_is_named_after_the_module_around_the_last_layer(
    recorded: Any,
) -> None:
    reader = trained(recorded, nn.Sequential(nn.Linear(4, 4), Block(), Block()))
    assert reader.series("attention_entropy").layers == ("1", "2")


def test_everything_is_put_back_when_a_pass_fails(recorded: Any) -> None:
    class Failing(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            super().forward(x)
            assert functional.scaled_dot_product_attention is not ATTENTION
            raise ZeroDivisionError

    model = Failing("function")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number: int) -> torch.Tensor:
        loss = Net.forward(model, torch.ones(2, 9, 4)).mean()
        loss.backward()
        optimizer.step()
        with pytest.raises(ZeroDivisionError):
            model(torch.ones(2, 9, 4))
        assert functional.scaled_dot_product_attention is ATTENTION
        return loss

    recorded(model, optimizer, step, steps=1)


def test_two_streams_of_one_model(recorded: Any) -> None:
    model = Net("method")
    optimizers = {
        "body": torch.optim.SGD(model.first.parameters(), lr=0.1),
        "rest": torch.optim.SGD(
            [*model.second.parameters(), *model.head.parameters()], lr=0.1
        ),
    }

    def step(number: int) -> torch.Tensor:
        loss = model(torch.ones(2, 9, 4)).square().mean()
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        return {"body": loss, "rest": loss}

    reader = recorded(model, optimizers, step)
    for stream in optimizers:
        series = reader.series("attention_logit_absmax", stream)
        assert series.values[0] == pytest.approx([6.0, 10.0])


def test_a_compiled_part_keeps_its_graph(recorded: Any) -> None:
    inner = torch.compile(Net("function"), backend="eager", fullgraph=True)
    model = nn.Sequential(inner, nn.Linear(4, 4))
    reader = trained(recorded, model)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not reader.has("attention_entropy", "main")


def test_autocast_does_not_round_the_logits(recorded: Any) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        reader = trained(recorded, Net("method"))
    assert reader.series("attention_logit_absmax").values[0] == pytest.approx([6, 10])


def test_a_model_without_attention_is_soon_left_alone(recorded: Any) -> None:
    seen: list[bool] = []

    class Watchful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.softmax is not SOFTMAX)
            return self.inner(x)

    trained(recorded, Watchful(), steps=8)
    assert seen == [False, True, True, True, False, False, False, False]
