"""One tool in a process of its own: numbers of steps come in, what they cost goes out.

Reads a number of steps from each line of standard input and answers with one line of
JSON. What tools print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TextIO

import torch

from benchmarks import variants, workloads
from benchmarks.clock import Clock
from benchmarks.variants import Watching
from benchmarks.workloads import Workload

THREADS = 2


def serve(workload: Workload, watching: Watching, clock: Clock, out: TextIO) -> None:
    """Train as many steps as each line asks for."""
    after = clock.timed(watching.after)
    for line in sys.stdin:
        own, thread = clock.seconds, time.thread_time()
        process, wall = time.process_time(), time.perf_counter()
        for _ in range(int(line)):
            after(workload.step())
        cost = {
            "steps": int(line),
            "wall": time.perf_counter() - wall,
            "process": time.process_time() - process,
            "thread": time.thread_time() - thread,
            "own": clock.seconds - own,
            **watching.say(),
        }
        out.write(json.dumps(cost) + "\n")
        out.flush()


def main() -> None:
    name, variant, folder = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(THREADS)
    clock = Clock()
    workload = workloads.ALL[name]()
    clock.time_all_hooks()
    watching = variants.ALL[variant].tool(workload, Path(folder), clock)
    out.write(json.dumps({"about": workload.about}) + "\n")
    out.flush()
    serve(workload, watching, clock, out)
    watching.close()


if __name__ == "__main__":
    main()
