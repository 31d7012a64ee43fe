"""NumPy implementation of the report's mathematics: one function per equation, in report order.

All functions work in float64 and are vectorized over a mini-batch, whose samples are the first
axis. Random functions take an explicit `rng`. Invalid arguments raise a ValueError that states the
rule and the value received. The docstring of a function starts with the number of its equation.

| module | section | contents |
|---|---|---|
| descent | 1.2.1 | Algorithm 1: gradient descent for one neuron |
| activations | 1.2.2 | (1)-(5) and their derivatives |
| network | 1.2.2 | (6)-(9): forward pass of a dense network |
| backprop | 1.2.2 | (10)-(16) and Algorithm 2: backpropagation through dense layers |
| losses | 1.2.2 | (17)-(27): squared error, cross-entropy, softmax, log-likelihood |
| convolution | 2 | (28)-(30), output sizes, parameter counts, standard kernels |
| pooling | 2 | (31a), (31b) and average pooling |
| conv_backprop | 2.1 | (32)-(36): backpropagation through a convolution |
| generalization | 3, 4.9 | data splits, overfitting and underfitting, top-k accuracy |
| optimizers | 4.1 | (37) momentum; Nesterov, Adagrad, RMSprop, Adam |
| regularization | 4.2, 4.3 | (38)-(39) L1 and L2 penalties; dropout |
| stopping | 4.4 | early stopping |
| preprocessing | 4.5, 4.8 | resizing, normalization, data augmentation |
| batch_norm | 4.7 | (40) batch normalization |
| search_space | 4.10, 5 | (41) Cartesian product of hyperparameter values |

`layers` wraps these functions in layer classes, and `training` holds the training loop with
shuffled mini-batches (section 4.6). `arrays` defines array types and argument checks.

`equations` is the index from equation numbers to functions and runs their checks. `checks` defines
what a check is and computes gradients by central differences, and `checks_*` list the checks of
each section. `errata` lists the errors of the printed report, and `misprints` measures them.
"""
