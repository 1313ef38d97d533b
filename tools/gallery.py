"""Run the gallery of examples, and write what they print and draw into the docs.

    python tools/gallery.py [NAME ...]

Pictures go to docs/images/gallery/, what was printed between the marks of each section
of docs/examples.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a file, it finds its neighbours
    sys.path.insert(0, str(ROOT))

from tools.landscapes import shrink  # noqa: E402

GALLERY = ROOT / "examples" / "gallery"
PAGE = ROOT / "docs" / "examples.md"
IMAGES = ROOT / "docs" / "images" / "gallery"
WIDTH = 720
"""Pixels of a picture."""


def main() -> None:
    """Run those that are named, or all."""
    scripts = [path.stem for path in GALLERY.glob("*.py") if path.stem != "beside"]
    IMAGES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or sorted(scripts):
        said = run(name)
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(told(text, name, said), encoding="utf-8")


def run(name: str) -> str:
    """Run a script, keep its picture; what it printed goes out."""
    with TemporaryDirectory() as place:
        drawn = Path(place) / f"{name}.png"
        command = [sys.executable, str(GALLERY / f"{name}.py"), "--to", str(drawn)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        shrink(drawn, IMAGES / f"{name}.png", width=WIDTH)
    return "\n".join(one for one in done.stdout.splitlines() if "picture: " not in one)


def told(text: str, name: str, said: str) -> str:
    """The page with what a script printed in its section."""
    marks = re.compile(rf"(<!-- printed: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    return marks.sub(lambda m: f"{m[1]}\n```text\n{said}\n```\n\n{m[2]}", text)


if __name__ == "__main__":
    main()
