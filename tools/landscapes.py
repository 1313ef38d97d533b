"""The pictures of docs/landscapes.md: nothing comes in, images in docs/images/ go out.

python tools/landscapes.py     # or: make screenshots
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from surefoot.landscape.descent import OPTIMIZERS, descend, race
from surefoot.landscape.diagram_block import block_diagram
from surefoot.landscape.diagram_dropout import dropout_diagram
from surefoot.landscape.diagram_norms import norm_diagram
from surefoot.landscape.draw import both
from surefoot.landscape.encode import palette
from surefoot.landscape.film import FilmOptions, film
from surefoot.landscape.functions import DOUBLE_WELL
from surefoot.landscape.gallery import gallery
from surefoot.landscape.style import EXACT, save

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
WIDTH = 1000
"""Pixels: what the page shows, and no more."""

EXAMPLES = ("skip_connections", "weight_decay")


def main() -> None:
    """Draw all pictures."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    _write(gallery(), "gallery")
    _write(_two_wells(), "two-wells")
    _film(IMAGES / "landscape-race.gif")
    net, images = _network()
    _write(block_diagram(net, images), "diagram-block", width=560)
    _write(norm_diagram(net, images), "diagram-norms")
    _write(dropout_diagram(_mlp(), torch.randn(4, 8)), "diagram-dropout", width=760)
    for name in EXAMPLES:
        _example(name)


def _two_wells() -> Figure:
    start = descend(DOUBLE_WELL, OPTIMIZERS["SGD"], start=(1.5, 1.2), steps=80)
    field = DOUBLE_WELL.field()
    return both(replace(field, about={**field.about, "path": start.points.tolist()}))


def _film(to: Path) -> None:
    chosen = {name: OPTIMIZERS[name] for name in ("SGD", "Momentum", "RMSprop", "Adam")}
    descents = race(DOUBLE_WELL, chosen, steps=60)
    small = FilmOptions(frames=30, seconds=6, dpi=72, text=DOUBLE_WELL.lesson)
    film(DOUBLE_WELL.field(), descents, to=to, options=small)


class Residual(nn.Module):
    """A block as in a ResNet."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        convolution = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)
        self.conv1, self.norm1 = convolution(channels, out), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = convolution(out, out), nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the branch to what came in."""
        branch = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(branch)) + self.shortcut(x))


def _network() -> tuple[nn.Module, torch.Tensor]:
    net = nn.Sequential(
        Residual(3, 16), nn.GroupNorm(2, 16), nn.Flatten(2), nn.LayerNorm(64)
    )
    return net, torch.randn(16, 3, 8, 8)


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 24), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(24, 12), nn.ReLU(), nn.Dropout(0.25), nn.Linear(12, 4),
    )  # fmt: skip


def _example(name: str) -> None:
    with TemporaryDirectory() as place:
        drawn = Path(place) / f"{name}.png"
        script = ROOT / "examples" / f"{name}.py"
        subprocess.run([sys.executable, script, "--to", drawn], check=True)
        shrink(drawn, IMAGES / f"{name.replace('_', '-')}.png", width=WIDTH)


def _write(figure: Figure, name: str, *, width: int = WIDTH) -> None:
    with TemporaryDirectory() as place:
        shrink(save(figure, Path(place) / "a.png"), IMAGES / f"{name}.png", width=width)


def shrink(drawn: Path, to: Path, *, width: int) -> None:
    """Fewer pixels and colours, so that a page of pictures loads at once."""
    with Image.open(drawn) as image:
        height = round(image.height * width / image.width)
        small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        colours = palette([small], EXACT)
        flat = small.quantize(palette=colours, dither=Image.Dither.NONE)
        flat.save(to, optimize=True)


if __name__ == "__main__":
    main()
