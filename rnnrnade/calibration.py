"""A report on integral transforms: are the conditionals as wide as they should be?"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kstest

from .checks import check_counts, check_memory

__all__ = ["Calibration"]

NOMINAL = np.linspace(0.05, 0.95, 19)  # coverage of the central intervals of the reliability curve


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """Integral transforms against the uniform distribution, for each dimension and, in the last row, for all together.

    Under the true model, the integral transforms of all dimensions and frames are independent and uniform on [0, 1],
    so the Kolmogorov-Smirnov test counts each as one observation.  With many frames it detects the smallest misfit;
    the statistic says how large the misfit is.

    Attributes
    ----------
    names : list of str
        Names of the D dimensions, and "all".
    n : ndarray of shape (D + 1,)
        Number of integral transforms.
    edges : ndarray of shape (n_bins + 1,)
        Edges of the histogram bins.
    counts : ndarray of shape (D + 1, n_bins)
    ks_statistic, ks_pvalue : ndarray of shape (D + 1,)
        Largest distance to the uniform distribution function, and its p-value.
    nominal : ndarray of shape (L,)
        Probabilities of central intervals.
    coverage : ndarray of shape (D + 1, L)
        Shares of the observations inside them: above nominal if the conditionals are too wide.
    """

    names: list
    n: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    ks_statistic: np.ndarray
    ks_pvalue: np.ndarray
    nominal: np.ndarray
    coverage: np.ndarray

    def __repr__(self):
        shown = [int(np.argmin(np.abs(self.nominal - level))) for level in (0.5, 0.9)]
        width = max(9, *map(len, self.names))
        heads = "".join(f"  in central {self.nominal[i]:3.0%}" for i in shown)
        lines = [f"{'dimension':{width}}        n  KS distance    p-value{heads}"]
        for i, name in enumerate(self.names):
            shares = "".join(f"{self.coverage[i, j]:16.1%}" for j in shown)
            lines.append(
                f"{name:{width}} {self.n[i]:8d} {self.ks_statistic[i]:12.4f} {self.ks_pvalue[i]:10.3g}{shares}"
            )
        return "\n".join(lines)


def calibration(values, names, n_bins):
    """See `Conditionals.calibration`; values (n, D): integral transforms."""
    (n_bins,) = check_counts(n_bins=n_bins)
    check_memory("histograms", (values.shape[1] + 1, n_bins))
    columns = [*values.T, values.ravel()]
    edges = np.linspace(0, 1, n_bins + 1)
    tests = [kstest(u, "uniform") for u in columns]
    centred = [np.sort(np.abs(2 * u - 1)) for u in columns]
    return Calibration(
        names=[*names, "all"],
        n=np.array([u.size for u in columns]),
        edges=edges,
        counts=np.stack([np.histogram(u, edges)[0] for u in columns]),
        ks_statistic=np.array([test.statistic for test in tests]),
        ks_pvalue=np.array([test.pvalue for test in tests]),
        nominal=NOMINAL,
        coverage=np.stack([np.searchsorted(c, NOMINAL, side="right") / c.size for c in centred]),
    )
