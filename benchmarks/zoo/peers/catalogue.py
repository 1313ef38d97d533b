"""The tools that are compared: nothing comes in, one visible tuple goes out."""

from __future__ import annotations

from benchmarks.zoo.peers import (
    arc,
    dlcheck,
    neuraldbg,
    ours,
    pulsegrad,
    rules,
    sherlorch,
    stabilityguard,
    torch_audit,
    torchmortem,
    torchtest2,
    trainscope,
    traintools,
)
from benchmarks.zoo.peers.alarm import Peer

ALL: tuple[Peer, ...] = (
    ours.PEER,
    dlcheck.PEER,
    traintools.PEER,
    torchmortem.PEER,
    neuraldbg.PEER,
    torch_audit.PEER,
    pulsegrad.PEER,
    trainscope.PEER,
    torchtest2.PEER,
    sherlorch.PEER,
    arc.PEER,
    stabilityguard.PEER,
    rules.LIGHTNING,
    rules.SIX_SIGMA,
)
