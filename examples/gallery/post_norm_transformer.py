"""A deep post-norm transformer that does not start to learn, and pre-norm that does.

The digits as sequences of their rows, the same rate from the first step for both:

    python examples/gallery/post_norm_transformer.py --to post_norm_transformer.png
"""

import sys
from pathlib import Path

import torch
from beside import Outcome, Pair, compare
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.append(str(Path(__file__).parent.parent))
from digits import load

WIDTH, DEPTH, STEPS, EVERY = 32, 12, 50, 5


class Transformer(nn.Module):
    def __init__(self, *, norm_first: bool) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 10)
        self.places = nn.Parameter(0.1 * torch.randn(8, WIDTH))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    WIDTH, 2, 2 * WIDTH, 0.0, batch_first=True, norm_first=norm_first
                )
                for _ in range(DEPTH)
            )
        )
        self.norm = nn.LayerNorm(WIDTH) if norm_first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.unflatten(1, (8, 8))) + self.places
        return self.out(self.norm(self.blocks(x)).mean(1))


def run(seed: int, *, norm_first: bool) -> Outcome:
    torch.manual_seed(seed)
    x, y, held, labels = load()
    model = Transformer(norm_first=norm_first)
    adam = torch.optim.Adam(model.parameters(), lr=7e-3)
    curve = []
    for step in range(STEPS):
        rows = torch.randint(len(x), (32,))
        loss = cross_entropy(model(x[rows]), y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % EVERY == EVERY - 1:
            with torch.no_grad():
                right = model(held[:180]).argmax(1) == labels[:180]
            curve.append(float(right.float().mean()))
    return Outcome(curve[-1], curve)


compare(
    Pair(
        before="post-norm",
        after="pre-norm",
        metric=f"accuracy after {STEPS} steps, {DEPTH} blocks",
        curve="accuracy",
    ),
    before=lambda seed: run(seed, norm_first=False),
    after=lambda seed: run(seed, norm_first=True),
    to="post_norm_transformer.png",
)
