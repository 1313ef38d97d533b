"""`python -m surefoot`: the command line."""

from __future__ import annotations

from surefoot.cli import main

if __name__ == "__main__":
    main()
