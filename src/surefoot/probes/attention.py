"""Attention: queries, keys or logits of a few rows come in, size and entropy go out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from surefoot.nn.flow.attention import row_entropy
from surefoot.types import Moment, Reading

MOST_HEADS = 8
"""Pairs of example and head that are looked at in one call."""
MOST_QUERIES = 8
MASKED = -9_000.0
"""Logits below count as masked: BERT adds -10,000, others -1e9 or the lowest number."""
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Rows:
    """Statistics of some rows of an attention, each of shape `[]`, float32.

    `entropy` is NaN where no row may see two keys.
    """

    largest: torch.Tensor
    entropy: torch.Tensor


def attention_statistics(moment: Moment) -> list[Reading]:
    """Largest logit and mean entropy of sampled rows, by module with an attention.

    Entropy over ln of the keys that a row may see: 1 for uniform, 0 for one key
    (entropy collapse: Zhai et al. 2023, arXiv:2303.06296; growing logits: Dehghani et
    al. 2023, arXiv:2302.05442).
    """
    rows: Mapping[str, Rows] | None = moment.seen.get("attention")
    if not rows:
        return []
    names = tuple(rows)
    home = rows[names[0]].largest.device
    largest = torch.stack([one.largest.to(home) for one in rows.values()])
    entropy = torch.stack([one.entropy.to(home) for one in rows.values()])
    return [
        Reading(moment.step, "attention_logit_absmax", names, largest),
        Reading(moment.step, "attention_entropy", names, entropy),
    ]


def statistics(logits: torch.Tensor) -> Rows:
    """Statistics of logits of shape `[..., keys]`; what is masked is -inf.

    Large negative numbers count as masked too, as many models use them.

    >>> rows = statistics(torch.zeros(1, 64))
    >>> round(rows.entropy.item(), 6), rows.largest.item()
    (1.0, 0.0)
    """
    logits = logits.float()
    seen = logits > MASKED
    keys = seen.sum(-1)
    largest = torch.where(seen, logits.abs(), 0.0).amax()
    entropy = row_entropy(logits, seen) / keys.clamp_min(2).log()
    counted = keys > 1
    mean = torch.where(counted, entropy, 0.0).sum() / counted.sum()
    return Rows(largest, mean)


def sampled_logits(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """Logits of a few rows of `scaled_dot_product_attention`, what is masked -inf.

    `query` has shape `[..., queries, width]`, `key` `[..., keys, width]`, with fewer
    heads where groups of queries share them. Shape `[heads, rows, keys]`, float32.
    """
    lead, length = query.shape[:-2], query.shape[-2]
    heads = _places(lead.numel(), MOST_HEADS, query.device)
    rows = _places(length, MOST_QUERIES, query.device)
    place = torch.unravel_index(heads, lead) if lead else ()
    own = tuple(
        one // (size // key.shape[i]) if size != key.shape[i] else one
        for i, (one, size) in enumerate(zip(place, lead, strict=True))
    )
    some = query[(*(one[:, None] for one in place), rows)].float()
    if not lead:
        some = some[None]
    keys = (key[own] if lead else key[None]).float()
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    logits = (some @ keys.transpose(-2, -1)) * factor
    if causal:
        seen = torch.arange(key.shape[-2], device=rows.device) <= rows[:, None]
        logits = logits.masked_fill(~seen, -torch.inf)
    if mask is not None:
        shape = (*lead, length, key.shape[-2])
        part = mask.detach().expand(shape)
        part = part[(*(one[:, None] for one in place), rows)]
        if mask.dtype == torch.bool:
            logits = logits.masked_fill(~part, -torch.inf)
        else:
            logits = logits + part.float()
    return logits


def sampled_rows(logits: torch.Tensor) -> torch.Tensor:
    """A few rows of logits of shape `[..., queries, keys]`: `[rows, keys]`."""
    lead = logits.shape[:-1]
    rows = _places(lead.numel(), MOST_HEADS * MOST_QUERIES, logits.device)
    return logits[tuple(torch.unravel_index(rows, lead))]


@lru_cache(maxsize=64)
def _places(count: int, wanted: int, device: torch.device) -> torch.Tensor:
    """At most `wanted` of `count` places, the last among them, at uneven distances."""
    if wanted >= count:
        return torch.arange(count, device=device)
    part = count / wanted
    place = np.arange(wanted)
    starts = count - 1 - (place * part + (place * _GOLDEN % 1) * (part - 1))
    return torch.from_numpy(starts.astype(np.int64)[::-1].copy()).to(device)
