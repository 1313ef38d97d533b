"""tomgoldstein/loss-landscape: weights are set and the loss evaluated at each point.

Its own functions set the weights and evaluate. Its directions are in a file of its own,
as when it is used; "in memory" they are tensors, which it does not offer. Left out, in
its favour: the file of losses, written at every point, and MPI. Its loader of CIFAR
models, which we do not need, asks for torchvision, which is not there: an empty module
stands in its place.
"""

from __future__ import annotations

import sys
import types
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from benchmarks.curvature.problems import CRITERION, Problem
from benchmarks.curvature.tools.request import Answer, Request, Tasks

sys.modules.setdefault("model_loader", types.ModuleType("model_loader"))

import evaluation  # noqa: E402
import h5_util  # noqa: E402
import net_plotter  # noqa: E402


def surface(problem: Problem, request: Request) -> Answer:
    """Every point of a plane along two random, filter-normalised directions."""
    made = _random_directions(problem, request)
    with TemporaryDirectory() as folder:
        path = f"{folder}/directions.h5"
        with h5py.File(path, "w") as file:
            h5_util.write_list(file, "xdirection", made[0])
            h5_util.write_list(file, "ydirection", made[1])
        return _evaluated(problem, request, net_plotter.load_directions(path))


def surface_in_memory(problem: Problem, request: Request) -> Answer:
    """The same without a file."""
    return _evaluated(problem, request, _random_directions(problem, request))


def _random_directions(problem: Problem, request: Request) -> list[list[Tensor]]:
    torch.manual_seed(request.seed)
    return [net_plotter.create_random_direction(problem.model) for _ in range(2)]


def _evaluated(problem: Problem, request: Request, directions: Any) -> Answer:
    model, loader = problem.model, [problem.batch]
    weights = [one.clone() for one in net_plotter.get_weights(model)]
    places = np.linspace(-1, 1, request.points)
    losses = []
    for x in places:
        for y in places:
            net_plotter.set_weights(model, weights, directions, (x, y))
            losses.append(evaluation.eval_loss(model, CRITERION, loader)[0])
    return Answer(losses, len(losses))


TASKS: Tasks = {"surface": surface, "surface, in memory": surface_in_memory}
