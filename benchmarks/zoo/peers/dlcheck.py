"""DLCheck: a callback for Lightning, called by hand where Lightning would call it."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace
from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher, model_of

WORDS = {
    "small weight variance": ("initial variance",),
    "was not updated": ("unchanged weights",),
    "of weights": ("weight growth", "divergence"),
    "NaN/Inf gradient": ("non-finite",),
    "NaN propagation": ("non-finite", "non-finite source"),
    "exploding gradients": ("gradient explodes",),
    "vanishing gradients": ("gradient vanishes",),
    "zero gradients": ("no gradient", "dead units"),
    "(slow)": ("update too small",),
    "(unstable)": ("update too large",),
    "dead neurons": ("dead units",),
    "saturated activations": ("saturation",),
}
"""It writes sentences to a log; these are the parts of them that do not vary."""

EPOCH = 40
"""Steps after which it reports; the runs are a few times as long."""

_NUMBER = re.compile(r"Parameter (\d+) ")
"""Some of its checks name a parameter by its place."""

_LAYER = re.compile(r"(?:Parameter|Module|Layer|detected in|output:) (\S+)")


class Dlcheck(Watcher):
    """What its callback checks by itself, and its search for the first NaN."""

    def start(self, task: Any) -> None:
        from pytorch_lightning_callback.dlcheck_callback import DLCheckCallback

        self.model, self.tool = model_of(task), DLCheckCallback()
        self.names = [name for name, _ in self.model.named_parameters()]
        self.trainer = SimpleNamespace(optimizers=list(task.optimizers.values()))
        self.tool.log = lambda *given, **more: None
        self.step = 0
        self._listen()
        self.tool.on_train_start(self.trainer, self.model)
        self.tool.on_train_epoch_start(self.trainer, self.model)

    def before_backward(self, step: int, loss: Any, batch: Any) -> None:
        self.step = step
        self.tool.track_nan_propagation(self.model)

    def before_update(self, step: int) -> None:
        self.tool.on_after_backward(self.trainer, self.model)

    def after_update(self, step: int, loss: Any, batch: Any) -> None:
        if step % EPOCH == EPOCH - 1:
            self.tool.on_train_epoch_end(self.trainer, self.model)
            self.tool.on_train_epoch_start(self.trainer, self.model)

    def _listen(self) -> None:
        listener = logging.Handler(logging.WARNING)
        listener.emit = self._hear  # type: ignore[method-assign]
        logging.getLogger().addHandler(listener)
        lightning = logging.getLogger("lightning.pytorch.core")
        lightning.addHandler(listener)
        lightning.propagate = False

    def _hear(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        name = next((part for part in WORDS if part in text), text[:60])
        self.say(self.step, name, self._layer(text))

    def _layer(self, text: str) -> str:
        if number := _NUMBER.match(text):
            return self.names[int(number[1])]
        found = _LAYER.search(text)
        return found[1].rstrip(".") if found else ""


PEER = Peer(
    "DLCheck",
    "git+https://github.com/QEDan/DLCheck@b201ad12477ba5a9884a9fc1fb0583e0bcb6e48d",
    "live",
    Dlcheck,
    WORDS,
)
