"""Names of peers come in, installed packages go out; what cannot be had is noted down.

Run by `make bench` in an environment of its own, since peers bring many packages,
some of which conflict with others.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PEERS = ("wandb", "tensorboard", "lightning", "pulsegrad", "torchmortem")
CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
NOTE = Path(sys.prefix) / "not-installed.json"


def install(peer: str) -> str:
    """Install one package; the reason if that fails, else nothing."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    quiet = ["--disable-pip-version-check", "-c", str(CONSTRAINTS)]
    done = subprocess.run([*pip, *quiet, peer], capture_output=True, text=True)
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else "pip failed")


def missing() -> dict[str, str]:
    """Peers that could not be installed, and why."""
    return json.loads(NOTE.read_text()) if NOTE.exists() else {}


if __name__ == "__main__":
    failed = {peer: why for peer in PEERS if (why := install(peer))}
    NOTE.write_text(json.dumps(failed))
