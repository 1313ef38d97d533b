"""Small transformers of text and pictures: sizes come in, modules go out."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


class Attention(nn.Module):
    """Self-attention; `gain` multiplies its logits."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal, self.gain = heads, causal, 1.0
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of `[batch, length, width]`, the same shape."""
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self.gain * q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    """Attention and a fully connected part, normalised before or after (`post`)."""

    def __init__(self, width: int, *, causal: bool, post: bool = False) -> None:
        super().__init__()
        self.post = post
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, 4, causal=causal)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of `[batch, length, width]`, the same shape."""
        if self.post:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.feed(x))
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class GPT(nn.Module):
    """Next characters by causal attention."""

    def __init__(
        self, vocabulary: int, width: int, *, blocks: int, length: int = 32,
        post: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        parts = [Block(width, causal=True, post=post) for _ in range(blocks)]
        self.blocks = nn.Sequential(*parts)
        self.norm = nn.Identity() if post else nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        nn.init.normal_(self.embed.weight, std=0.5 if post else 0.02)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Logits `[batch, length, vocabulary]` of codes `[batch, length]`."""
        x = self.embed(codes) + self.place[: codes.shape[1]]
        return self.head(self.norm(self.blocks(x)))


class ViT(nn.Module):
    """Digits by attention over their sixteen patches."""

    def __init__(self, width: int, blocks: int, *, post: bool = False) -> None:
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.place = nn.Parameter(0.02 * torch.randn(16, width))
        parts = [Block(width, causal=False, post=post) for _ in range(blocks)]
        self.blocks = nn.Sequential(*parts)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[batch, 10]` of pictures `[batch, 64]`."""
        p = x.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 16, 4)
        return self.head(self.norm(self.blocks(self.embed(p) + self.place)).mean(1))
