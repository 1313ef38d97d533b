"""Training loops of every kind we support, each on tiny models and random data.

A loop is a function of one argument, `step`, a function called as
`step(model, optimizer)` once before training, whose result is called with the loss
after each update (None: watch nothing). It returns everything that training changed.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Start = Callable[[Any, Any], Callable[[Any], None]]
STEPS = 25


def data(seed: int = 0, rows: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(rows, 1, 8, 8, generator=generator)
    return images, torch.randint(10, (rows,), generator=generator)


def state(models: Any, optimizers: Any, losses: list[torch.Tensor]) -> list[Any]:
    """Everything that a run leaves behind, flat."""
    found: list[Any] = [loss.detach().clone() for loss in losses]
    for model in models:
        found += [value.clone() for value in model.state_dict().values()]
        found += [p.grad.clone() for p in model.parameters() if p.grad is not None]
    for optimizer in optimizers:
        for own in optimizer.state.values():
            found += [v for v in own.values() if isinstance(v, torch.Tensor)]
    found += [torch.get_rng_state(), random.getstate()]
    found += [np.random.get_state()[1].tolist()]
    return found


class Cnn(nn.Module):
    """Convolutions, batch norm, dropout, an activation in place and one by function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(4 * 16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.norm(self.conv1(images)))
        hidden = functional.relu(hidden + self.conv2(hidden))
        hidden = functional.max_pool2d(hidden, 2)
        return self.head(self.drop(hidden.flatten(1)))


class Gpt(nn.Module):
    """Token and position embeddings, two pre-norm blocks, a tied head, a dict out."""

    def __init__(self, *, recompute: bool = False) -> None:
        super().__init__()
        self.tokens = nn.Embedding(20, 16)
        self.places = nn.Embedding(8, 16)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                16, 2, 32, 0.1, norm_first=True, batch_first=True
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.tokens.weight
        self.recompute = recompute

    def forward(self, tokens: torch.Tensor) -> dict[str, Any]:
        hidden = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            if self.recompute:
                hidden = checkpoint(block, hidden, use_reentrant=False)
            else:
                hidden = block(hidden)
        return {"logits": self.head(self.norm(hidden)), "hidden": (hidden,)}


