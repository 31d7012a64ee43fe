"""The report's mathematics in NumPy: one function an equation, in the report's order, to be read.

Everything here is float64, vectorised over a mini-batch (the first axis), takes its randomness as
an explicit `rng`, and raises ValueError with the rule, what was expected and what was received.
Each function's docstring opens with the number of its equation. Reading order:

    descent         1.2.1  Algorithm 1: one neuron, gradient descent
    activations     1.2.2  (1)-(5) and their derivatives
    network         1.2.2  (6)-(9), the forward pass
    backprop        1.2.2  (10)-(16), Algorithm 2
    losses          1.2.2  (17)-(21); cross_entropy: (22)-(25)
    softmax         1.2.2  (26)-(27)
    convolution     2      (28)-(30), sizes, parameter counts; kernels: the named ones
    pooling         2      (31a), (31b), average pooling
    conv_backprop   2.1    (32)-(36)
    generalisation  3      splits, the gap, under- and overfitting
    momentum        4.1    (37); adaptive: Adagrad, RMSprop, Adam
    regularisation  4.2    (38)-(39)
    dropout         4.3    training and evaluation mode
    stopping        4.4    the optimal epoch
    preprocessing   4.5    resizing, normalisation
    shuffling       4.6    a new order every epoch
    batch_norm      4.7    (40)
    augmentation    4.8    fresh views every epoch
    transfer        4.9    top-1, top-5
    hyperspace      5      (41), an idea of 4.10

`layers` are layers of all these kinds, `training` the loop that makes a network of them learn.
`equations` is the index from number to function, `checks` what is claimed of each and computed in
two ways (`oracles`, `checks_*`), `gradcheck` compares a derivative with central differences, and
`errata` lists where the report's print and the truth differ (`misprints_*` compute both).
"""
