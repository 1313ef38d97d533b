"""Stable-Baselines3 goes out: what rewards and exploration are checked against.

It asks for pandas to read its own log files, which nothing here does; pandas would be
found by every other library in this process.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

ABSENT = "pandas"

if find_spec(ABSENT) is None:
    stand_in = ModuleType(ABSENT)
    vars(stand_in)["DataFrame"] = object  # named in its annotations
    sys.modules[ABSENT] = stand_in

from stable_baselines3.common.utils import LinearSchedule  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

if not hasattr(sys.modules[ABSENT], "__version__"):
    del sys.modules[ABSENT]

__all__ = ["DummyVecEnv", "LinearSchedule", "VecNormalize"]
