"""Writes tests/data: model files of each class, and what the version that wrote them says of them.

    python tools/make_old_files.py

Files that earlier versions wrote load for ever, with the same parameters and scores; tests/test_old_files.py holds the
library to it.  This was run once, at commit be3fbdc, with format 2.  Do not run it again over its files: they are old
files because no later version has written them.  Where the format changes, write those of the new one beside them.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from rnnrnade import NADE, RNADE, RNNNADE, RNNRNADE, Linear

FOLDER = Path(__file__).parents[1] / "tests" / "data"
NAMES = ["pressure", "flow", "temperature"]
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(40, 3)) @ RNG.normal(size=(3, 3))
SEQUENCES = [RNG.normal(size=(T, 3)).cumsum(axis=0) for T in RNG.integers(5, 20, size=15)]
FEW = {"max_epochs": 3, "batch_size": 8, "random_state": 0}


def bits(x):
    return (x > 0).astype(float)


def named(sequences):
    return [pd.DataFrame(x, columns=NAMES) for x in sequences]


# name: fitted model, X to score
MODELS = {
    "RNADE": (RNADE(3, 4, validate_every=2, **FEW).fit(VECTORS), VECTORS[:6]),
    "NADE": (NADE(4, activation="relu", dtype="float64", **FEW).fit(bits(VECTORS)), bits(VECTORS[:6])),
    "RNNRNADE": (
        RNNRNADE(
            2, 4, n_recurrent=3, cell="lstm", context=("mu", "hidden"), transform=Linear(lags=1, ridge=0.5),
            weight_decay={"W": 0.1}, optimizer="sgd", dtype="float64", **FEW,
        ).fit(SEQUENCES),
        SEQUENCES[:2],
    ),
    "RNNNADE": (
        RNNNADE(4, n_recurrent=3, cell="tanh", order="random", learn_rho=True, **FEW).fit([bits(x) for x in SEQUENCES]),
        [bits(x) for x in SEQUENCES[:2]],
    ),
    "ensemble": (
        RNNRNADE(
            2, 4, n_recurrent=3, cell="gru", transform="var", n_orders=2, order=[2, 0, 1], dtype="float64", **FEW
        ).fit(named(SEQUENCES)),
        named(SEQUENCES[:2]),
    ),
}  # fmt: skip


def about(model, X):
    """What the library says of a model, for JSON: a float keeps all its digits."""
    options = model.get_params(deep=False)
    if isinstance(options.get("transform"), Linear):
        options["transform"] = options["transform"].get_params()
    sequences = isinstance(X, list)
    return {
        "class": type(model).__name__,
        "options": options,
        "feature_names": list(getattr(model, "feature_names_in_", [])),
        "members": [of_member(member, X) for member in model.members_],
        "X": [np.asarray(x) for x in X] if sequences else X,
        "score_samples": model.score_samples(X),
        "sample": model.sample(3, 4, random_state=0) if sequences else model.sample(5, random_state=0),
    }


def of_member(member, X):
    names = ("mean_", "scale_", "coefficients_", "intercepts_", "factors_")
    return {
        "order": member.order_,
        "n_iter": member.n_iter_,
        "best_epoch": member.best_epoch_,
        "best_update": member.best_update_,
        "history": {name: column for name, column in member.history_.items() if name != "seconds"},
        "parameters": dict(member.parameters_),
        "transform": None if member.transform_ is None else {name: getattr(member.transform_, name) for name in names},
        "score_dims": member.score_dims(X),
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, (model, _) in MODELS.items():
        model.save(FOLDER / f"{name}.safetensors")
    found = {name: about(model, X) for name, (model, X) in MODELS.items()}
    (FOLDER / "expected.json").write_text(json.dumps(found, default=lambda array: array.tolist(), indent=0) + "\n")


if __name__ == "__main__":
    main()
