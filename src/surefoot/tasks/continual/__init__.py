"""Tasks come one after another: what mattered is kept, what disturbs is taken out."""

from surefoot.tasks.continual.errors import ContinualError
from surefoot.tasks.continual.importance import (
    Importance,
    fisher_diagonal,
    mas_importance,
)
from surefoot.tasks.continual.interference import interference_penalty
from surefoot.tasks.continual.likelihood import Likelihood
from surefoot.tasks.continual.matrix import TaskMatrix
from surefoot.tasks.continual.penalty import EWC, quadratic_penalty
from surefoot.tasks.continual.projection import (
    OldGradients,
    OrthogonalUpdates,
    agem_,
    agem_projection,
)

__all__ = [
    "EWC",
    "ContinualError",
    "Importance",
    "Likelihood",
    "OldGradients",
    "OrthogonalUpdates",
    "TaskMatrix",
    "agem_",
    "agem_projection",
    "fisher_diagonal",
    "interference_penalty",
    "mas_importance",
    "quadratic_penalty",
]
