"""Whose CPU time it is: functions of a tool come in, its seconds go out.

Every tool is measured by the same clock, from outside: each hook that it registers
with torch and each call that is made to it is timed on the training thread.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules import module as global_module_hooks
from torch.optim import optimizer as global_optimizer_hooks

REGISTRATIONS: tuple[tuple[Any, str], ...] = (
    (torch.nn.Module, "register_forward_pre_hook"),
    (torch.nn.Module, "register_forward_hook"),
    (torch.nn.Module, "register_full_backward_pre_hook"),
    (torch.nn.Module, "register_full_backward_hook"),
    (torch.Tensor, "register_hook"),
    (torch.Tensor, "register_post_accumulate_grad_hook"),
    (torch.optim.Optimizer, "register_step_pre_hook"),
    (torch.optim.Optimizer, "register_step_post_hook"),
    (global_module_hooks, "register_module_forward_pre_hook"),
    (global_module_hooks, "register_module_forward_hook"),
    (global_optimizer_hooks, "register_optimizer_step_pre_hook"),
    (global_optimizer_hooks, "register_optimizer_step_post_hook"),
)
"""Where torch takes hooks. The gradient of a CPU model is computed on the thread that
calls `backward`, so hooks on tensors are timed there too."""


class Clock:
    """CPU seconds of the training thread inside one tool."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time attributed to the tool; nesting counts once."""

        @functools.wraps(function, assigned=())
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return function(*args, **kwargs)
            self._inside = True
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.thread_time() - start
                self._inside = False

        return call

    def exempt(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which a tool wraps, with its time not attributed to it."""

        @functools.wraps(function, assigned=())
        def call(*args: Any, **kwargs: Any) -> Any:
            was, self._inside = self._inside, False
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                # The tool's hooks in here have counted themselves.
                if was:
                    self.seconds -= time.thread_time() - start
                self._inside = was

        return call

    def time_all_hooks(self) -> None:
        """Attribute every hook that is registered with torch from now on."""
        for owner, name in REGISTRATIONS:
            self._time_hooks_of(owner, name)

    def _time_hooks_of(self, owner: Any, name: str) -> None:
        register = getattr(owner, name)
        method = isinstance(owner, type)

        @functools.wraps(register)
        def registering(*args: Any, **kwargs: Any) -> Any:
            place = 1 if method else 0
            args = (*args[:place], self.timed(args[place]), *args[place + 1 :])
            return register(*args, **kwargs)

        setattr(owner, name, registering)
