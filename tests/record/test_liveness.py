from __future__ import annotations

import os
import subprocess
import sys
import time

from surefoot.record.liveness import SILENCE_SECONDS, lives, signature_of


def test_this_process_lives() -> None:
    assert lives(signature_of())


def test_ended_process_does_not() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    signature = signature_of(process.pid)
    assert lives(signature)
    process.kill()
    time.sleep(0.2)
    assert not lives(signature)  # a zombie does not write
    process.communicate()
    assert not lives(signature)


def test_later_process_of_the_same_id_is_another() -> None:
    assert not lives({**signature_of(), "started": "1"})


def test_process_of_somebody_else_lives() -> None:
    assert lives(signature_of(1)) or os.getpid() == 1


def test_elsewhere_the_heartbeat_decides() -> None:
    far = {**signature_of(), "host": "elsewhere", "pid": 1, "heartbeat": 1000.0}
    assert lives(far, now=1000.0 + SILENCE_SECONDS - 1)
    assert not lives(far, now=1000.0 + SILENCE_SECONDS + 1)
    rebooted = {**far, "host": signature_of()["host"], "boot": "another"}
    assert not lives(rebooted)


def test_odd_signatures_are_dead() -> None:
    assert not lives({})
    assert not lives({**signature_of(), "pid": -1})
    assert not lives({**signature_of(), "pid": "x", "heartbeat": None})
