"""Rules on the loss, its graph and the optimizer: nothing comes in, rules go out."""

from __future__ import annotations

from surefoot.preflight.rule import Rule

LOSS: tuple[Rule, ...] = (
    Rule(
        "SF101",
        "loss-not-finite",
        "the loss is not a finite number",
        "The first forward pass gives NaN or infinity, so the first update would make "
        "every weight so.",
        "The loss of the first batch; the layer is the first whose output is not "
        "finite although its input is.",
        "Look at the named layer: a logarithm of zero, a division by zero, or values "
        "beyond the range of the number format.",
    ),
    Rule(
        "SF102",
        "loss-far-above-a-guess",
        "the first loss is far above that of a guess",
        "A classifier that knows nothing has a cross-entropy of ln C. One that starts "
        "many times higher is confidently wrong, and spends its first updates on "
        "shrinking its outputs.",
        "The first loss against ln C; the layer is the one that enlarges its input "
        "most.",
        "Scale the inputs to unit size, and start the last layer with small weights.",
        "ln C is the entropy of a uniform guess over C classes",
    ),
    Rule(
        "SF103",
        "softmax-twice",
        "a softmax stands before the cross-entropy, which has its own",
        "Cross-entropy takes logits. Given probabilities it can never fall below "
        "ln(1 + (C-1)/e), and its gradient nearly vanishes.",
        "The autograd graph: the operation before the cross-entropy is a softmax.",
        "Remove the softmax from the model or from the loss function.",
        "torch.nn.CrossEntropyLoss: the input is unnormalised logits",
    ),
    Rule(
        "SF104",
        "activation-before-the-loss",
        "the last activation cannot give what the loss asks for",
        "A sigmoid, tanh or ReLU right before a loss on logits, or one whose range "
        "does not hold the targets, keeps the network from ever fitting them.",
        "The autograd graph names the last operation; the targets lie outside of its "
        "range, or the loss takes logits.",
        "Remove the activation, or choose the loss that fits it.",
    ),
    Rule(
        "SF105",
        "wrong-loss-for-the-output",
        "the loss expects another kind of output",
        "The loss function is defined for outputs of another kind: log-probabilities "
        "where logits come, several classes where one comes.",
        "The autograd graph and the arguments of the loss function.",
        "Choose the loss for the output: cross_entropy for logits of classes, "
        "nll_loss for log_softmax, binary_cross_entropy_with_logits for one logit.",
    ),
    Rule(
        "SF106",
        "shapes-broadcast",
        "output and target are broadcast against each other",
        "Shapes such as [N, 1] and [N] give N x N differences: every output is pulled "
        "towards every target, and the fit ends at their mean.",
        "The shapes that the loss function was given.",
        "Give both the same shape, with squeeze(-1) or unsqueeze(-1).",
    ),
    Rule(
        "SF107",
        "loss-without-gradient",
        "the loss does not depend on any weight",
        "Nothing would be trained: the graph was cut, or gradients are switched off.",
        "The loss asks for no gradient, or none of the weights is in its graph.",
        "Look for .detach(), .item(), .data, torch.no_grad() or numpy between the "
        "model and the loss.",
    ),
    Rule(
        "SF108",
        "graph-cut-inside",
        "the first layers are cut off from the loss",
        "The layers run, and an optimizer holds them, but no gradient reaches them: "
        "the graph is cut behind them. They stay as they are.",
        "The first layers of the forward pass are not in the graph of the loss, while "
        "later ones are.",
        "Look for .detach(), .data or no_grad() behind the named layer; if that is "
        "meant, leave these weights out of the optimizer.",
    ),
    Rule(
        "SF109",
        "unregistered-weights",
        "the loss uses weights that no optimizer holds and the model does not know",
        "Modules in a plain list or dict, or parameters made on the fly, are not in "
        "model.parameters(): they are never trained, moved or saved.",
        "The graph of the loss ends in parameters that are nobody's.",
        "Use nn.ModuleList, nn.ModuleDict or nn.ParameterList, and make the optimizer "
        "afterwards.",
    ),
    Rule(
        "SF110",
        "unused-part",
        "a part of the model is not used for this loss",
        "Its weights get no gradient from this batch. That is usual for heads of other "
        "tasks and for experts that were not chosen.",
        "The graph of the loss does not hold these parameters.",
        "Nothing, if it is meant.",
    ),
)

