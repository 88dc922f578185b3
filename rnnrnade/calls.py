"""Public calls of estimators that several threads may use: each sees a model as a whole.

`reading` and `fitting` go round the public methods.  Both hand the call a copy of the estimator, which shares its
options and what was fitted, so nothing that another thread does to the estimator reaches into a call.
"""

import functools

from sklearn.utils.validation import check_is_fitted

__all__ = ["fitting", "reading"]

# What a fit leaves in an estimator; `_file_columns` are those of the file that the command line fitted it to.
FITTED = ("n_features_in_", "feature_names_in_", "_file_columns", "_density", "_trainers")


def reading(call):
    """A public call that reads what was fitted: the estimator is as it was when the call began."""

    @functools.wraps(call)
    def of_one_moment(self, *args, **kwargs):
        check_is_fitted(self)
        return call(_copy(self), *args, **kwargs)

    return of_one_moment


def fitting(call):
    """A public call that fits: what it fitted is the estimator's at its end, all at once; where it fails, the
    estimator is as it was."""

    @functools.wraps(call)
    def at_once(self, *args, **kwargs):
        work = _copy(self)
        work._trainers = trainers = vars(self).pop("_trainers", None)  # no two calls train with the same
        try:
            call(work, *args, **kwargs)
        except BaseException:
            vars(self).setdefault("_trainers", trainers)
            raise
        fitted = {name: vars(work)[name] for name in FITTED if name in vars(work)}
        for name in set(FITTED) - set(fitted):
            vars(self).pop(name, None)
        vars(self).update(fitted)
        return self

    return at_once


def _copy(estimator):
    copy = object.__new__(type(estimator))
    vars(copy).update(vars(estimator))  # one operation of the interpreter: no other thread comes between
    return copy
