"""A schedule and an optimizer come in, one of torch's own schedulers goes out."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from surefoot.schedules.scheduled import Scheduled


class ScheduledLR(LRScheduler):
    """A torch scheduler that sets each group's rate to a schedule's value.

    Args:
        optimizer: whose groups are scheduled; layer-wise rates keep their ratios.
        schedule: with `relative`, a factor on each group's initial rate, as that of
            torch's LambdaLR; else the rate itself, the same for all groups.
        last_epoch: the step to resume from, as with torch's own.

    >>> import torch
    >>> from surefoot.schedules import Linear
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    >>> rates = ScheduledLR(sgd, Linear(0.0, 1.0, steps=4))
    >>> for _ in range(2):
    ...     sgd.step()
    ...     rates.step()
    >>> rates.get_last_lr()
    [0.05]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Scheduled,
        *,
        relative: bool = True,
        last_epoch: int = -1,
    ) -> None:
        self.schedule = schedule
        self.relative = relative
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the groups at the present step."""
        value = self.schedule(self.last_epoch)
        return [base * value if self.relative else value for base in self.base_lrs]

    def state_dict(self) -> dict[str, object]:
        """All but the optimizer and the schedule, which is made anew with its run."""
        told = super().state_dict()
        return {key: value for key, value in told.items() if key != "schedule"}
