"""From the options of an estimator to its network."""

import numpy as np
from sklearn.utils._param_validation import InvalidParameterError

from .checks import check_memory
from .conditioners import CONDITIONERS
from .layout import Layout


def layout_of(estimator, D, latent=None, given=0):
    """The sizes and choices of an estimator's network for data of D dimensions behind `given` columns; latent: its
    latent nets."""
    head = estimator._head
    conditioner = CONDITIONERS[estimator._frame]
    try:
        H = conditioner.as_size(estimator._option("n_hidden"))
    except TypeError:
        raise estimator._bad_option("n_hidden", "a positive int or a tuple of such", estimator.n_hidden) from None
    contexts = conditioner.contexts(head)
    context = estimator._option("context", None if given else ())
    if context is None:
        context = [name for name in contexts if H or name != "hidden"]
    context = tuple(context)
    unknown = [name for name in context if name not in contexts]
    if unknown:
        raise InvalidParameterError(
            f"The 'context' parameter of {type(estimator).__name__} must be a tuple of names among {contexts}. "
            f"Got {unknown[0]!r} in it."
        )
    if head.binary:
        for name, allowed in (("transform", (None, "auto")), ("mean_gradient", (False,))):
            value = estimator._option(name, allowed[0])
            if not any(value is one or (isinstance(one, str) and value == one) for one in allowed):
                what = f"{' or '.join(map(repr, allowed))} with conditional={head.name!r}"
                raise estimator._bad_option(name, what, value)
    min_scale = float(estimator._option("min_scale", 0.0)) if head.mixture else 0.0
    dtype = np.dtype(estimator.dtype)
    most = float(np.finfo(dtype).max) / 4  # exp(z) comes on top
    if min_scale > most:
        raise estimator._bad_option("min_scale", f"at most {most:.3g} with dtype={dtype.name!r}", min_scale)
    most = float(np.sqrt(np.finfo(dtype).max)) / 4  # of a latent scale the divergence takes the square
    if latent is not None and latent.min_scale > most:
        what = f"at most {most:.3g} with dtype={dtype.name!r}"
        raise estimator._bad_option("min_latent_scale", what, latent.min_scale)
    n_masks = int(estimator._option("n_masks", 1))
    layout = Layout(
        head=head.name,
        D=D,
        H=H,
        K=int(estimator._option("n_components", 1)) if head.mixture else 1,
        R=int(estimator._option("n_recurrent", 0)),
        activation=estimator._option("activation", "sigmoid"),
        cell=estimator._option("cell", "sigmoid"),
        context=context,
        min_scale=min_scale,
        L=int(estimator._option("n_layers", 1)),
        conditioner=estimator._frame,
        direct=bool(estimator._option("direct", False)),
        masks=tuple(range(n_masks)) if n_masks > 1 or estimator._option("degrees") == "drawn" else (),
        latent=latent,
        given=given,
    )
    check_memory(f"the parameters of {layout}", (layout.size,), dtype)
    return layout