OPTIMIZER: tuple[Rule, ...] = (
    Rule(
        "SF201",
        "weights-nobody-trains",
        "an optimizer leaves out weights between those that it trains",
        "They ask for a gradient and get one, but no optimizer holds them, so they "
        "keep their random start while the layers around them train.",
        "Parameters with requires_grad that are in no optimizer, behind some that "
        "are; or before them, if they are just as torch drew them: a trained backbone "
        "whose head alone is trained is not meant.",
        "Give them to the optimizer, or set requires_grad_(False) if they should "
        "stay; make the optimizer after the model is complete.",
    ),
    Rule(
        "SF202",
        "optimizer-of-another-model",
        "the optimizer holds none of the model's weights",
        "It was made for another object: a copy, or the model before it was moved or "
        "built again. The updates go elsewhere.",
        "No parameter of the model is in the optimizer.",
        "Make the optimizer from model.parameters() of the model that is trained.",
    ),
    Rule(
        "SF203",
        "nothing-to-train",
        "no weight asks for a gradient",
        "All parameters have requires_grad False, so nothing would be trained.",
        "requires_grad of all parameters.",
        "Call requires_grad_(True) on what should be trained.",
    ),
    Rule(
        "SF204",
        "held-twice",
        "a weight is held more than once",
        "It is updated several times a step, with an effective learning rate that "
        "nobody chose.",
        "The same tensor stands in the groups of the optimizer more than once.",
        "Give each parameter to one group of one optimizer.",
    ),
    Rule(
        "SF205",
        "decay-on-norms-and-biases",
        "weight decay acts on norms, biases or embeddings",
        "Pulling gains towards zero instead of one, and biases towards zero, has no "
        "benefit of regularisation; most recipes leave them out.",
        "Parameters with fewer than two dimensions in a group with weight decay.",
        "Put them into a group with weight_decay=0.",
        "He et al. 2019, arXiv:1812.01187, section 3.1",
    ),
    Rule(
        "SF206",
        "decay-too-strong",
        "the weight decay is too strong for the learning rate",
        "Learning rate times decay is the share of each weight that is taken away at "
        "every update. At this size the weights forget within a hundred updates.",
        "Learning rate x weight decay, or decay against the gradient where it is "
        "added to it.",
        "Lower the weight decay: 1e-4 to 1e-2 for SGD and Adam, 0.01 to 0.1 for AdamW.",
        "Kosson et al. 2024, arXiv:2305.17212: updates turn the weights by "
        "sqrt(2 lr decay)",
    ),
    Rule(
        "SF207",
        "epsilon-dominates",
        "epsilon is far larger than the gradients",
        "Adam divides by sqrt(v) + epsilon. Where epsilon is the larger, the update is "
        "the bare gradient over epsilon: smaller by decades than the learning rate.",
        "epsilon against the root mean square of the gradient of each weight.",
        "Lower eps (1e-8 is usual), or scale the loss up.",
    ),
    Rule(
        "SF208",
        "epsilon-vanishes",
        "epsilon is zero in the number format of the weights",
        "Half precision holds nothing below 6e-8, so epsilon is lost and the update "
        "divides by zero wherever a gradient is zero.",
        "eps against the smallest number of the weights' format.",
        "Set eps to 1e-4 or more for weights in float16, or keep float32 weights "
        "under autocast.",
        "IEEE 754, binary16: smallest subnormal 2^-24",
    ),
    Rule(
        "SF209",
        "rate-of-zero",
        "the learning rate is zero, and no schedule raises it",
        "Updates of length zero change nothing.",
        "lr of all groups, and no schedule known to the optimizer.",
        "Set lr.",
    ),
)
