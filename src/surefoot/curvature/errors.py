"""What torch says when a derivative cannot be had comes in, a clear error goes out."""

from __future__ import annotations

import re


class CurvatureError(ValueError):
    """Curvature cannot be computed: says what came, what is needed, and what to do."""


class NotFiniteError(CurvatureError):
    """A loss, a gradient or a product is NaN or infinite: nothing curves there."""


UNKNOWN = (
    "torch could not differentiate the loss a second time: {message}; check that every "
    "operation between the weights and the loss has a second derivative"
)

CHECKPOINTED = (
    "reentrant activation checkpointing hides the weights inside of it; call "
    "torch.utils.checkpoint.checkpoint(..., use_reentrant=False)"
)

ONCE = (
    "an autograd.Function of the model ({name}) is marked once_differentiable, so it "
    "has no second derivative; write its backward with differentiable operations"
)
SPARSE = (
    "sparse gradients have no second derivative; build the layer with "
    "nn.Embedding(..., sparse=False)"
)

CAUSES = (
    (
        r"derivative for (\S+?) is not implemented|(\S+) does not support double",
        "the operation {name} has no second derivative in torch; replace it by "
        "operations that have one (for attention: torch.nn.functional."
        "scaled_dot_product_attention, which is switched to its maths kernel)",
    ),
    (
        r"[Dd]ouble backward.*CuDNN RNN|CuDNN RNN.*double|_cudnn_rnn_backward",
        "the cuDNN kernels of RNN, GRU and LSTM have no second derivative; make the "
        "operator while torch.backends.cudnn.enabled is False",
    ),
    (
        r"torch\.utils\.checkpoint|[Cc]heckpointing is not compatible",
        CHECKPOINTED,
    ),
    (
        r"(once_differentiable)",
        ONCE,
    ),
    (
        r"compile.*double backward|aot_autograd.*double backward",
        "a compiled part of the model has no second derivative; make the operator "
        "from the module that was given to torch.compile",
    ),
    (
        r"modified by an inplace operation",
        "tensors of the graph were changed since the operator was made; make a new "
        "operator after each update of the weights",
    ),
    (
        r"[Ss]parse",
        SPARSE,
    ),
)
"""What torch's message matches, and what it means. The messages are those of torch 2.6
to 2.13."""


def explained(error: RuntimeError) -> Exception:
    """The error to raise in place of one that torch raised while it differentiated.

    Lack of memory stays what it is.

    >>> print(explained(RuntimeError("derivative for aten::foo is not implemented")))
    the operation aten::foo has no second derivative in torch; replace it by ...
    """
    message = str(error).strip().splitlines()[0] if str(error).strip() else "no text"
    if type(error) is not RuntimeError and not isinstance(error, NotImplementedError):
        return error
    for pattern, text in CAUSES:
        found = re.search(pattern, str(error))
        if found:
            name = next((one for one in found.groups() if one), "")
            return CurvatureError(text.format(name=name))
    return CurvatureError(UNKNOWN.format(message=message))
