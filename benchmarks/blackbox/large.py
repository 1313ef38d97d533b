"""The share of its time that a network with large states and short steps pays."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.tables import measured
from surefoot.blackbox.box import BlackBox
from surefoot.blackbox.options import BlackBoxOptions

WIDTH = 1_536


def report(steps: int) -> str:
    """The share by the box's own meter, past its first states; and what it kept."""
    torch.manual_seed(0)
    layers = [nn.Linear(WIDTH, WIDTH) for _ in range(4)]
    model = nn.Sequential(*[part for one in layers for part in (one, nn.ReLU())])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    with tempfile.TemporaryDirectory() as folder:
        box = BlackBox(
            BlackBoxOptions("1GB"),
            Path(folder) / "run",
            tell=lambda event: None,
            norms=lambda stream: None,
            about={},
        )
        box.watch({"model": model}, {"main": optimizer})
        start, before = time.thread_time(), 0.0
        warm = min(20, steps // 2)
        for step in range(steps):
            x = torch.randn(256, WIDTH)
            loss = (model(x) - x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            box.told([loss], x)
            if step == warm:
                start, before = time.thread_time(), box.meter.own_seconds
        own = box.meter.own_seconds - before
        spent = time.thread_time() - start - own
        share = 100 * own / spent
        states = [one.step for one in box.ring.states]
        size = box.ring.states[-1].nbytes / 1e6
        whole = box.log.whole_since()
        box.close()
    count = sum(p.numel() for p in model.parameters()) / 1e6
    bare = 1e3 * spent / (steps - warm - 1)
    return (
        f"\nMLP, {count:.1f} M parameters, AdamW, batch 256: a state has {size:.0f} "
        f"MB, a bare step takes {bare:.0f} ms of CPU\n"
        f"share of a step, steady: {measured(share, 1.0, '%')}\n"
        f"states kept after {steps} steps, from before: {states}; all batches since "
        f"{whole}"
    )
