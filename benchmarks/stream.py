"""Microseconds a frame of a stream: `python -m benchmarks.stream`.

One thread, one frame at a time, with all that `update` does: the check of the frame, the transform, the score, the next
state.  The scores are compared with `score_frames` bit for bit first; then the best of some rounds is printed, so that
what else the machine does counts least."""

import argparse
import time

import numpy as np

from rnnrnade import RNNRNADE, Linear, config

SIZES = {"D": 49, "H": 100, "K": 10, "R": 200}
TRANSFORMS = {"none": None, "standardize": Linear(), "var": Linear(lags=2, covariance="full")}
FRAMES, ROUNDS = 500, 20


def model_of(dtype, transform, cell, generator, X):
    """A model of the given sizes, untrained: its parameters take as long as others."""
    from rnnrnade.layout import Layout, initial_parameters

    layout = Layout("gaussian", **SIZES, cell=cell, context=("alpha", "mu", "sigma"), min_scale=1e-3)
    parameters = layout.views(initial_parameters(layout, generator, np.dtype(dtype)))
    if transform is not None:
        transform.fit(X, np.array([0, len(X)]))
    return RNNRNADE.from_parameters(parameters, transform=transform, cell=cell, min_scale=1e-3, n_jobs=1)


def microseconds(model, X):
    """Of one frame: the median of a round of frames, and of the rounds the best."""
    best = np.inf
    for _ in range(ROUNDS):
        stream, times = model.stream(), []
        for frame in X:
            begin = time.perf_counter()
            stream.update(frame)
            times.append(time.perf_counter() - begin)
        best = min(best, 1e6 * float(np.median(times)))
    return best


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    generator = np.random.default_rng(0)
    X = generator.standard_normal((FRAMES, SIZES["D"]))
    print(f"{', '.join(f'{name} = {n}' for name, n in SIZES.items())}; kernels {config()['kernels']}, one thread")
    print(f"{'dtype':8}  {'cell':8}  {'transform':12}  microseconds a frame")
    for dtype in ("float32", "float64"):
        for cell, name in [("sigmoid", name) for name in TRANSFORMS] + [
            ("gru", "standardize"),
            ("lstm", "standardize"),
        ]:
            model = model_of(dtype, TRANSFORMS[name], cell, generator, X)
            stream = model.stream()
            assert np.array_equal([stream.update(frame) for frame in X], model.score_frames(X)), "not the same bits"
            print(f"{dtype:8}  {cell:8}  {name:12}  {microseconds(model, X):8.1f}")


if __name__ == "__main__":
    main()
