"""`python tools/clothes.py FASHION.npz`: pictures come in, smaller ones go out.

The source holds `x_train [n, 28, 28]`, `y_train`, `x_test` and `y_test` of
Fashion-MNIST, 0 to 255. The first 5,000 and 1,000 are averaged to 16 x 16 pixels of 64
shades, which is 0.7 MB and enough for what the benchmarks train.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

TRAINED, HELD_OUT, SIDE, SHADES = 5_000, 1_000, 16, 64
TARGET = Path(__file__).parent.parent / "benchmarks" / "data" / "clothes.npz"


def smaller(pictures: np.ndarray) -> np.ndarray:
    """Pictures `[n, 28, 28]` of 256 shades as `[n, 16, 16]` of 64."""
    whole = torch.tensor(pictures).float()[:, None] / 255
    fewer = functional.adaptive_avg_pool2d(whole, SIDE)[:, 0]
    return (fewer * (SHADES - 1)).round().numpy().astype(np.uint8)


def main() -> None:
    """Write `benchmarks/data/clothes.npz`."""
    with np.load(sys.argv[1], allow_pickle=False) as source:
        np.savez_compressed(
            TARGET,
            x=smaller(source["x_train"][:TRAINED]),
            y=source["y_train"][:TRAINED].astype(np.uint8),
            x_held_out=smaller(source["x_test"][:HELD_OUT]),
            y_held_out=source["y_test"][:HELD_OUT].astype(np.uint8),
        )


if __name__ == "__main__":
    main()
