"""A symbol is to be remembered over fifty steps of noise.

A plain LSTM forgets half of its memory at each step as it starts; one with layer norm
and forget gates that start for that length keeps it:

    python examples/gallery/long_memory.py --to long_memory.png
"""

import torch
from beside import Outcome, Pair, compare
from torch import nn
from torch.nn import functional

from surefoot.nn.init import chrono_init_
from surefoot.nn.norm import LayerNormLSTM

SYMBOLS, STEPS, HIDDEN, BATCH = 4, 50, 24, 32
UPDATES, EVERY = 80, 5


def draw(count: int, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences `[steps, count, symbols + 1]`: a symbol, then noise without symbols."""
    asked = torch.randint(SYMBOLS, (count,), generator=draws)
    noise = torch.randn(STEPS, count, SYMBOLS, generator=draws)
    noise[0] = functional.one_hot(asked, SYMBOLS)
    marked = torch.zeros(STEPS, count, 1)
    marked[0] = 1.0
    return torch.cat([noise, marked], -1), asked


def trained(memory: nn.Module, seed: int) -> Outcome:
    """Train a memory and a read-out of its last state; accuracy on unseen sequences."""
    draws = torch.Generator().manual_seed(seed)
    unseen, answers = draw(256, torch.Generator().manual_seed(1_000 + seed))
    read = nn.Linear(HIDDEN, SYMBOLS)
    adam = torch.optim.Adam([*memory.parameters(), *read.parameters()], lr=0.01)
    curve: list[float] = []
    for update in range(UPDATES):
        sequences, asked = draw(BATCH, draws)
        output, _ = memory(sequences)
        loss = functional.cross_entropy(read(output[-1]), asked)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(memory.parameters(), 1.0)
        adam.step()
        if (update + 1) % EVERY == 0:
            with torch.no_grad():
                right = read(memory(unseen)[0][-1]).argmax(1) == answers
            curve.append(right.float().mean().item())
    return Outcome(curve[-1], curve)


def plain(seed: int) -> Outcome:
    """torch's LSTM as it comes."""
    torch.manual_seed(seed)
    return trained(nn.LSTM(SYMBOLS + 1, HIDDEN), seed)


def normalised(seed: int) -> Outcome:
    """Layer norm inside, and biases drawn for memories that outlast the sequence."""
    torch.manual_seed(seed)
    memory = LayerNormLSTM(SYMBOLS + 1, HIDDEN)
    chrono_init_(memory, 4 * STEPS)
    return trained(memory, seed)


compare(
    Pair(
        "nn.LSTM",
        "LayerNormLSTM, chrono init",
        "accuracy on unseen sequences",
        "accuracy",
    ),
    plain,
    normalised,
    to="long_memory.png",
)
