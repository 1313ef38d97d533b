"""A run comes in, what a reader of its incidents must know of it goes out."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import torch

from surefoot.blackbox.in_models import tensors_of
from surefoot.blackbox.state import Trained


def about_run(trained: Trained, script: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, devices, switches that decide about the last bit, names and shapes.

    `script` is what was recorded of the program: its name and arguments.
    """
    named = {key: tensors_of(model) for key, model in trained.models.items()}
    tensors = [one for of in named.values() for one in of.values()]
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "created": datetime.now(UTC).isoformat(),
        "script": script.get("script", ""),
        "argv": list(script.get("argv", ())),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "device": str(tensors[0].device) if tensors else "cpu",
        "device_name": torch.cuda.get_device_name() if cuda else platform.processor(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "dtypes": sorted({str(one.dtype) for one in tensors}),
        "weights": {
            key: {name: list(one.shape) for name, one in of.items()}
            for key, of in named.items()
        },
        "optimizers": {k: type(one).__name__ for k, one in trained.optimizers.items()},
    }
