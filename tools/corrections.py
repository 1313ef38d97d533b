"""Draw the figures of docs/corrections: a page's code, run in a place of its own.

python tools/corrections.py [PAGE ...]
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "corrections"
IMAGES = PAGES / "images"


def main() -> None:
    """Draw the figures of the pages that are named, or of all."""
    asked = sys.argv[1:] or sorted(page.stem for page in PAGES.glob("*.md"))
    IMAGES.mkdir(exist_ok=True)
    for name in asked:
        draw(name)


def draw(name: str) -> None:
    """Run a page's code, and keep the figure that it saves as NAME.svg."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__page__"}
    with TemporaryDirectory() as place, contextlib.chdir(place):
        for code in re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M):
            exec(compile(code, name, "exec"), namespace)
        shutil.copy(Path(place) / f"{name}.svg", IMAGES / f"{name}.svg")
    sys.stdout.write(f"{(IMAGES / name).relative_to(ROOT)}.svg\n")


if __name__ == "__main__":
    main()
