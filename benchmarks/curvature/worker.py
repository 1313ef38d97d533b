"""One tool at one problem in a process of its own: requests come in, answers go out.

Reads a request as JSON from each line of standard input, and answers with a line of
JSON: what was found, CPU seconds of the process, memory beyond what a training step had
left, and what of the model or of the random streams is no longer as it was. Everything
is put back before the next request. What tools print goes to standard error.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import hashlib
import importlib
import json
import os
import random
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.curvature import problems
from benchmarks.curvature.problems import Problem, loss_of
from benchmarks.curvature.tools.request import Answer, Request, Task, Tasks

STATUS = Path("/proc/self/status")
PEAK_IS_RESET_BY = Path("/proc/self/clear_refs")
MEGABYTE = 1024.0


class Kept:
    """A problem as it was, with gradients of a training step."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._state = copy.deepcopy(problem.model.state_dict())
        self._modes = {name: m.training for name, m in problem.model.named_modules()}
        gradients(problem)
        self._grads = [one.grad for one in problem.model.parameters()]

    def put_back(self) -> None:
        """Weights, buffers, modes, gradients and random streams."""
        model = self.problem.model
        for one, grad in zip(model.parameters(), self._grads, strict=True):
            one.grad = None if grad is None else grad.clone()
        model.load_state_dict(self._state)
        for name, module in model.named_modules():
            module.training = self._modes[name]
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)


def gradients(problem: Problem) -> None:
    """Those of one training step, in `.grad`."""
    problem.model.zero_grad()
    loss_of(problem.model, problem.batch).backward()


def digests(model: nn.Module) -> Mapping[str, str]:
    """What must be as it was, under the names that the table uses."""
    grads = [(n, p.grad) for n, p in model.named_parameters()]
    return {
        "parameters": _digest(dict(model.named_parameters())),
        "buffers": _digest(dict(model.named_buffers())),
        ".grad": _digest({n: g for n, g in grads if g is not None}),
        "mode": str([module.training for module in model.modules()]),
        "RNG": _digest({"torch": torch.get_rng_state()})
        + str(hash(str(np.random.get_state())) ^ hash(random.getstate())),
    }


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        # A graph that hangs on a gradient keeps its memory: that is a change, too.
        found.update(f"{name} {tensor.grad_fn is not None}".encode())
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def memory(key: str) -> float:
    """Megabytes of "VmRSS" (now) or "VmHWM" (the most since the last reset)."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / MEGABYTE
    return float("nan")


def settle() -> None:
    """Give back what is free, and forget the peak."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    PEAK_IS_RESET_BY.write_text("5")


def answer(kept: Kept, task: Task, request: Request) -> dict[str, Any]:
    """What a tool found, what it took, and what it left changed."""
    kept.put_back()
    before = digests(kept.problem.model)
    settle()
    resident, start = memory("VmRSS"), time.process_time()
    try:
        found = task(kept.problem, request)
    except Exception as error:  # noqa: BLE001  A tool that fails is a row.
        found = Answer((), note=f"{type(error).__name__}: {error}".splitlines()[0])
    cpu = time.process_time() - start
    extra = memory("VmHWM") - resident
    after = digests(kept.problem.model)
    changed = [name for name in before if before[name] != after[name]]
    return {**asdict(found), "cpu": cpu, "extra": extra, "changed": changed}


def training_step(problem: Problem, request: Request) -> Answer:
    """Forward and backward, for the unit of costs."""
    for _ in range(request.probes):
        gradients(problem)
    return Answer((request.probes,))


def tasks_of(tool: str) -> Tasks:
    """The quantities that one tool has."""
    module = importlib.import_module(f"benchmarks.curvature.tools.{tool}")
    return {**module.TASKS, "training step": training_step}


def warm(problem: Problem) -> None:
    """One double backward pass: torch's own buffers are no memory of a tool."""
    weights = list(problem.model.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        loss = loss_of(problem.model, problem.batch)
    grads = torch.autograd.grad(loss, weights, create_graph=True)
    torch.autograd.grad(grads, weights, [g.detach() for g in grads])


def serve(kept: Kept, tasks: Tasks, out: TextIO, *, peer: bool) -> None:
    """Say that all is ready, and answer each line.

    Peers are given attention that has second derivatives.
    """
    out.write("{}\n")
    out.flush()
    for line in sys.stdin:
        request = Request(**json.loads(line))
        if peer and "surface" not in request.quantity:
            with sdpa_kernel(SDPBackend.MATH):
                found = answer(kept, tasks[request.quantity], request)
        else:
            found = answer(kept, tasks[request.quantity], request)
        out.write(json.dumps(found) + "\n")
        out.flush()


def main() -> None:
    tool, name = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    kept = Kept(problems.ALL[name]())
    warm(kept.problem)
    serve(kept, tasks_of(tool), out, peer=tool != "ours")


if __name__ == "__main__":
    main()