class Lstm(nn.Module):
    """An LSTM (its module returns tuples), and a layer that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 12, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(12, 10)
        self.unused = nn.Linear(3, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.rnn(rows)
        return self.head(hidden[:, -1])


def seeded() -> None:
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)


def plain(
    start: Start, make_model: Any = Cnn, make_optimizer: Any = None, **options: Any
) -> list[Any]:
    """Forward, backward, step, with whatever model and optimizer."""
    seeded()
    model = make_model()
    optimizer = (make_optimizer or _sgd)(model.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    tell = start(model, optimizer)
    losses = []
    for step in range(STEPS):
        images, labels = data(step)
        if options.get("autocast"):
            with torch.autocast("cpu", torch.bfloat16):
                loss = functional.cross_entropy(model(images), labels)
        else:
            loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        tell(loss)
        losses.append(loss)
        random.random()
    return state([model], [optimizer], losses)


def _sgd(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(weights, lr=0.05, momentum=0.9)


def _fused(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=1e-3, fused=True)


def _adam(weights: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(weights, lr=1e-3)


def _lstm_input(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1, 2)


class _Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Lstm()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(_lstm_input(images))


def cnn(start: Start) -> list[Any]:
    return plain(start)


def amp_bf16(start: Start) -> list[Any]:
    return plain(start, Cnn, _adam, autocast=True)


def fused_adamw(start: Start) -> list[Any]:
    return plain(start, Cnn, _fused)


def lstm(start: Start) -> list[Any]:
    return plain(start, _Rows, _adam)


def compiled(start: Start) -> list[Any]:
    torch.compiler.reset()
    return plain(start, lambda: torch.compile(Cnn(), backend="eager"), _adam)


def double_precision(start: Start) -> list[Any]:
    return plain(start, lambda: _Double(Cnn().double()), _adam)


class _Double(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(images.double())


def _language_model(start: Start, *, recompute: bool, clip: bool) -> list[Any]:
    seeded()
    model = Gpt(recompute=recompute)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1]},
        {
            "params": [p for p in model.parameters() if p.dim() == 1],
            "weight_decay": 0.0,
        },
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    tell = start(model, optimizer)
    losses = []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        tokens = torch.randint(20, (4, 8), generator=generator)
        logits = model(tokens)["logits"]
        loss = functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        tell(loss)
        losses.append(loss)
    return state([model], [optimizer], losses)


def gpt_tied(start: Start) -> list[Any]:
    return _language_model(start, recompute=False, clip=True)


def gpt_checkpointing(start: Start) -> list[Any]:
    return _language_model(start, recompute=True, clip=False)


def accumulation(start: Start) -> list[Any]:
    """Four micro-batches an update, evaluation in between."""
    seeded()
    model = Cnn()
    optimizer = _sgd(model.parameters())
    tell = start(model, optimizer)
    losses = []
    for step in range(4 * STEPS):
        images, labels = data(step, rows=4)
        loss = functional.cross_entropy(model(images), labels) / 4
        loss.backward()
        if step % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
        tell(loss)
        losses.append(loss)
        if step % 20 == 0:
            model.eval()
            with torch.no_grad():
                model(images)
            model.train()
    return state([model], [optimizer], losses)


def lbfgs(start: Start) -> list[Any]:
    """An optimizer that evaluates the loss itself, several times a step."""
    seeded()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    tell = start(model, optimizer)
    images, labels = data()
    losses = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    for _ in range(STEPS):
        loss = optimizer.step(closure)
        tell(loss)
        losses.append(loss)
    return state([model], [optimizer], losses)


def gan(start: Start) -> list[Any]:
    """Two models, two optimizers, two losses."""
    seeded()
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 64))
    critic = nn.Sequential(nn.Linear(64, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    optimizers = {
        "generator": torch.optim.Adam(generator.parameters(), lr=1e-3),
        "critic": torch.optim.Adam(critic.parameters(), lr=1e-3),
    }
    tell = start({"generator": generator, "critic": critic}, optimizers)
    losses = []
    one = torch.ones(16, 1)
    for step in range(STEPS):
        real = data(step)[0].flatten(1)
        fake = generator(torch.randn(16, 4))
        scores = critic(real), critic(fake.detach())
        critic_loss = _score(scores[0], one) + _score(scores[1], 0 * one)
        optimizers["critic"].zero_grad()
        critic_loss.backward()
        optimizers["critic"].step()
        generator_loss = _score(critic(fake), one)
        optimizers["generator"].zero_grad()
        generator_loss.backward()
        optimizers["generator"].step()
        tell({"generator": generator_loss, "critic": critic_loss})
        losses += [generator_loss, critic_loss]
    return state([generator, critic], optimizers.values(), losses)


def _score(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target)


def _scaled(start: Start, make_optimizer: Any) -> list[Any]:
    """A GradScaler that starts far too high, so that steps are skipped."""
    seeded()
    model = Cnn()
    optimizer = make_optimizer(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**124, growth_interval=5)
    tell = start(model, optimizer)
    losses = []
    for step in range(STEPS):
        images, labels = data(step)
        loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        tell(loss)
        losses.append(loss)
    return [*state([model], [optimizer], losses), scaler.get_scale()]


def scaler(start: Start) -> list[Any]:
    return _scaled(start, _adam)


def scaler_fused(start: Start) -> list[Any]:
    return _scaled(start, _fused)


def sparse_embedding(start: Start) -> list[Any]:
    """Sparse gradients."""
    seeded()
    model = nn.Sequential(
        nn.Embedding(30, 8, sparse=True), nn.Flatten(), nn.Linear(32, 3)
    )
    sparse = torch.optim.SGD(model.parameters(), lr=0.1)
    tell = start(model, sparse)
    losses = []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        tokens = torch.randint(30, (8, 4), generator=generator)
        loss = functional.cross_entropy(model(tokens), tokens[:, 0] % 3)
        sparse.zero_grad()
        loss.backward()
        sparse.step()
        tell(loss)
        losses.append(loss)
    return state([model], [sparse], losses)


def per_sample(start: Start) -> list[Any]:
    """Gradients of each row by `torch.func`, set by hand."""
    seeded()
    model = nn.Sequential(
        nn.Flatten(0), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10)
    )
    optimizer = _adam(model.parameters())
    tell = start(model, optimizer)
    losses = []

    def loss_of(weights: Any, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(functional_call(model, weights, image), label)

    for step in range(STEPS):
        images, labels = data(step)
        weights = dict(model.named_parameters())
        rows, loss = vmap(grad_and_value(loss_of), (None, 0, 0))(
            weights, images, labels
        )
        for name, weight in weights.items():
            weight.grad = rows[name].detach().mean(0)
        optimizer.step()
        tell(loss.detach().mean())
        losses.append(loss.detach().mean())
    return state([model], [optimizer], losses)


def traced(start: Start) -> list[Any]:
    """A part of the model is TorchScript."""
    return plain(start, lambda: nn.Sequential(_script(nn.ReLU()), Cnn()))


def _script(module: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(module, torch.ones(2, 1, 8, 8))


ALL = (
    cnn,
    gpt_tied,
    lstm,
    gan,
    amp_bf16,
    accumulation,
    lbfgs,
    fused_adamw,
    compiled,
    double_precision,
    gpt_checkpointing,
    scaler,
    scaler_fused,
    sparse_embedding,
    per_sample,
    traced,
)
