"""torch-audit: its zero-touch mode, at every step rather than each thousandth."""

from __future__ import annotations

from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher, model_of

WORDS = {
    "TA100": ("non-finite",),
    "TA102": ("gradient explodes",),
    "TA104": ("no gradient",),
    "TA105": ("dead units",),
    "TA300": ("input scale",),
    "TA301": ("input scale",),
    "TA302": ("input scale",),
    "TA304": ("tiny batch",),
    "TA305": ("non-finite input", "input scale"),
    "TA405": ("dead units", "initial variance"),
    "TA500": ("unused module", "parameters not held"),
    "TA501": ("batch mixing",),
}
"""Its rules on the stability of a run, its data and its graph."""

ADVICE = ("TA2", "TA303", "TA400", "TA401", "TA402", "TA403", "TA404")
"""Hints on hardware and style, which it gives on nearly every network: no alarms."""


class TorchAudit(Watcher):
    """All its runtime checks by `autopatch`."""

    def start(self, task: Any) -> None:
        from torch_audit.runtime import Auditor

        model = model_of(task)
        self.auditor = Auditor(model, optimizer=task.optimizer, every_n_steps=1)
        self.auditor.autopatch()
        self._read(0)

    def after_update(self, step: int, loss: Any, batch: Any) -> None:
        self._read(step)

    def _read(self, step: int) -> None:
        from torch_audit.core import Severity

        for finding in self.auditor.pop_new_findings():
            if finding.severity >= Severity.WARN and not (
                finding.rule_id.startswith(ADVICE)
            ):
                self.say(step, finding.rule_id, finding.module_path or "")


PEER = Peer("torch-audit", "torch-audit==0.3.0", "live", TorchAudit, WORDS)
