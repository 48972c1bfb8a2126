"""Slow, obvious float64 NumPy versions of DUAL's two objectives: the oracles of the tests."""

import numpy as np


def forward(layers, x):
    """Dense layers [(kernel, bias), ...] with ReLU between them."""
    for i, (kernel, bias) in enumerate(layers):
        x = x @ kernel + bias
        if i < len(layers) - 1:
            x = np.maximum(x, 0)
    return x


def layers_of(params):
    """Kernels and biases, in order, of a dense module's parameters."""
    dense = [params["layers"][i] for i in sorted(params["layers"], key=int)]
    return [(np.float64(layer["kernel"]), np.float64(layer["bias"])) for layer in dense]


def standardise(a):
    centred = a - a.mean(0)
    return centred / np.sqrt((centred**2).sum(1).mean())


def robustly(a):
    """Rows less their geometric median, in units of their median length, by Weiszfeld's iteration."""
    center = a.mean(0)
    for _ in range(300):
        pulls = 1 / np.linalg.norm(a - center, axis=1)
        center = pulls @ a / pulls.sum()
    return (a - center) / np.median(np.linalg.norm(a - center, axis=1))


def squash(x, z):
    both = np.concatenate([robustly(x), standardise(z)], 1) / np.sqrt(2)
    length = np.sqrt((both**2).sum(1, keepdims=True))
    return both * np.log1p(length) / length


def free_terms(x, encoder, decoder, q, p, centroids):
    """Terms of the paper's objective; q (n, n) and p (K, n) hold a target a row, as in the released code."""
    z = forward(encoder, x)
    q = q * (1 - np.eye(len(q)))
    return np.array(
        [
            ((x - forward(decoder, q @ z)) ** 2).sum(),
            ((z - q @ z) ** 2).sum(),
            np.sqrt((q**2).sum(0)).sum(),
            ((centroids - p @ z) ** 2).sum(),
            np.sqrt((p**2).sum(0)).sum(),
        ]
    )


def simplex_terms(x, encoder, decoder, b, b_clusters, centroids, sizes, s0, temperature):
    """Terms of the recommended objective; loops over targets, softmax by definition."""
    n = len(x)
    z = forward(encoder, x)
    u = squash(x, z)

    def coefficients(b, targets, skip):
        rows = np.zeros((len(targets), n))
        for i, target in enumerate(targets):
            logits = 10 * b[i] - ((target - u) ** 2).sum(1) / (2 * temperature * s0)
            mass = np.exp(logits - logits.max())
            if skip:
                mass[i] = 0
            rows[i] = mass / mass.sum()
        return rows

    q, p = coefficients(b, u, True), coefficients(b_clusters, centroids, False)
    return np.array(
        [
            ((x - forward(decoder, q @ z)) ** 2).sum() / (x**2).sum(),
            np.sqrt(((u - q @ u) ** 2).sum(1)).sum() / n,
            np.sqrt(s0) / np.sqrt(n) * np.sqrt((q**2).sum(0)).sum(),
            (sizes * np.sqrt(((centroids - p @ u) ** 2).sum(1))).sum() / n,
            np.sqrt(s0) * np.sqrt((sizes[:, None] / n * p**2).sum(0)).sum(),
        ]
    )
