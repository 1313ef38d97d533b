"""Rules on the network, its inputs and its numbers: nothing comes in, rules go out."""

from __future__ import annotations

from surefoot.preflight.rule import Rule

SIGNAL: tuple[Rule, ...] = (
    Rule(
        "SF301",
        "signal-fades",
        "the signal fades with depth until examples look alike",
        "Each layer passes on a smaller difference between examples, until the output "
        "hardly depends on the input. Nothing can be learned from there.",
        "The difference between rows shrinks by decades over the layers, and trial "
        "updates at several rates do not teach the network to tell examples apart.",
        "Start with weights of the right gain (kaiming_normal_ for ReLU), and add "
        "normalisation or residual connections.",
        "He et al. 2015, arXiv:1502.01852; Schoenholz et al. 2017, arXiv:1611.01232",
    ),
    Rule(
        "SF302",
        "gradient-fades",
        "the gradient fades on its way to the first layers",
        "Saturating activations or small weights shrink the gradient from layer to "
        "layer. The first layers get decades less than the last.",
        "The norm of the gradient at each layer's output, from the last to the first.",
        "Use ReLU-like activations with kaiming weights, normalisation, or residual "
        "connections.",
        "Glorot & Bengio 2010",
    ),
    Rule(
        "SF303",
        "signal-explodes",
        "the signal grows by decades with depth",
        "Each layer enlarges its input. The outputs are huge and so are the first "
        "updates.",
        "The size of the output of each layer in the first pass, and a first loss or "
        "trial updates that show the harm.",
        "Start with weights of the right gain (kaiming_normal_ for ReLU), or add "
        "normalisation.",
        "He et al. 2015, arXiv:1502.01852",
    ),
    Rule(
        "SF304",
        "dead-layer",
        "a layer puts out nothing but zeros",
        "All units of a ReLU are negative for every example. No signal passes, and no "
        "gradient that could wake them.",
        "The share of units that are zero in all rows of the batch, and trial updates "
        "that do not change it.",
        "Start its biases at zero and its weights with kaiming_normal_; check what it "
        "is given.",
        "Lu et al. 2020, arXiv:1903.06733",
    ),
    Rule(
        "SF305",
        "saturated-layer",
        "a layer sits at the flat ends of its activation",
        "Nearly all outputs of a sigmoid or tanh are at the ends of its range, where "
        "its slope, and with it the gradient, is next to nothing.",
        "The share of outputs within one percent of the ends.",
        "Make the weights before it smaller, or scale its inputs.",
        "Glorot & Bengio 2010",
    ),
    Rule(
        "SF306",
        "units-alike",
        "the units of a layer start alike",
        "Units with the same weights, in and out, get the same gradient and stay the "
        "same: the layer is as wide as one unit.",
        "The rows of a weight are equal, and their gradients too.",
        "Draw the weights at random: kaiming_normal_ or xavier_normal_.",
    ),
    Rule(
        "SF307",
        "zero-layers-in-a-row",
        "two layers in a row start with all weights at zero",
        "Neither passes on a signal or a gradient. They leave zero only by their "
        "biases, if at all. One zero layer at the end of a residual branch is sound.",
        "Weights that are all zero, fed by a layer whose weights are all zero.",
        "Draw the weights of at least one of them at random.",
    ),
    Rule(
        "SF308",
        "layer-too-large",
        "one layer enlarges its input far more than all others",
        "Its weights are out of scale with the rest of the network.",
        "Size of output over size of input of each weighted layer, against the median.",
        "Initialise the layer like the others.",
    ),
    Rule(
        "SF309",
        "deep-post-norm",
        "a deep transformer normalises after its residual branches",
        "Without a warm-up of the learning rate, such a network often diverges or "
        "stays at a poor loss.",
        "Encoder or decoder layers with norm_first=False, and no schedule known.",
        "Use norm_first=True, or warm the learning rate up over some hundred steps.",
        "Xiong et al. 2020, arXiv:2002.04745",
    ),
)

DATA: tuple[Rule, ...] = (
    Rule(
        "SF401",
        "input-not-finite",
        "the inputs hold NaN or infinity",
        "The batch itself is broken; the network is not to blame.",
        "The tensors that the first layers were given.",
        "Find the examples that hold them, and repair or drop them when loading.",
    ),
    Rule(
        "SF402",
        "inputs-not-scaled",
        "the inputs are far from unit size",
        "Initialisations assume inputs of about unit size. Much larger ones saturate "
        "activations, or give huge outputs and a first loss far too high.",
        "The root mean square of what the first layer is given, and the harm that "
        "follows: the first loss, or trial updates.",
        "Subtract the mean and divide by the standard deviation of the training "
        "inputs; divide pixels by 255.",
        "LeCun et al. 1998, Efficient BackProp, section 4.3",
    ),
    Rule(
        "SF403",
        "inputs-all-the-same",
        "all examples of the batch have the same input",
        "Nothing can be learned from them: often a bug in loading or augmenting.",
        "The rows of what the first layer is given do not differ.",
        "Look at two examples of the batch, before and after each transformation.",
    ),
    Rule(
        "SF404",
        "targets-out-of-range",
        "the targets do not fit the outputs",
        "Targets outside of the range that the loss is defined for.",
        "Smallest and largest target against the loss function's domain.",
        "Map the targets to the range: 0 to C-1 for classes, 0 to 1 for binary ones.",
    ),
    Rule(
        "SF405",
        "one-class-in-the-batch",
        "the batch holds a single class",
        "A network trained on batches of one class after another forgets the others: "
        "usually the data is sorted and not shuffled.",
        "The distinct class targets of this batch.",
        "Shuffle: DataLoader(..., shuffle=True).",
    ),
    Rule(
        "SF406",
        "classes-imbalanced",
        "one class is most of the batch",
        "A network that always answers this class is right that often; look at more "
        "than the accuracy.",
        "The share of the commonest class of this batch.",
        "Weight the classes in the loss, or sample them evenly.",
    ),
)

