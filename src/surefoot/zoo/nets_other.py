"""Networks of other kinds, for healthy runs: sizes come in, modules go out."""

from __future__ import annotations

import math

import torch
from torch import nn

from surefoot.zoo.nets import mlp


class Rows(nn.Module):
    """Classifies a digit as a sequence of its rows."""

    def __init__(self, core: nn.Module, width: int) -> None:
        super().__init__()
        self.core, self.head = core, nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output of a batch."""
        out = self.core(x.view(-1, 8, 8))
        out = out[0] if isinstance(out, tuple) else out
        return self.head(out[:, -1])


class Denoiser(nn.Module):
    """Finds the noise in a noisy digit."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(128, 3, nn.SiLU, sizes=(65, 64))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Output of a batch."""
        return self.body(torch.cat([x, t], 1))


class Coupling(nn.Module):
    """Affine couplings of a plane; gives the negative log-likelihood."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp(32, 2, sizes=(1, 2)) for _ in range(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output of a batch."""
        logdet = torch.zeros(len(x))
        for i, net in enumerate(self.nets):
            a, b = (x[:, :1], x[:, 1:]) if i % 2 else (x[:, 1:], x[:, :1])
            s, t = net(a).chunk(2, 1)
            b = b * s.tanh().exp() + t
            logdet = logdet + s.tanh()[:, 0]
            x = torch.cat([a, b], 1) if i % 2 else torch.cat([b, a], 1)
        return (0.5 * (x**2).sum(1) - logdet).mean()


class Experts(nn.Module):
    """Eight experts, of which a gate picks one."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 8)
        self.experts = nn.ModuleList(mlp(32, 1, sizes=(64, 10)) for _ in range(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output of a batch."""
        top = self.gate(x).softmax(1)
        best, index = top.max(1)
        out = torch.stack([expert(x) for expert in self.experts], 1)
        return best[:, None] * out[torch.arange(len(x)), index] * 2


class Factors(nn.Module):
    """Products of two embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(300, 16), nn.Embedding(200, 16)
        nn.init.normal_(self.users.weight, std=0.1)
        nn.init.normal_(self.items.weight, std=0.1)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """Output of a batch."""
        return (self.users(pairs[:, 0]) * self.items(pairs[:, 1])).sum(1)


class Sine(nn.Module):
    """A linear layer and a sine."""

    def __init__(self, inputs: int, outputs: int, omega: float) -> None:
        super().__init__()
        self.linear, self.omega = nn.Linear(inputs, outputs), omega
        bound = (
            1 / inputs if omega > 1 and inputs < 3 else math.sqrt(6 / inputs) / omega
        )
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output of a batch."""
        return torch.sin(self.omega * self.linear(x))


class LowRank(nn.Module):
    """A frozen layer plus a product of two thin ones."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner.requires_grad_(False)
        self.down = nn.Linear(inner.in_features, 4, bias=False)
        self.up = nn.Linear(4, inner.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output of a batch."""
        return self.inner(x) + self.up(self.down(x))


class Swap(nn.Module):
    """Swaps the last two dimensions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output of a batch."""
        return x.transpose(1, 2)


class Heads(nn.Module):
    """One body, and a head each for the digit and for whether it is even."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(64, 2, sizes=(64, 32))
        self.number, self.parity = nn.Linear(32, 10), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the digit, logit of its parity."""
        z = self.body(x).relu()
        return self.number(z), self.parity(z)[:, 0]


class Vae(nn.Module):
    """A variational autoencoder of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = mlp(64, 2, sizes=(64, 16))
        self.decoder = mlp(64, 2, sizes=(8, 64))

    def forward(
        self, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Digits again, and mean and log-variance of their codes."""
        mean, log_var = self.encoder(x).chunk(2, -1)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        return self.decoder(z), mean, log_var
