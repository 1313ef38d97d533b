"""Calls come in, results go out: each is made in a copy of this process.

A copy has the model, the data and the loss as they are in memory, so that none of them
needs to be picklable: what a script defines, a process that starts anew cannot find.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Lock
from typing import Any

import torch
from torch import nn


class ForkError(ValueError):
    """Work cannot be shared between copies of this process."""


class Forks(Executor):
    """Makes each call in a forked copy of this process, at most `workers` at a time.

    For work on the CPU, on Linux: a device does not survive a fork, and what macOS
    loads may not.

    Raises:
        ForkError: the system or the model's device does not allow it.

    As in `with Forks(2, model) as forks: list(forks.map(abs, (-1, 2)))`.
    """

    def __init__(self, workers: int, model: nn.Module) -> None:
        devices = {one.device.type for one in model.parameters()} - {"cpu"}
        if not sys.platform.startswith("linux") or devices:
            where = f"a model on {devices.pop()}" if devices else sys.platform
            raise ForkError(
                f"several workers came for {where}; expected a model on the CPU, on "
                "Linux; use one worker"
            )
        self._threads = ThreadPoolExecutor(workers)
        self._running: set[BaseProcess] = set()
        self._lock = Lock()
        self._ended = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Call `fn` in a copy; its result, or what it raised, must be picklable."""
        return self._threads.submit(self._call, lambda: fn(*args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; `cancel_futures` ends those that run as well."""
        if cancel_futures:
            with self._lock:
                self._ended = True
                for process in self._running:
                    process.terminate()
        self._threads.shutdown(wait, cancel_futures=cancel_futures)

    def __exit__(self, kind: object, error: object, at: object) -> None:
        """After an error nobody waits for what still runs."""
        self.shutdown(cancel_futures=error is not None)

    def _call(self, call: Callable[[], Any]) -> Any:
        context = multiprocessing.get_context("fork")
        # One at a time: a copy must not hold the pipe of another, or its end is missed.
        with self._lock:
            if self._ended:
                raise ForkError("the workers were ended")
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_answer, args=(call, there), daemon=True)
            process.start()
            there.close()
            self._running.add(process)
        try:
            done, result = here.recv()
        except EOFError:
            process.join()
            raise ForkError(
                f"a worker ended without an answer, {_end_of(process.exitcode)}; if "
                "nobody ended it, there may be too little memory; use fewer workers"
            ) from None
        finally:
            process.join()
            here.close()
            with self._lock:
                self._running.discard(process)
        if not done:
            raise result
        return result


def _end_of(code: int | None) -> str:
    """How a process ended, by its exit code: of signals the negative number.

    >>> _end_of(-9), _end_of(1)
    ('by SIGKILL', 'with status 1')
    """
    known = {one.value: one.name for one in signal.Signals}
    return f"by {known[-code]}" if code and -code in known else f"with status {code}"


def _answer(call: Callable[[], Any], there: Connection) -> None:
    """In the copy: on one thread, as the copies share the cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells all; one decides
    torch.set_num_threads(1)
    try:
        there.send((True, call()))
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        there.send((False, type(error)(str(error))))
