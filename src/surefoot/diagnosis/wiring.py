"""Causes in how the loop is put together: loss, optimizer, modes, gradients.

A Case comes in, what speaks for each cause goes out; None means that nothing does. The
confidences order causes that explain the same findings; they are no probabilities.
"""

from __future__ import annotations

from surefoot.diagnosis.case import Account, Case, Cause, account


def frozen_layer(case: Case) -> Account | None:
    """Parameters that do not change while others do."""
    found = tuple(
        finding
        for kind in ("unheld", "unmoved", "detached")
        if (finding := case.alarm("frozen", kind)) is not None
    )
    if found:
        return account(0.9, *found, confirmed=True)
    # A head on a resting body may be meant, but not where the run does badly.
    resting = case.sign("frozen", "unheld")
    hurt = case.alarms("label_noise", "not_learning", "overfitting", "divergence")
    return account(0.88, resting, *hurt) if resting is not None and hurt else None


def never_zeroed(case: Case) -> Account | None:
    """Gradients add up over all steps."""
    found = case.alarm("accumulating_gradients")
    if found is None:
        return None
    hurt = case.alarms("divergence", "not_learning", "exploding_gradients")
    return account(0.94, found, *hurt, confirmed=True)


def softmax_twice(case: Case) -> Account | None:
    """The loss applies a softmax to probabilities."""
    found = case.alarm("wiring", "twice")
    return None if found is None else account(0.97, found, confirmed=True)


def squashed_scores(case: Case) -> Account | None:
    """The last layer's activation cuts off scores that the loss needs."""
    found = case.alarm("wiring", "squashed")
    return None if found is None else account(0.97, found, confirmed=True)


def wrong_loss(case: Case) -> Account | None:
    """The loss expects another kind of output."""
    found = case.alarm("wiring", "no log") or case.alarm("wiring", "distance")
    return None if found is None else account(0.96, found, confirmed=True)


def unregistered(case: Case) -> Account | None:
    """Parameters take part and belong to no model and no optimizer."""
    found = case.alarm("wiring", "loose")
    return None if found is None else account(0.93, found, confirmed=True)


def evaluation_mode(case: Case) -> Account | None:
    """The network is trained in evaluation mode."""
    found = case.alarm("evaluation_mode")
    return None if found is None else account(0.96, found, confirmed=True)


def never_stepped(case: Case) -> Account | None:
    """An optimizer makes no update."""
    found = case.alarm("never_stepped")
    return None if found is None else account(0.95, found, confirmed=True)


def replicas_differ(case: Case) -> Account | None:
    """The copies of the network on several ranks have drifted apart."""
    found = case.alarm("replicas")
    return None if found is None else account(0.97, found, confirmed=True)


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="frozen layer",
        about="Parameters that should train do not change. No optimizer holds them, or "
        "no gradient reaches them.",
        told_apart="Other layers of the same run change at the same steps.",
        remedies=("register",),
        weigh=frozen_layer,
    ),
    Cause(
        name="gradients never zeroed",
        about="Each backward pass adds to the gradients of all passes before. The "
        "optimizer follows a sum over the whole run, which no longer points downhill.",
        told_apart="The gradient grows from the first step on and is far smoother than "
        "the loss of the batches; accumulation over a few batches is not.",
        remedies=("zero gradients",),
        weigh=never_zeroed,
    ),
    Cause(
        name="softmax applied twice",
        about="The network ends in a softmax and the loss applies another one. The "
        "second flattens the first, so the loss cannot come near zero and the gradient "
        "is small where the network is wrong.",
        told_apart="Read from the graph of the loss: a softmax feeds the log-softmax "
        "of the cross-entropy (or a sigmoid that of its binary form).",
        remedies=("plain scores",),
        weigh=softmax_twice,
    ),
    Cause(
        name="activation before the loss",
        about="The last layer is followed by an activation that cuts its scores off. "
        "Cross-entropy needs scores of any size and sign.",
        told_apart="Read from the graph of the loss: a ReLU, tanh or sigmoid feeds it "
        "directly; a soft cap scales before and after.",
        remedies=("plain scores",),
        weigh=squashed_scores,
    ),
    Cause(
        name="wrong loss for the output",
        about="The loss expects another kind of number than the network puts out, such "
        "as log-probabilities where it gets probabilities.",
        told_apart="Read from the graph of the loss.",
        remedies=("fitting loss",),
        weigh=wrong_loss,
    ),
    Cause(
        name="unregistered parameters",
        about="The loss depends on parameters that neither the model nor an optimizer "
        "holds, such as layers kept in a plain list. They stay as they were drawn.",
        told_apart="Read from the graph of the loss; a frozen layer is known to the "
        "model.",
        remedies=("register",),
        weigh=unregistered,
    ),
    Cause(
        name="model in evaluation mode",
        about="The model is trained with eval() on: dropout is off and normalisation "
        "uses statistics that stand still.",
        told_apart="The model's own flag in passes with gradients; who rests only the "
        "normalisation leaves the model's flag on.",
        remedies=("training mode",),
        weigh=evaluation_mode,
    ),
    Cause(
        name="optimizer never stepped",
        about="An optimizer was made and holds parameters, but its step is not called. "
        "What it holds stays as it was drawn.",
        told_apart="The other optimizers of the run have made their steps.",
        remedies=("step it",),
        weigh=never_stepped,
    ),
    Cause(
        name="replicas differ",
        about="The copies of the network on several ranks no longer hold the same "
        "weights. Each trains alone on its part of the data.",
        told_apart="Norms of the same weights at the same step differ between ranks by "
        "more than rounding.",
        remedies=("synchronise",),
        weigh=replicas_differ,
    ),
)
