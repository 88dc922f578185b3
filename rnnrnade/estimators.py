"""The estimators: their options, defaults and documentation, and nothing else.

The options are written out because scikit-learn reads them off the signature of __init__.
"""

from types import MappingProxyType

from sklearn.utils._param_validation import StrOptions

from .base import ESTIMATORS, load_estimator
from .exact import SequenceEstimator, VectorEstimator
from .latent import LatentSequences, LatentVectors
from .latents import ENCODERS, PRIORS
from .options import COMMON, LATENT, MASKED, MIXTURE, RECURRENT, REFIT, SHARE, documented

__all__ = [
    "ESTIMATORS",
    "MADE",
    "NADE",
    "RNADE",
    "RNNGMM",
    "RNNMADE",
    "RNNNADE",
    "RNNRNADE",
    "SRNN",
    "VAE",
    "VRNN",
    "RNNGauss",
    "load_estimator",
]


def without(options, *names):
    """What the options may be but for some."""
    return {name: value for name, value in options.items() if name not in names}


@documented
class RNADE(VectorEstimator):
    """Real-valued neural autoregressive density estimator: exact densities of vectors.

    The density of each dimension, given those before it, is a mixture of Gaussians or of another family
    (`conditional`), whose parameters come from hidden units that are updated from dimension to dimension, in
    O(n_hidden).

    Parameters
    ----------
    {mixture}
    {common}

    Attributes
    ----------
    {attributes}

    References
    ----------
    Uria, Murray and Larochelle, RNADE: The real-valued neural autoregressive density-estimator, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import RNADE
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> model = RNADE(n_components=2, n_hidden=8, max_epochs=5, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.score_dims(X).shape, model.sample(4).shape
    ((200,), (200, 3), (4, 3))
    """

    _parameter_constraints = MIXTURE | SHARE | COMMON

    def __init__(
        self,
        n_components=10,
        n_hidden=50,
        *,
        activation="sigmoid",
        conditional="gaussian",
        components="dimension",
        min_scale=1e-3,
        transform="auto",
        mean_gradient=False,
        columns=None,
        order=None,
        n_orders=1,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=32,
        optimizer="adam",
        learning_rate=1e-2,
        schedule=None,
        warmup=0,
        weight_decay=0.1,
        clip_norm=5.0,
        anneal=False,
        averaging=0.99,
        validation_fraction=0.1,
        validate_every=None,
        patience=20,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.n_hidden = n_hidden
        self.activation = activation
        self.conditional = conditional
        self.components = components
        self.min_scale = min_scale
        self.transform = transform
        self.mean_gradient = mean_gradient
        self.columns = columns
        self.order = order
        self.n_orders = n_orders
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class NADE(VectorEstimator):
    """Neural autoregressive distribution estimator: exact probabilities of binary vectors.

    Parameters
    ----------
    {units}
    {common}
    learn_rho : bool, default=False
        Learn the factor rho_d of the hidden units' input, which is 1 otherwise.

    Attributes
    ----------
    {attributes}

    References
    ----------
    Larochelle and Murray, The neural autoregressive distribution estimator, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import NADE
    >>> X = np.random.default_rng(0).integers(0, 2, size=(200, 3))
    >>> model = NADE(n_hidden=8, max_epochs=5, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.predict_params(X).p.shape
    ((200,), (200, 3))
    """

    _parameter_constraints = COMMON | {"learn_rho": ["boolean"]}

    def __init__(
        self,
        n_hidden=200,
        *,
        activation="sigmoid",
        columns=None,
        order=None,
        n_orders=1,
        learn_rho=False,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=32,
        optimizer="adam",
        learning_rate=1e-2,
        schedule=None,
        warmup=0,
        weight_decay=0.1,
        clip_norm=5.0,
        anneal=False,
        averaging=0.99,
        validation_fraction=0.1,
        validate_every=None,
        patience=20,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_hidden = n_hidden
        self.activation = activation
        self.columns = columns
        self.order = order
        self.n_orders = n_orders
        self.learn_rho = learn_rho
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class RNNRNADE(SequenceEstimator):
    """RNN-RNADE: exact densities of real-valued sequences.

    A recurrent net reads the past and sets the biases of an RNADE, which gives the density of the next frame one
    dimension at a time.

    Parameters
    ----------
    {mixture}
    {recurrent}
    {refit}
    {common}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> from rnnrnade import RNNRNADE
    >>> from rnnrnade.datasets import make_trajectories
    >>> X = make_trajectories(20, 30, random_state=0)
    >>> model = RNNRNADE(n_components=2, n_hidden=8, n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.score_dims(X)[0].shape, model.sample(4, 10).shape
    ((20,), (30, 2), (4, 10, 2))
    """

    _parameter_constraints = MIXTURE | SHARE | RECURRENT | COMMON | REFIT

    def __init__(
        self,
        n_components=10,
        n_hidden=100,
        *,
        n_recurrent=100,
        n_layers=1,
        cell="sigmoid",
        context=("alpha", "mu", "sigma"),
        window=None,
        input_noise=0.0,
        input_dropout=0.0,
        context_dropout=0.0,
        activation="sigmoid",
        conditional="gaussian",
        components="dimension",
        min_scale=1e-3,
        transform="auto",
        refit="all",
        mean_gradient=False,
        columns=None,
        order=None,
        n_orders=1,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=16,
        optimizer="adam",
        learning_rate=5e-3,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        anneal="auto",
        averaging=0.95,
        validation_fraction=0.1,
        validate_every=None,
        patience=10,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.n_hidden = n_hidden
        self.n_recurrent = n_recurrent
        self.n_layers = n_layers
        self.cell = cell
        self.context = context
        self.window = window
        self.input_noise = input_noise
        self.input_dropout = input_dropout
        self.context_dropout = context_dropout
        self.activation = activation
        self.conditional = conditional
        self.components = components
        self.min_scale = min_scale
        self.transform = transform
        self.refit = refit
        self.mean_gradient = mean_gradient
        self.columns = columns
        self.order = order
        self.n_orders = n_orders
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class RNNGMM(SequenceEstimator):
    """RNN-GMM: exact densities of real-valued sequences, each frame one mixture that a recurrent net drives.

    A frame is a mixture of n_components Gaussians (or another family), each with independent dimensions: RNNRNADE with
    ``components="frame"`` and without hidden units.  The density of a subset of a frame is exact, too, so that gaps in
    a frame are integrated out in closed form behind any transform (`log_likelihood_missing`).

    Parameters
    ----------
    n_components : int, default=10
        Components of a frame; >= 1.
    {family}
    {density}
    {recurrent}
    {refit}
    {common}

    Attributes
    ----------
    {attributes}

    References
    ----------
    Schuster, Better generative models for sequential data problems: bidirectional recurrent mixture density networks,
    1999; Chung, Kastner, Dinh, Goel, Courville and Bengio, A recurrent latent variable model for sequential data, 2015.

    Examples
    --------
    >>> from rnnrnade import RNNGMM
    >>> from rnnrnade.datasets import make_trajectories
    >>> X = make_trajectories(20, 30, random_state=0)
    >>> model = RNNGMM(n_components=3, n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.score_dims(X)[0].shape, model.sample(4, 10).shape
    ((20,), (30, 2), (4, 10, 2))
    """

    _parameter_constraints = without(MIXTURE | RECURRENT | COMMON | REFIT, "n_hidden", "activation")
    _preset = MappingProxyType({"components": "frame", "n_hidden": 0})

    def __init__(
        self,
        n_components=10,
        *,
        n_recurrent=100,
        n_layers=1,
        cell="sigmoid",
        context=("alpha", "mu", "sigma"),
        window=None,
        input_noise=0.0,
        input_dropout=0.0,
        context_dropout=0.0,
        conditional="gaussian",
        min_scale=1e-3,
        transform="auto",
        refit="all",
        mean_gradient=False,
        columns=None,
        order=None,
        n_orders=1,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=16,
        optimizer="adam",
        learning_rate=5e-3,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        anneal="auto",
        averaging=0.95,
        validation_fraction=0.1,
        validate_every=None,
        patience=10,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.n_recurrent = n_recurrent
        self.n_layers = n_layers
        self.cell = cell
        self.context = context
        self.window = window
        self.input_noise = input_noise
        self.input_dropout = input_dropout
        self.context_dropout = context_dropout
        self.conditional = conditional
        self.min_scale = min_scale
        self.transform = transform
        self.refit = refit
        self.mean_gradient = mean_gradient
        self.columns = columns
        self.order = order
        self.n_orders = n_orders
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class RNNGauss(SequenceEstimator):
    """RNN-Gauss: exact densities of real-valued sequences, each frame one Gaussian that a recurrent net drives.

    Mean and standard deviation of each dimension come from the recurrent state; behind a transform with a full
    covariance its noise is correlated.  RNNGMM with one component.

    Parameters
    ----------
    {density}
    {recurrent}
    {refit}
    {common}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> from rnnrnade import RNNGauss
    >>> from rnnrnade.datasets import make_trajectories
    >>> X = make_trajectories(20, 30, random_state=0)
    >>> model = RNNGauss(n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.score_dims(X)[0].shape, model.sample(4, 10).shape
    ((20,), (30, 2), (4, 10, 2))
    """

    _parameter_constraints = without(
        MIXTURE | RECURRENT | COMMON | REFIT, "n_hidden", "activation", "n_components", "conditional"
    )
    _preset = MappingProxyType({"components": "frame", "n_hidden": 0, "n_components": 1, "conditional": "gaussian"})

    def __init__(
        self,
        *,
        n_recurrent=100,
        n_layers=1,
        cell="sigmoid",
        context=("mu", "sigma"),
        window=None,
        input_noise=0.0,
        input_dropout=0.0,
        context_dropout=0.0,
        min_scale=1e-3,
        transform="auto",
        refit="all",
        mean_gradient=False,
        columns=None,
        order=None,
        n_orders=1,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=16,
        optimizer="adam",
        learning_rate=5e-3,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        anneal="auto",
        averaging=0.95,
        validation_fraction=0.1,
        validate_every=None,
        patience=10,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_recurrent = n_recurrent
        self.n_layers = n_layers
        self.cell = cell
        self.context = context
        self.window = window
        self.input_noise = input_noise
        self.input_dropout = input_dropout
        self.context_dropout = context_dropout
        self.min_scale = min_scale
        self.transform = transform
        self.refit = refit
        self.mean_gradient = mean_gradient
        self.columns = columns
        self.order = order
        self.n_orders = n_orders
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class RNNNADE(SequenceEstimator):
    """RNN-NADE: exact probabilities of binary sequences.

    Parameters
    ----------
    {units}
    {recurrent}
    {common}
    learn_rho : bool, default=False
        Learn the factor rho_d of the hidden units' input, which is 1 otherwise.

    Attributes
    ----------
    {attributes}

    References
    ----------
    Boulanger-Lewandowski, Bengio and Vincent, High-dimensional sequence transduction, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import RNNNADE
    >>> X = list(np.random.default_rng(0).integers(0, 2, size=(20, 30, 3)))
    >>> model = RNNNADE(n_hidden=8, n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.sample(4, 10).shape
    ((20,), (4, 10, 3))
    """

    _parameter_constraints = RECURRENT | COMMON | {"learn_rho": ["boolean"]}

    def __init__(
        self,
        n_hidden=50,
        *,
        n_recurrent=100,
        n_layers=1,
        cell="sigmoid",
        context=("bias", "hidden"),
        window=None,
        input_noise=0.0,
        input_dropout=0.0,
        context_dropout=0.0,
        activation="sigmoid",
        columns=None,
        order=None,
        n_orders=1,
        learn_rho=False,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=16,
        optimizer="adam",
        learning_rate=1e-2,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        anneal=False,
        averaging=0.99,
        validation_fraction=0.1,
        validate_every=None,
        patience=10,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_hidden = n_hidden
        self.n_recurrent = n_recurrent
        self.n_layers = n_layers
        self.cell = cell
        self.context = context
        self.window = window
        self.input_noise = input_noise
        self.input_dropout = input_dropout
        self.context_dropout = context_dropout
        self.activation = activation
        self.columns = columns
        self.order = order
        self.n_orders = n_orders
        self.learn_rho = learn_rho
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class MADE(VectorEstimator):
    """Masked autoencoder for distribution estimation: exact probabilities of binary vectors, or densities of real ones.

    Dense layers whose masks let each conditional depend on the dimensions before it only.  One pass gives all of them,
    and one pass in all gives a draw.

    Parameters
    ----------
    {masked}
    input_dropout : float, default=0.0
        The same for the dimensions that the first layer, or a direct weight, reads; in [0, 1).
    {common}

    Attributes
    ----------
    {attributes}

    References
    ----------
    Germain, Gregor, Murray and Larochelle, MADE: Masked autoencoder for distribution estimation, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import MADE
    >>> X = np.random.default_rng(0).integers(0, 2, size=(200, 3))
    >>> model = MADE(n_hidden=(8, 8), max_epochs=5, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.predict_params(X).p.shape
    ((200,), (200, 3))
    """

    _conditioner = "made"
    _parameter_constraints = COMMON | MASKED

    def __init__(
        self,
        n_hidden=500,
        *,
        n_components=10,
        activation="sigmoid",
        conditional="bernoulli",
        direct=True,
        degrees="even",
        n_masks=1,
        unit_dropout=0.0,
        input_dropout=0.0,
        min_scale=1e-3,
        transform="auto",
        mean_gradient=False,
        columns=None,
        order=None,
        n_orders=1,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=32,
        optimizer="adam",
        learning_rate=1e-3,
        schedule=None,
        warmup=0,
        weight_decay=0.1,
        clip_norm=5.0,
        anneal=False,
        averaging=0.99,
        validation_fraction=0.1,
        validate_every=None,
        patience=20,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_hidden = n_hidden
        self.n_components = n_components
        self.activation = activation
        self.conditional = conditional
        self.direct = direct
        self.degrees = degrees
        self.n_masks = n_masks
        self.unit_dropout = unit_dropout
        self.input_dropout = input_dropout
        self.min_scale = min_scale
        self.transform = transform
        self.mean_gradient = mean_gradient
        self.columns = columns
        self.order = order
        self.n_orders = n_orders
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class RNNMADE(SequenceEstimator):
    """RNN-MADE: exact probabilities of binary sequences, or densities of real ones.

    A recurrent net reads the past; its state adds to the first hidden layer and to the raw outputs of a MADE.

    Parameters
    ----------
    {masked}
    {recurrent}
    {common}

    Attributes
    ----------
    {attributes}

    References
    ----------
    Germain, Gregor, Murray and Larochelle, MADE: Masked autoencoder for distribution estimation, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import RNNMADE
    >>> X = list(np.random.default_rng(0).integers(0, 2, size=(20, 30, 3)))
    >>> model = RNNMADE(n_hidden=(8, 8), n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.sample(4, 10).shape
    ((20,), (4, 10, 3))
    """

    _conditioner = "made"
    _parameter_constraints = RECURRENT | COMMON | MASKED | {"context": [None, tuple, list]}

    def __init__(
        self,
        n_hidden=500,
        *,
        n_components=10,
        n_recurrent=100,
        n_layers=1,
        cell="sigmoid",
        context=None,
        window=None,
        input_noise=0.0,
        input_dropout=0.0,
        context_dropout=0.0,
        activation="sigmoid",
        conditional="bernoulli",
        direct=True,
        degrees="even",
        n_masks=1,
        unit_dropout=0.0,
        min_scale=1e-3,
        transform="auto",
        mean_gradient=False,
        columns=None,
        order=None,
        n_orders=1,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=16,
        optimizer="adam",
        learning_rate=1e-3,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        anneal=False,
        averaging=0.99,
        validation_fraction=0.1,
        validate_every=None,
        patience=10,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_hidden = n_hidden
        self.n_components = n_components
        self.n_recurrent = n_recurrent
        self.n_layers = n_layers
        self.cell = cell
        self.context = context
        self.window = window
        self.input_noise = input_noise
        self.input_dropout = input_dropout
        self.context_dropout = context_dropout
        self.activation = activation
        self.conditional = conditional
        self.direct = direct
        self.degrees = degrees
        self.n_masks = n_masks
        self.unit_dropout = unit_dropout
        self.min_scale = min_scale
        self.transform = transform
        self.mean_gradient = mean_gradient
        self.columns = columns
        self.order = order
        self.n_orders = n_orders
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class VAE(LatentVectors):
    """Variational autoencoder: densities of vectors with a latent vector behind each.

    The latent vector y has a standard normal prior; the density of a row given y is that of any frame of the library,
    and an encoder, trained with it, approximates the posterior.  Log-densities are estimates by importance sampling
    (`score_samples`, `log_likelihood`) or lower bounds (`lower_bound`): only with n_latent=0 are they exact.

    Parameters
    ----------
    {latent}
    {one}

    Attributes
    ----------
    {of one}
    noise_seed_ : int
        Of the noise of estimates.

    References
    ----------
    Kingma and Welling, Auto-encoding variational Bayes, 2014; Rezende, Mohamed and Wierstra, Stochastic backpropagation
    and approximate inference in deep generative models, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import VAE
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> model = VAE(n_latent=2, n_units=8, max_epochs=5, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.encode(X).shape, model.sample(4).shape
    ((200,), (200, 2), (4, 3))
    """

    _parameter_constraints = without(MIXTURE | SHARE | COMMON | LATENT, "columns", "n_orders", "mean_gradient")
    _preset = MappingProxyType({"n_orders": 1, "context": None})

    def __init__(
        self,
        n_latent=8,
        n_units=100,
        n_dense=1,
        *,
        n_components=1,
        n_hidden=0,
        activation="sigmoid",
        conditional="gaussian",
        components="dimension",
        min_scale=1e-3,
        min_latent_scale=1e-3,
        transform="auto",
        n_particles=64,
        kl_start=0.2,
        kl_warmup=None,
        free_nats=0.0,
        n_importance=1,
        order=None,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=32,
        optimizer="adam",
        learning_rate=3e-3,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        anneal=False,
        averaging=0.99,
        validation_fraction=0.1,
        validate_every=None,
        patience=20,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_latent = n_latent
        self.n_units = n_units
        self.n_dense = n_dense
        self.n_components = n_components
        self.n_hidden = n_hidden
        self.activation = activation
        self.conditional = conditional
        self.components = components
        self.min_scale = min_scale
        self.min_latent_scale = min_latent_scale
        self.transform = transform
        self.n_particles = n_particles
        self.kl_start = kl_start
        self.kl_warmup = kl_warmup
        self.free_nats = free_nats
        self.n_importance = n_importance
        self.order = order
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class VRNN(LatentSequences):
    """Variational recurrent neural network: densities of sequences with a latent vector behind each frame.

    Prior and encoder of the latent vector, and the frame, read the recurrent state, and the recurrence reads frame and
    latent vector.  The density of a frame given them is that of any frame of the library: one Gaussian (VRNN-Gauss), a
    mixture (``components="frame"``, VRNN-GMM), an RNADE (n_hidden > 0).  Log-densities are estimates by a particle
    filter (`score_samples`, `log_likelihood`) or lower bounds (`lower_bound`): only with n_latent=0 are they exact.

    Parameters
    ----------
    {latent}
    prior : {"recurrent", "standard"}, default="recurrent"
        "standard": the prior is N(0, I) at every time (VRNN-I).
    residual : bool, default=False
        Add the mean of the prior to that of the encoder.
    {recurrence}
    {refit}
    {one}

    Attributes
    ----------
    {of one}
    noise_seed_ : int
        Of the noise of estimates.

    References
    ----------
    Chung, Kastner, Dinh, Goel, Courville and Bengio, A recurrent latent variable model for sequential data, 2015.

    Examples
    --------
    >>> from rnnrnade import VRNN
    >>> from rnnrnade.datasets import make_trajectories
    >>> X = make_trajectories(20, 30, random_state=0)
    >>> model = VRNN(n_latent=2, n_units=8, n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.encode(X)[0].shape, model.sample(4, 10).shape
    ((20,), (30, 2), (4, 10, 2))
    """

    _parameter_constraints = without(
        MIXTURE | SHARE | RECURRENT | COMMON | REFIT | LATENT, "columns", "n_orders", "mean_gradient",
        "context", "input_noise", "input_dropout", "context_dropout",
    ) | {"prior": [StrOptions(set(PRIORS))], "residual": ["boolean"]}  # fmt: skip
    _preset = MappingProxyType({"n_orders": 1, "context": None})
    _latent = "vrnn"

    def __init__(
        self,
        n_latent=16,
        n_units=100,
        n_dense=1,
        *,
        prior="recurrent",
        residual=False,
        n_recurrent=100,
        n_layers=1,
        cell="gru",
        window=None,
        n_components=1,
        n_hidden=0,
        activation="sigmoid",
        conditional="gaussian",
        components="dimension",
        min_scale=1e-3,
        min_latent_scale=1e-3,
        transform="auto",
        refit="all",
        n_particles=64,
        kl_start=0.2,
        kl_warmup=None,
        free_nats=0.0,
        n_importance=1,
        order=None,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=16,
        optimizer="adam",
        learning_rate=3e-3,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        anneal=False,
        averaging=0.95,
        validation_fraction=0.1,
        validate_every=None,
        patience=10,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_latent = n_latent
        self.n_units = n_units
        self.n_dense = n_dense
        self.prior = prior
        self.residual = residual
        self.n_recurrent = n_recurrent
        self.n_layers = n_layers
        self.cell = cell
        self.window = window
        self.n_components = n_components
        self.n_hidden = n_hidden
        self.activation = activation
        self.conditional = conditional
        self.components = components
        self.min_scale = min_scale
        self.min_latent_scale = min_latent_scale
        self.transform = transform
        self.refit = refit
        self.n_particles = n_particles
        self.kl_start = kl_start
        self.kl_warmup = kl_warmup
        self.free_nats = free_nats
        self.n_importance = n_importance
        self.order = order
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class SRNN(LatentSequences):
    """Stochastic recurrent neural network: a deterministic recurrence, and latent vectors that follow each other.

    The recurrence reads the frames alone; prior and encoder of the latent vector read its state and the latent vector
    before, and the encoder, with ``encoder="smooth"``, what comes after, by a second recurrence that runs back in time.
    Log-densities are estimates (`score_samples`, `log_likelihood`: importance sampling with a smoothing encoder, else a
    particle filter) or lower bounds (`lower_bound`): only with n_latent=0 are they exact.

    Parameters
    ----------
    {latent}
    encoder : {"smooth", "filter"}, default="smooth"
    residual : bool, default=True
        Add the mean of the prior to that of the encoder.
    {recurrence}
    {refit}
    {one}

    Attributes
    ----------
    {of one}
    noise_seed_ : int
        Of the noise of estimates.

    References
    ----------
    Fraccaro, Sonderby, Paquet and Winther, Sequential neural models with stochastic layers, 2016.

    Examples
    --------
    >>> from rnnrnade import SRNN
    >>> from rnnrnade.datasets import make_trajectories
    >>> X = make_trajectories(20, 30, random_state=0)
    >>> model = SRNN(n_latent=2, n_units=8, n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.encode(X)[0].shape, model.sample(4, 10).shape
    ((20,), (30, 2), (4, 10, 2))
    """

    _parameter_constraints = without(
        MIXTURE | SHARE | RECURRENT | COMMON | REFIT | LATENT, "columns", "n_orders", "mean_gradient",
        "context", "input_noise", "input_dropout", "context_dropout",
    ) | {"encoder": [StrOptions(set(ENCODERS))], "residual": ["boolean"]}  # fmt: skip
    _preset = MappingProxyType({"n_orders": 1, "context": None})
    _latent = "srnn"

    def __init__(
        self,
        n_latent=16,
        n_units=100,
        n_dense=1,
        *,
        encoder="smooth",
        residual=True,
        n_recurrent=100,
        n_layers=1,
        cell="gru",
        window=None,
        n_components=1,
        n_hidden=0,
        activation="sigmoid",
        conditional="gaussian",
        components="dimension",
        min_scale=1e-3,
        min_latent_scale=1e-3,
        transform="auto",
        refit="all",
        n_particles=64,
        kl_start=0.2,
        kl_warmup=None,
        free_nats=0.0,
        n_importance=1,
        order=None,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=16,
        optimizer="adam",
        learning_rate=3e-3,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        anneal=False,
        averaging=0.95,
        validation_fraction=0.1,
        validate_every=None,
        patience=10,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_latent = n_latent
        self.n_units = n_units
        self.n_dense = n_dense
        self.encoder = encoder
        self.residual = residual
        self.n_recurrent = n_recurrent
        self.n_layers = n_layers
        self.cell = cell
        self.window = window
        self.n_components = n_components
        self.n_hidden = n_hidden
        self.activation = activation
        self.conditional = conditional
        self.components = components
        self.min_scale = min_scale
        self.min_latent_scale = min_latent_scale
        self.transform = transform
        self.refit = refit
        self.n_particles = n_particles
        self.kl_start = kl_start
        self.kl_warmup = kl_warmup
        self.free_nats = free_nats
        self.n_importance = n_importance
        self.order = order
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.anneal = anneal
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
