"""pulsegrad: two lines, then what it has written to its own database."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher

WORDS = {
    "nan_inf": ("non-finite",),
    "grad_explosion": ("gradient explodes",),
    "grad_vanishing": ("gradient vanishes",),
    "dead_module": ("no gradient", "unchanged weights"),
    "dead_adapter": ("no gradient", "unchanged weights"),
    "dying_relu": ("dead units",),
    "activation_collapse": ("saturation", "rank collapse", "outputs alike"),
    "update_ratio_band, too high": ("update too large",),
    "update_ratio_band, too low": ("update too small",),
    "loss_spike": ("loss spike",),
    "loss_plateau_early": ("plateau", "update too small"),
    "weight_drift": ("weight growth", "divergence"),
    "layer_imbalance": ("weight imbalance",),
}

ALARMS = ("warning", "error", "critical")


class Pulsegrad(Watcher):
    """`watch` for each model; statistics on the training thread, so none is lost."""

    def start(self, task: Any) -> None:
        os.environ["PULSEGRAD_CONSOLE"] = "off"
        from pulsegrad import watch

        one = next(iter(task.optimizers))
        self.sessions = {
            f"{name}." if len(task.models) > 1 else "": watch(
                model,
                task.optimizers.get(name, task.optimizers[one]),
                run_dir=self.folder,
                stats_mode="sync",
            )
            for name, model in task.models.items()
        }

    def end(self) -> None:
        for prefix, session in self.sessions.items():
            session.close()
            with closing(sqlite3.connect(session.run_path / "db.sqlite")) as store:
                self._read(store, prefix)

    def _read(self, store: sqlite3.Connection, prefix: str) -> None:
        rows = store.execute(
            "SELECT detector, severity, first_step, last_step, module_ids, message "
            "FROM findings ORDER BY first_step"
        )
        for detector, level, first, last, modules, message in rows:
            if level not in ALARMS:
                continue
            if detector == "update_ratio_band":
                detector += ", too high" if "too high" in message else ", too low"
            for module in json.loads(modules or "null") or [""]:
                layer = prefix + module if module else ""
                # One row holds for all steps of a condition.
                self.say(first, detector, layer)
                self.say(last, detector, layer)


PEER = Peer("pulsegrad", "pulsegrad==0.1.0", "live", Pulsegrad, WORDS)
