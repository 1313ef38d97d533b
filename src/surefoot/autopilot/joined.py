"""A policy and a live run come in; it is flown until it ends.

What guards and steers is the `Pilot`; here diagnoses become advice or questions, and
answers become remedies on trial.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from surefoot.autopilot.advice import advice, live_remedy
from surefoot.autopilot.asking import Asker, Question, Source
from surefoot.autopilot.live import KnobError, Live
from surefoot.autopilot.on_trial import OnTrial
from surefoot.autopilot.pilot import Pilot, nobody_measured_of
from surefoot.autopilot.policy import Policy
from surefoot.probes.shield import Shield
from surefoot.types import Diagnosis, Event, Prescription

KEY = "surefoot.autopilot"
"""Where an optimizer keeps who flies it: copies and pickles do not have it."""

SECONDS = 600.0
"""How long a question stands: who went for a coffee may still answer it."""


class Autopilot:
    """The autopilot of one run, from now until `close()`.

    Args:
        live: the models and optimizers of the run, with the names of the streams.
        streams: the optimizers by the name of their stream.
        policy: how much it may do.
        tell: who hears of everything that is said and done.
        sources: who may be asked; needed for "ask" only.
        measured: gives the norms of the gradients of an optimizer's coming update,
            where somebody took them already.

    Raises:
        KnobError: an optimizer has an autopilot already, or cannot have one.
    """

    def __init__(
        self,
        live: Live,
        policy: Policy,
        *,
        streams: Mapping[str, Optimizer],
        tell: Callable[[Event], None],
        sources: Sequence[Source] = (),
        measured: Callable[[Optimizer], Any] = nobody_measured_of,
    ) -> None:
        self.policy = policy
        self._streams, self._tell = streams, tell
        self._shield = Shield(self._failed)
        self._questions: dict[int, tuple[Prescription, str]] = {}
        self._numbers = itertools.count(1)
        self._claimed: list[Optimizer] = []
        self._live = Live(live.models, live.optimizers, step=live.step)
        if policy.mode == "ask":
            _refuse_several_processes()
        self._pilot = Pilot(live, policy, tell=tell, measured=measured)
        self._trial: OnTrial | None = None
        self._asker: Asker | None = None
        if policy.mode != "advise":
            self._claim(live.optimizers)
        if policy.mode == "ask":
            self._trial = OnTrial(self._live, policy, tell)
            self._asker = Asker(sources, self._answered) if sources else None

    def see_loss(self, loss: Any, *, optimizer: Optimizer | None = None) -> None:
        """Losses of the update that is made next, or was just made.

        A tensor, a number, or a mapping of them from the names of streams.
        """
        self._shield.run("losses", lambda: self._see(loss, optimizer))

    def hear(self, diagnosis: Diagnosis) -> None:
        """Something is wrong: say or ask what to do about it; from any thread."""
        self._shield.run("advice", lambda: self._advise(diagnosis))

    def close(self) -> None:
        """Take all hooks off; what was changed for the better stays."""
        self._pilot.close()
        if self._asker is not None:
            self._asker.close()
        if self._trial is not None:
            self._trial.close()
        while self._claimed:
            self._claimed.pop().__dict__.pop(KEY, None)

    def _claim(self, optimizers: Sequence[Optimizer]) -> None:
        """Be the only one on each optimizer."""
        for optimizer in optimizers:
            if KEY in optimizer.__dict__:
                self.close()
                raise KnobError(
                    f"a second autopilot came for one {type(optimizer).__name__}; "
                    "close the first one, with run.close() or at the end of its with "
                    "block"
                )
            optimizer.__dict__[KEY] = self
            self._claimed.append(optimizer)

    def _see(self, loss: Any, optimizer: Optimizer | None) -> None:
        if isinstance(loss, Mapping):
            for name, value in loss.items():
                self._see(value, self._streams.get(name))
            return
        value = torch.tensor(loss) if isinstance(loss, (int, float)) else loss
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            return  # refused where it is recorded, in the user's own words
        self._pilot.see_loss(value, optimizer=optimizer)
        if self._trial is not None:
            self._trial.see_loss(value)

    def _advise(self, diagnosis: Diagnosis) -> None:
        body = advice(diagnosis)
        if body is None:
            return
        remedy = live_remedy(diagnosis)
        if self._asker is None or remedy is None:
            self._tell(Event(diagnosis.onset, "advice", body, diagnosis.stream))
            return
        number = next(self._numbers)
        why = f"{diagnosis.cause} in {diagnosis.layer} since step {diagnosis.onset}"
        self._questions[number] = (remedy, why)
        body |= {"question": number, "seconds": SECONDS}
        self._tell(Event(diagnosis.onset, "question", body, diagnosis.stream))
        self._asker.ask(Question(number, f"{why}. {remedy.remedy}?", SECONDS))

    def _answered(self, question: Question, answer: str, by: str) -> None:
        """On the thread that asks: the remedy is carried out between two updates."""
        remedy, why = self._questions.pop(question.number)
        body = {"question": question.number, "answer": answer, "by": by}
        step = self._live.step
        self._tell(Event(step, "answer", {**body, "remedy": remedy.remedy}))
        if answer == "yes" and self._trial is not None:
            self._trial.want(remedy, f"{why}; agreed to ({by})")

    def _failed(self, name: str, error: str) -> None:
        body = {"what": f"{name}: off", "why": error}
        self._tell(Event(self._live.step, "autopilot", body))


def _refuse_several_processes() -> None:
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    if ready and torch.distributed.get_world_size() > 1:
        raise KnobError(
            "mode='ask' came in a run of several processes, which would not change "
            "at the same step; expected 'advise', 'guard' or 'steer'"
        )