NORMS: tuple[Rule, ...] = (
    Rule(
        "SF501",
        "batch-norm-on-too-few",
        "a batch normalisation has too few values",
        "Mean and variance of one example, or of one or two values, say nothing about "
        "the data: training and evaluation see different networks.",
        "Examples, and values a channel, in the batch; the expected relative error of "
        "the variance is sqrt(2 / (n - 1)).",
        "Raise the batch size, or use GroupNorm or LayerNorm.",
        "Wu & He 2018, arXiv:1803.08494; error of the variance of n normal values",
    ),
    Rule(
        "SF502",
        "evaluation-mode",
        "the model is in evaluation mode",
        "Dropout is off and batch norms use running statistics that were never "
        "collected. Usually model.train() is missing after an evaluation.",
        "The training flag of the model and of its Dropout and BatchNorm modules.",
        "Call model.train() before the training loop.",
    ),
    Rule(
        "SF503",
        "batch-norm-momentum",
        "a batch norm never updates its running statistics",
        "With momentum zero the statistics stay at 0 and 1, so that in evaluation "
        "mode the network is another one.",
        "momentum of the batch norms.",
        "Use the default of 0.1. torch's momentum is one minus TensorFlow's.",
    ),
    Rule(
        "SF504",
        "dropout-too-strong",
        "a dropout drops nearly everything",
        "Nine of ten values or more are zeroed: p is the share that is dropped, not "
        "the share that is kept.",
        "p of the dropout modules.",
        "Use p = 0.1 to 0.5.",
        "torch.nn.Dropout: p is the probability of an element to be zeroed",
    ),
)

LEARNING: tuple[Rule, ...] = (
    Rule(
        "SF601",
        "cannot-learn",
        "the network does not learn one batch at any rate",
        "Trial updates on one batch, at rates over four decades, neither lower the "
        "loss nor teach the network to tell its examples apart.",
        "Loss and outputs after a few dozen updates, which are undone.",
        "Mend the layer that is named; if none is, look at targets and loss function.",
    ),
    Rule(
        "SF602",
        "learning-rate-too-high",
        "the learning rate is too high",
        "The very first update goes so far across the valley that the loss is higher "
        "on the other side.",
        "The loss along the first update: the smallest fraction of it that raises the "
        "loss. The network and the batch are sound at a lower rate.",
        "Lower the learning rate into the interval given, or warm it up.",
        "critical learning rate along the update: Kalra & Barkeshli 2024, "
        "arXiv:2406.09405",
    ),
    Rule(
        "SF603",
        "learning-rate-too-low",
        "the learning rate is too low",
        "Dozens of updates on one batch leave its loss where it was, and so do updates "
        "a hundred times as long.",
        "Trial updates at the rate as it is, and at a hundred times that.",
        "Raise the learning rate into the interval given.",
    ),
    Rule(
        "SF605",
        "not-repeatable",
        "the same batch gives two losses",
        "With the same weights and random numbers the loss differs, so that runs "
        "cannot be repeated.",
        "The loss, computed twice from the same state.",
        "Look for a state that the loss function keeps, or for nondeterministic "
        "operations: torch.use_deterministic_algorithms(True).",
    ),
)

PRECISION: tuple[Rule, ...] = (
    Rule(
        "SF701",
        "half-overflow",
        "an output is near the end of half precision",
        "float16 ends at 65,504. A little growth turns this layer's output into "
        "infinity.",
        "The largest magnitude of outputs in float16.",
        "Use bfloat16, or scale the layer down.",
        "IEEE 754, binary16: largest number 65,504",
    ),
    Rule(
        "SF702",
        "half-underflow",
        "most of a gradient is zero in half precision",
        "Gradients below 6e-8 are lost in float16. Without scaling the loss, these "
        "weights do not train.",
        "The share of gradients that are zero, or below 2^-24, in weights that run in "
        "float16.",
        "Use torch.amp.GradScaler, or bfloat16.",
        "Micikevicius et al. 2018, arXiv:1710.03740",
    ),
)
