"""Made-up runs: seeded series with a planted fault, and the diagnoses of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.record.rollup import Overview, rollup
from surefoot.types import (
    RUN,
    Change,
    Diagnosis,
    Event,
    Evidence,
    Facts,
    Field,
    Finding,
    Module,
    Parameter,
    Prescription,
    Series,
    Verdict,
)


@dataclass
class MadeUp:
    """Answers like a record reader, from series in memory."""

    found: dict[tuple[str, str], Series]
    known: dict[str, Facts] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)
    meta: Mapping[str, Any] = field(default_factory=dict)
    fields: Sequence[Field] = ()
    path: Path = Path("deep_plain_net-20260203-041500-7b38.surefoot")
    end: str = "finished"
    damage: str | None = None

    def status(self) -> str:
        return self.end

    def streams(self) -> Sequence[str]:
        return tuple(dict.fromkeys(stream for stream, _ in self.found))

    def quantities(self, stream: str = "main") -> Sequence[str]:
        return tuple(name for own, name in self.found if own == stream)

    def series(
        self,
        quantity: str,
        stream: str = "main",
        *,
        start: int | None = None,
        stop: int | None = None,
    ) -> Series:
        return self.found[stream, quantity]

    def overview(
        self,
        quantity: str,
        stream: str = "main",
        *,
        points: int,
        start: int | None = None,
        stop: int | None = None,
        width: int | None = None,
        layers: Sequence[str] | None = None,
    ) -> Overview:
        own = self.found[stream, quantity]
        low = -math.inf if start is None else start
        high = math.inf if stop is None else stop
        rows = (own.steps >= low) & (own.steps < high)
        kept = [at for at, one in enumerate(own.layers) if not layers or one in layers]
        values, steps = own.values[rows][:, kept], own.steps[rows]
        names = tuple(own.layers[at] for at in kept)
        rolled = rollup(values, steps, points, width=width)
        return Overview(quantity, stream, names, rolled)

    def field_index(self) -> Sequence[Any]:
        return [
            (one.kind, one.stream, one.step, tuple(one.axes.get("layer", ())))
            for one in self.fields
        ]

    def field_titles(self, kind: str, stream: str = "main") -> Sequence[Any]:
        own = [one for one in self.fields if (one.kind, one.stream) == (kind, stream)]
        return list(dict.fromkeys((one.step, _title(one)) for one in own))

    def field(
        self,
        kind: str,
        stream: str = "main",
        *,
        step: int | None = None,
        title: str | None = None,
    ) -> Field | None:
        own = [
            one
            for one in self.fields
            if (one.kind, one.stream) == (kind, stream)
            and (title is None or _title(one) == title)
        ]
        until = [one for one in own if step is None or one.step <= step]
        return (until or own or [None])[-1 if until else 0]

    def facts(self) -> Mapping[str, Facts]:
        return self.known

    def events(self) -> Sequence[Event]:
        return self.told

    def last_step(self, stream: str = "main") -> int | None:
        ends = [one.steps[-1] for (own, _), one in self.found.items() if own == stream]
        return int(max(ends)) if ends else None


def _title(field: Field) -> str:
    return str(field.about.get("title", ""))


def made_up(*series: Series, **rest: Any) -> MadeUp:
    return MadeUp({(one.stream, one.quantity): one for one in series}, **rest)


def series(
    quantity: str,
    values: Any,
    *,
    layers: Sequence[str] = RUN,
    every: int = 1,
    stream: str = "main",
) -> Series:
    rows = np.asarray(values, np.float32).reshape(-1, len(layers))
    steps = np.arange(len(rows), dtype=np.int64) * every
    return Series(quantity, tuple(layers), steps, rows, stream)


def metadata(script: str, *argv: str) -> dict[str, Any]:
    return {
        "created": "2026-02-03T04:15:00+00:00",
        "script": script,
        "argv": list(argv),
        "versions": {"python": "3.11.9", "torch": "2.13.0", "surefoot": "0.1.0"},
    }


# --- a deep sigmoid net whose first layers hear nothing ---------------------------


def sigmoid_net(steps: int = 600, depth: int = 10) -> MadeUp:
    rng = np.random.default_rng(7)
    weights = [f"net.{2 * at}.weight" for at in range(depth)]
    biases = [f"net.{2 * at}.bias" for at in range(depth)]
    names = [name for pair in zip(weights, biases, strict=True) for name in pair]
    depths = np.repeat(np.arange(depth), 2)
    time = np.arange(steps)[:, None]
    grads = 10 ** (
        -0.78 * (depth - 1 - depths)
        - 0.25 * np.tanh(time / 200)
        - 0.35 * (np.arange(2 * depth) % 2)
        + 0.09 * rng.standard_normal((steps, 2 * depth))
    )
    sampled = grads[::10]
    weight = 4.0 + 0.2 * rng.random((1, 2 * depth)) + 0 * sampled
    modules = [f"net.{2 * at + 1}" for at in range(depth - 1)]
    full = np.clip(
        0.12
        + 0.07 * np.arange(depth - 1)
        + 0.03 * rng.random((len(sampled), depth - 1)),
        0,
        1,
    )
    loss = 2.304 + 0.006 * rng.standard_normal(steps) + 0.06 * np.exp(-time[:, 0] / 12)
    facts = Facts(
        model="Sequential",
        optimizer="SGD",
        options={"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False},
        parameters=tuple(
            Parameter(name, name.rpartition(".")[0], 64 * 64 if "w" in name else 64)
            for name in names
        ),
        modules=tuple(
            Module(f"net.{at}", "Sigmoid" if at % 2 else "Linear")
            for at in range(2 * depth - 1)
        ),
    )
    return made_up(
        series("loss", loss),
        series("lr", np.full(steps, 0.1), layers=["group0"]),
        series("step_seconds", 0.0021 + 0.0002 * rng.random(steps)),
        series("grad_norm", grads, layers=names),
        series("weight_norm", weight, layers=names, every=10),
        series("update_norm", 0.1 * sampled, layers=names, every=10),
        series("saturated_share", full, layers=modules, every=10),
        series(
            "metric",
            0.1 + 0.012 * rng.random((steps // 50, 1)),
            layers=["held_out_accuracy"],
            every=50,
        ),
        known={"main": facts},
        meta=metadata("examples/deep_plain_net.py", "--lr", "0.1"),
        told=[
            Event(0, "start", {"script": "examples/deep_plain_net.py", "argv": []}),
            Event(
                90,
                "finding",
                {
                    "signature": "vanishing_gradients",
                    "layer": "net.0.weight",
                    "severity": "critical",
                },
            ),
            Event(300, "note", {"text": "half of the steps done"}),
            Event(steps - 1, "end", {"status": "finished"}),
        ],
    )


def vanishing(layer: str = "net.0.weight") -> Diagnosis:
    return Diagnosis(
        cause="vanishing_gradients",
        about=(
            "Each sigmoid passes on at most a quarter of the gradient, so the first "
            "layers hear almost nothing of the loss and do not learn."
        ),
        layer=layer,
        onset=0,
        confidence=0.93,
        findings=(
            Finding(
                "vanishing_gradients",
                layer,
                0,
                "critical",
                (
                    Evidence(
                        f"grad_norm of {layer} over that of the last layer, "
                        "median of steps 0 to 599",
                        9.4e-8,
                        1e-3,
                        "Glorot & Bengio 2010; bound from benchmarks/depth_profile",
                    ),
                    Evidence(
                        "decay of grad_norm from layer to layer, median",
                        0.166,
                        0.5,
                        "TheDeepChecker, growth and decay ratio 2 / 0.5",
                    ),
                ),
                layers=(layer, "net.0.bias", "net.2.weight", "net.2.bias"),
            ),
            Finding(
                "not_learning",
                "run",
                40,
                "warning",
                (
                    Evidence(
                        "fall of the loss over steps 40 to 599, in units of its noise",
                        0.21,
                        2.0,
                        "benchmarks/plateau",
                    ),
                ),
            ),
        ),
        prescriptions=(
            Prescription(
                "replace_activation",
                (Change("activation", "set", "ReLU"),),
                "gradient norms of all layers within a factor of 10 of each other",
                "Glorot, Bordes & Bengio 2011, Deep Sparse Rectifier Neural Networks",
                "Use ReLU in place of Sigmoid in net.1 to net.17, with He init.",
            ),
            Prescription(
                "normalise_between_layers",
                (Change("norm", "insert", "LayerNorm"),),
                "activations with unit spread at every depth, hence usable gradients",
                "Ba, Kiros & Hinton 2016, Layer Normalization",
                "Put a LayerNorm before each activation.",
            ),
            Prescription(
                "residual_connections",
                (),
                "a path along which the gradient is not multiplied at all",
                "He et al. 2016, Identity Mappings in Deep Residual Networks",
                "Add the input of each block to its output.",
            ),
        ),
    )


def tried(held: bool = True) -> Verdict:
    rng = np.random.default_rng(3)
    baseline = tuple(float(x) for x in 0.104 + 0.02 * rng.random(5))
    gain = 0.84 if held else 0.004
    treated = tuple(float(x) for x in np.array(baseline) + gain + 0.03 * rng.random(5))
    effect = float(np.mean(np.array(treated) - np.array(baseline)))
    interval = (effect - 0.021, effect + 0.021) if held else (-0.011, 0.049)
    return Verdict(
        prescription=vanishing().prescriptions[0 if held else 1],
        metric="held_out_accuracy",
        seeds=(0, 1, 2, 3, 4),
        baseline=baseline,
        treated=treated,
        effect=effect,
        interval=interval,
        held=held,
    )


# --- a transformer that meets a spike and, later, a NaN ----------------------------


def spiking_transformer(
    steps: int = 6000, blocks: int = 12, spike: int = 3417
) -> MadeUp:
    rng = np.random.default_rng(11)
    kinds = ("ln_1", "attn.qkv", "attn.proj", "ln_2", "mlp.up", "mlp.down")
    names = ["wte.weight", "wpe.weight"] + [
        f"blocks.{block}.{kind}.weight" for block in range(blocks) for kind in kinds
    ]
    time = np.arange(steps)
    count = len(names)
    base = -0.7 - 0.35 * np.log10(1 + time / 60)[:, None]
    wave = 0.25 * np.sin(np.arange(count) * 1.9) + 0.22 * np.cos(np.arange(count) / 9)
    logs = base + wave + 0.08 * rng.standard_normal((steps, count))
    source = names.index("blocks.7.attn.qkv.weight")
    for at in range(count):
        lag = abs(at - source) * 2
        bump = np.exp(-np.clip(time - spike - lag, 0, None) / 70) * (
            time >= spike + lag
        )
        logs[:, at] += 2.1 * bump * math.exp(-abs(at - source) / 22)
    loss = 2.1 + 5.2 * np.exp(-time / 500) + 0.05 * rng.standard_normal(steps)
    loss += 3.4 * np.exp(-np.clip(time - spike, 0, None) / 60) * (time >= spike)
    grads = 10**logs
    warm = (
        np.minimum(time / 400, 1) * 6e-4 * (0.55 + 0.45 * np.cos(np.pi * time / steps))
    )
    return made_up(
        series("loss", loss),
        series("lr", np.stack([warm, warm / 10], 1), layers=["group0", "group1"]),
        series("grad_norm", grads, layers=names),
        series("weight_norm", 12 + 0 * grads[::10], layers=names, every=10),
        series("update_norm", 0.02 * grads[::10], layers=names, every=10),
        series("second_moment_ratio", grads[::10] ** 0.7, layers=names, every=10),
        known={
            "main": Facts(
                model="GPT",
                optimizer="AdamW",
                options={"lr": 6e-4, "betas": "(0.9, 0.999)", "weight_decay": 0.1},
                parameters=tuple(Parameter(n, n[:-7], 196_608) for n in names),
                modules=tuple(Module(n[:-7], "Linear") for n in names),
                unseen=("torch.compile hid the activations of blocks.0.",),
            )
        },
        told=[
            Event(0, "start", {"script": "train_gpt.py", "argv": ["--width", "384"]}),
            Event(1200, "change", {"knob": "lr", "op": "scale", "amount": 0.5,
                                   "before": 6e-4, "after": 3e-4, "why": "asked for"}),
            Event(spike, "finding", {"signature": "loss_spike", "layer": "run"}),
            Event(spike + 4, "skipped_step", {"reason": "gradient norm above the cap"}),
            Event(5100, "nonfinite", {"module": "blocks.7.attn", "operation": "softmax",
                                      "line": "model.py:88", "direction": "forward",
                                      "tensor": "output", "certain": True}),
            Event(steps - 1, "end", {"status": "interrupted"}),
        ],
        meta=metadata("train_gpt.py", "--width", "384"),
        path=Path("train_gpt-20260203-101112-c0de.surefoot"),
        end="interrupted",
    )  # fmt: skip


def spiked(spike: int = 3417) -> list[Diagnosis]:
    layer = "blocks.7.attn.qkv.weight"
    seen = Finding(
        "loss_spike",
        "run",
        spike,
        "critical",
        (
            Evidence(
                f"loss at step {spike}, in robust standard deviations of 128 steps",
                61.0,
                6.0,
                "OLMo 2024: 6 deviations over 128 steps",
            ),
        ),
    )
    first = Finding(
        "exploding_gradients",
        layer,
        spike,
        "critical",
        (
            Evidence(
                f"grad_norm of {layer}, step {spike}, against its own past",
                118.0,
                20.0,
                "benchmarks/healthy_runs, 99.9th percentile",
            ),
        ),
        layers=(layer,),
    )
    remedy = Prescription(
        "lower_beta2",
        (Change("beta2", "set", 0.95),),
        "RMS(g²/v) below 2 in all layers, and no spike over the next 1,000 steps",
        "Wortsman et al. 2023, Stable and low-precision training",
    )
    clip = Prescription(
        "clip_gradients",
        (Change("clip_norm", "set", 1.0), Change("lr", "scale", 0.5, (layer,))),
        "a single batch cannot move the weights far",
        "Pascanu, Mikolov & Bengio 2013",
        "Clip the global gradient norm at 1.0, the 90th percentile of this run.",
    )
    return [
        Diagnosis(
            "stale_second_moment",
            "AdamW's second moment was too slow for a gradient that grew quickly, so "
            "one update was far too large.",
            layer, spike, 0.81, (first, seen), (remedy, clip),
        ),
        Diagnosis(
            "bad_batch", "One batch stands out from all others.", "run", spike, 0.34,
            (seen,), (), confirmed=False,
        ),
    ]  # fmt: skip


# --- fixtures -------------------------------------------------------------------


@pytest.fixture
def sigmoid_run() -> MadeUp:
    return sigmoid_net()


@pytest.fixture
def transformer_run() -> MadeUp:
    return spiking_transformer()


@pytest.fixture(name="vanishing")
def vanishing_diagnosis() -> Diagnosis:
    return vanishing()


@pytest.fixture
def spike_diagnoses() -> list[Diagnosis]:
    return spiked()


@pytest.fixture
def verdict() -> Verdict:
    return tried()


@pytest.fixture
def failed_verdict() -> Verdict:
    return tried(held=False)


@pytest.fixture
def a_series() -> Callable[..., Series]:
    return series


@pytest.fixture
def a_run() -> Callable[..., MadeUp]:
    return made_up
