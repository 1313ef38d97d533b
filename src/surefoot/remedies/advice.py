"""Advice that only a person can follow: a finding comes in, a sentence goes out.

These remedies change code or data, which no knob of a running optimizer reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from surefoot.types import Facts, Finding, Prescription

Remedy = Callable[[Sequence[Finding], Facts], Prescription]


def _advice(remedy: str, advice: str, expect: str, source: str) -> Remedy:
    """A remedy without changes: what to do, what to expect, who says so."""
    one = Prescription(remedy, (), expect, source, advice)

    def prescription(findings: Sequence[Finding], facts: Facts) -> Prescription:
        return one

    prescription.__doc__ = advice
    return prescription


ALL: Mapping[str, Remedy] = {
    "plain scores": _advice(
        "give the loss plain scores",
        "Remove the last activation (softmax, sigmoid, ReLU, tanh) before the loss: "
        "cross-entropy applies its own. Keep it for prediction only.",
        "the loss can come near zero, and gradients are large where it is wrong",
        "documentation of torch.nn.CrossEntropyLoss and BCEWithLogitsLoss",
    ),
    "fitting loss": _advice(
        "use the loss that fits the output",
        "Use cross-entropy on plain scores for classes, its form with logits for "
        "yes/no answers, a squared error for numbers; nll_loss wants log_softmax.",
        "a first loss near ln C, and one that can come near zero",
        "documentation of the losses in torch.nn",
    ),
    "evaluation mode": _advice(
        "evaluate in evaluation mode",
        "Call model.eval() before every evaluation, and model.train() after it.",
        "the same score for an example whatever its neighbours",
        "documentation of torch.nn.Module.eval",
    ),
    "step it": _advice(
        "step the optimizer",
        "Call step() of this optimizer after backward, or give its parameters to one "
        "that is stepped.",
        "update_norm of its parameters is above zero",
        "documentation of torch.optim",
    ),
    "synchronise": _advice(
        "synchronise the replicas",
        "Wrap the model in DistributedDataParallel before training, call the wrapped "
        "model and not the inner one, and start all ranks from the same weights.",
        "the same norms of the weights on all ranks",
        "documentation of torch.nn.parallel.DistributedDataParallel",
    ),
    "clean labels": _advice(
        "look at the examples with the largest loss",
        "Sort the training examples by their loss late in training and look at the "
        "top: wrong labels gather there. Correct or drop them, or use a loss that "
        "bounds their pull (label smoothing, "
        "surefoot.nn.regularize.generalized_cross_entropy).",
        "the upper group of example losses shrinks",
        "Pleiss et al. 2020 (area under the margin); Zhang & Sabuncu 2018",
    ),
    "balance classes": _advice(
        "balance the classes",
        "Draw rare classes more often (WeightedRandomSampler) or weigh them in the "
        "loss, and judge by the mean accuracy over classes.",
        "rare classes are recognised about as often as common ones",
        "He & Garcia 2009; Cui et al. 2019, arXiv:1901.05555",
    ),
    "early stopping": _advice(
        "stop at the best held-out loss",
        "Keep the weights of the step with the best held-out loss and stop there.",
        "held-out loss as at its best",
        "Prechelt 1998, Early stopping, but when?",
    ),
    "more regularisation": _advice(
        "regularise more",
        "Add data or augmentation first, then weight decay, dropout or label "
        "smoothing.",
        "held-out loss goes on falling with the training loss",
        "Goodfellow et al. 2016, chapter 7",
    ),
    "larger batch": _advice(
        "use larger batches",
        "Use larger batches or accumulate gradients over several; or lower the rate "
        "as training goes on.",
        "consecutive gradients agree more often",
        "McCandlish et al. 2018, arXiv:1812.06162 (gradient noise scale)",
    ),
    "pre-norm": _advice(
        "normalise before each branch",
        "Write x + F(norm(x)) in place of norm(x + F(x)) (norm_first=True), with one "
        "norm after the last block.",
        "gradients of about one size in all blocks from the first step on",
        "Xiong et al. 2020, arXiv:2002.04745",
    ),
    "query-key norm": _advice(
        "normalise queries and keys",
        "Normalise queries and keys before their product (surefoot.nn.norm.QKNorm).",
        "attention scores stay in range whatever the weights",
        "Henry et al. 2020; Dehghani et al. 2023, arXiv:2302.05442",
    ),
    "z-loss": _advice(
        "hold the scores near zero",
        "Add 1e-4 * logsumexp(scores)**2 to the loss, or decay the weights of the "
        "head.",
        "log² Z stays near zero",
        "Chowdhery et al. 2022, arXiv:2204.02311; Wortsman et al. 2023, "
        "arXiv:2309.14322",
    ),
    "weaker discriminator": _advice(
        "weaken the discriminator",
        "Lower its learning rate, train it less often, add noise or label smoothing, "
        "or a gradient penalty (surefoot.tasks.gan).",
        "its loss stays well above zero",
        "Arjovsky & Bottou 2017, arXiv:1701.04862; Gulrajani et al. 2017",
    ),
    "scale rewards": _advice(
        "scale the rewards",
        "Normalise returns or advantages to unit size in each batch, divide rewards by "
        "the spread of returns (surefoot.tasks.rl), or clip them.",
        "the entropy of the policy falls slowly",
        "Engstrom et al. 2020, arXiv:2005.12729",
    ),
    "wider numbers": _advice(
        "use numbers with a wider range",
        "Use bfloat16 in place of float16, keep the layer that overflows in float32, "
        "or scale the loss by a GradScaler.",
        "no value near 65,504",
        "Micikevicius et al. 2018, arXiv:1710.03740; Kalamkar et al. 2019",
    ),
}
