"""This library, through its public calls only: checks of the input and copies of the answer are in the times."""

import numpy as np

import rnnrnade

from ..workloads import LATENT_FLOOR, random_noise
from . import LEARNING_RATE

ESTIMATORS = {  # of rows, of sequences
    ("nade", "gaussian"): ("RNADE", "RNNRNADE"),
    ("nade", "bernoulli"): ("NADE", "RNNNADE"),
    ("made", "bernoulli"): ("MADE", "RNNMADE"),
    ("shared", "gaussian"): (None, "RNNGMM"),
}
LATENT = {"vrnn": {"cell": "gru"}, "srnn": {"cell": "gru", "residual": True}}


class Ours:
    def __init__(self, workload, parameters, threads):
        self.static = workload.R == 0
        name = ESTIMATORS[workload.conditioner, workload.head][0 if self.static else 1]
        self.model = getattr(rnnrnade, name).from_parameters(
            parameters,
            n_jobs=threads,
            batch_size=workload.N,
            learning_rate=LEARNING_RATE,
            weight_decay=0.0,
            clip_norm=None,
            validation_fraction=None,
            random_state=0,
        )
        self.generator = np.random.default_rng(0)

    def rows(self, x):
        return x[:, 0] if self.static else x

    def forward(self, x):
        return self.model.score_samples(self.rows(x))

    def gradient(self, x):
        return self.model.log_likelihood_and_gradient(self.rows(x))

    def named(self, gradient):
        return gradient

    def step(self, x):
        """One epoch of partial_fit whose one batch is x; batch assembly and bookkeeping are in the time."""
        self.model.partial_fit(self.rows(x))
        return self.model.history_["loss"][-1]

    def sample(self, n, frames):
        if self.static:
            return self.model.sample(n, random_state=self.generator)[:, None]
        return self.model.sample(n, frames, random_state=self.generator)

    def epochs(self, x, batch_size, n):
        """n epochs of fit from the present parameters, without validation; the loss of the last."""
        self.model.set_params(warm_start=True, batch_size=batch_size, max_epochs=n)
        return self.model.fit(self.rows(x)).history_["loss"][-1]


class OursLatent:
    def __init__(self, workload, parameters, dtype, threads):
        self.model = getattr(rnnrnade, workload.conditioner.upper()).from_parameters(
            parameters,
            conditional=workload.head,
            min_latent_scale=LATENT_FLOOR,
            n_jobs=threads,
            **LATENT[workload.conditioner],
        )
        self.names = list(parameters)
        self.noise = random_noise(workload, dtype).reshape(workload.M, workload.J)

    def gradient(self, x):
        return self.model.lower_bound_and_gradient(x, self.noise)

    def named(self, gradient):
        return {name: gradient[name] for name in self.names}  # not those of hidden units, of which there are none


def prepare(workload, parameters, dtype, threads, variant):
    if workload.latent:
        return OursLatent(workload, parameters, dtype, threads)
    return Ours(workload, parameters, threads)
