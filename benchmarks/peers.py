"""Names of peers come in, installed packages go out; what cannot be had is noted down.

Run by `make bench` and `make zoo` in an environment of its own, since peers bring many
packages, some of which conflict with others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.zoo.peers import catalogue

LOGGERS = ("wandb", "tensorboard", "lightning")
"""What is only measured by what it costs; the others come from the catalogue."""

PEERS = (*LOGGERS, *(peer.needs for peer in catalogue.ALL if peer.needs))

CURVATURE = (
    "backpack-for-pytorch",
    "einops",
    "einconv",
    "linear_operator",
    "opt-einsum",
    "jaxtyping",
    "wadler-lindig",
    "h5py",
    "curvlinops-for-pytorch==3.0.1",
    "hessian-eigenthings==1.0.0a5",
    "pyhessian==0.1",
    "git+https://github.com/tomgoldstein/loss-landscape"
    "@64ef4d57f8dabe79b57a637819c44e48eda98f33",
)
"""Tools for curvature and landscapes, and what they import: alone, as some ask for
torchvision, which is not to be had for every torch."""

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
NOTE = Path(sys.prefix) / "not-installed.json"


def install(peer: str) -> str:
    """Install one package; the reason if that fails, else nothing."""
    return clone(peer) if peer.startswith("git+") else pip(peer)


def pip(peer: str) -> str:
    """Install a package from the index, and what it asks for unless alone."""
    options = ["--quiet", "--disable-pip-version-check", "-c", str(CONSTRAINTS)]
    options += ["--no-deps"] if peer in CURVATURE else []
    return _run(sys.executable, "-m", "pip", "install", *options, peer)


def clone(peer: str) -> str:
    """Put a repository that is no package on the path: `git+address@commit`.

    It is kept inside the environment, and nothing of it is kept in this repository.
    """
    address, _, commit = peer.removeprefix("git+").rpartition("@")
    folder = Path(sys.prefix) / "src" / address.rpartition("/")[2]
    if not folder.exists() and (
        why := _run("git", "clone", "--quiet", address, str(folder))
    ):
        return why
    if why := _run("git", "-C", str(folder), "checkout", "--quiet", commit):
        return why
    packages = Path(sysconfig.get_paths()["purelib"])
    (packages / f"{folder.name}.pth").write_text(f"{folder}\n", encoding="utf-8")
    return ""


def _run(*command: str) -> str:
    """The last line that a command says if it fails, else nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return f"{command[0]} is not there"
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else "failed")


def missing() -> dict[str, str]:
    """Peers that could not be installed, by name without a version, and why."""
    return json.loads(NOTE.read_text()) if NOTE.exists() else {}


def unversioned(peer: str) -> str:
    """The name of a package without the version that is wanted of it."""
    return peer.partition("==")[0]


if __name__ == "__main__":
    failed = {
        unversioned(peer): why
        for peer in (*PEERS, *CURVATURE)
        if (why := install(peer))
    }
    NOTE.write_text(json.dumps(failed))
