"""Columns that are made of times: what an hour, a weekday or a month, and the time since the last frame, say."""

import numpy as np

__all__ = ["calendar_columns"]

HARMONICS = 4  # of the time of day: patterns of three hours and longer
DAY = 86400.0  # seconds


def _hour(times):
    turn = 2 * np.pi * (times - times.normalize()).total_seconds().to_numpy() / DAY
    waves = (("sin", np.sin), ("cos", np.cos))
    return {f"hour_{name}{k}": wave(k * turn) for k in range(1, HARMONICS + 1) for name, wave in waves}


def _indicators(name, values, first, last):
    return {f"{name}_{k}": (values == k).astype(float) for k in range(first, last + 1)}


def _weekday(times):
    return _indicators("weekday", times.day_of_week.to_numpy(), 0, 6)


def _month(times):
    return _indicators("month", times.month.to_numpy(), 1, 12)


PARTS = {"hour": _hour, "weekday": _weekday, "month": _month}


def calendar_columns(times, parts=("hour", "weekday"), *, elapsed=False, previous=None):
    """Columns of what the calendar says of times, to be given to a model (`columns`) beside what it scores.

    Parameters
    ----------
    times : DatetimeIndex, or what `pandas.DatetimeIndex` takes
        Of the frames; for a forecast those of the frames to come, such as
        ``pandas.date_range(X.index[-1], periods=25, freq="h")[1:]``.
    parts : sequence of {"hour", "weekday", "month"}, default=("hour", "weekday")
        "hour": the time of day, by four sines and cosines; "weekday": seven indicators, 0 is Monday; "month": twelve.
    elapsed : bool, default=False
        Also "elapsed", the logarithm of the seconds since the frame before, for recordings with irregular steps.
    previous : timestamp, optional
        The time of the frame before the first.  None: the first step counts as long as the median one.

    Returns
    -------
    DataFrame
        With the index `times`.

    Raises
    ------
    ImportError
        Without pandas.
    ValueError
        For another part, for times that do not ascend where `elapsed` asks for their steps, or for a missing time.

    Examples
    --------
    >>> import pandas
    >>> from rnnrnade import calendar_columns
    >>> times = pandas.date_range("2026-11-27 18:00", periods=2, freq="12h")
    >>> calendar_columns(times, ["weekday"]).columns[:3].tolist()
    ['weekday_0', 'weekday_1', 'weekday_2']
    >>> calendar_columns(times, ["hour"])["hour_sin1"].tolist()
    [-1.0, 1.0]
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError('calendar_columns needs pandas: pip install "rnnrnade[data]"') from error
    times = pandas.DatetimeIndex(times)
    if times.hasnans:
        raise ValueError(f"times: entry {int(times.isna().argmax())} is missing.")
    parts = [parts] if isinstance(parts, str) else list(parts)
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"parts must be among {', '.join(PARTS)}. Got {part!r:.40} instead.")
    found = {}
    for part in parts:
        found |= PARTS[part](times)
    if elapsed:
        found["elapsed"] = _elapsed(pandas, times, previous)
    return pandas.DataFrame(found, index=times)


def _elapsed(pandas, times, previous):
    steps = (times[1:] - times[:-1]).total_seconds().to_numpy()
    if previous is not None:
        first = (times[0] - pandas.Timestamp(previous)).total_seconds()
    elif len(steps):
        first = np.median(steps)
    else:
        raise ValueError("one time has no step: say the time before it, previous=.")
    steps = np.append(first, steps)
    if (steps <= 0).any():
        raise ValueError(f"times must ascend: entry {int((steps <= 0).argmax())} is not after the one before it.")
    return np.log(steps)
