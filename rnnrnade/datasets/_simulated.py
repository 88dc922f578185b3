"""Simulated sequences: trajectories whose density is known, bouncing balls, and a pump with faults."""

from itertools import combinations
from numbers import Integral

import numpy as np
from scipy.ndimage import gaussian_filter1d
from sklearn.utils import Bunch


def _check_random_state(random_state):
    """A numpy Generator from None, an int, a Generator (used as it is) or a RandomState (which moves on)."""
    if isinstance(random_state, np.random.RandomState):
        random_state = random_state.randint(2**32, size=4, dtype=np.uint32)
    return np.random.default_rng(random_state)


def _check_count(name, value, minimum=1):
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return int(value)


# ---- Trajectories ------------------------------------------------------------------------------------------

_TURNS = np.array([-np.pi / 3, 0.0, np.pi / 3])  # right, straight, left
_TURN_PROBABILITIES = np.array([0.25, 0.5, 0.25])  # at the origin
_STEP = 1.0
_NOISE = 0.1
_PULL = 0.3
_START = 2.5


def _next_frame(x, x_prev):
    """The mixture of the frame after x: log-weights (N, 3) and means (N, 3, 2), from x, x_prev (N, 2)."""
    heading = np.arctan2(x[:, 1] - x_prev[:, 1], x[:, 0] - x_prev[:, 0])
    angles = heading[:, np.newaxis] + _TURNS
    c = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    log_w = np.log(_TURN_PROBABILITIES) - _PULL * (x[:, np.newaxis] * c).sum(axis=-1)
    log_w -= np.logaddexp.reduce(log_w, axis=1, keepdims=True)
    return log_w, x[:, np.newaxis] + _STEP * c


def _log_normal(x, mean, scale):
    """Log-density of an isotropic normal in the plane, over the last axis."""
    return -((x - mean) ** 2).sum(axis=-1) / (2 * scale**2) - np.log(2 * np.pi * scale**2)


def make_trajectories(n_sequences, n_frames, *, random_state=None):
    """Draw trajectories of a point in the plane that at each step goes right, straight on or left.

    The density of the next frame is a mixture of three normals that depends on the last two frames, so that
    the exact log-density of any trajectory is known (`trajectory_log_density`), and with it the best score
    that a model can get.

    Parameters
    ----------
    n_sequences, n_frames : int, at least 1
    random_state : None, int, numpy Generator or RandomState, default None
        The same int gives the same bits. A Generator or RandomState that is given moves on.

    Returns
    -------
    X : list of `n_sequences` float64 arrays (n_frames, 2)

    Notes
    -----
    With R(a) the rotation by the angle a, I the 2 x 2 unit matrix, and x^0 = 0::

        x^1 ~ N(0, 2.5^2 I)
        u   = (x^t - x^{t-1}) / |x^t - x^{t-1}|       the heading; (1, 0) if the point did not move
        c_k = R(a_k) u,                                a = (-60, 0, 60) degrees
        w_k = p_k exp(-0.3 x^t . c_k) / sum_j p_j exp(-0.3 x^t . c_j),      p = (1/4, 1/2, 1/4)
        p(x^{t+1} | x^1..x^t) = sum_k w_k N(x^{t+1}; x^t + c_k, 0.1^2 I)

    The weights favour the directions that lead back, the more the farther away the point is, so trajectories
    of any length stay near the origin (each coordinate has a standard deviation of about 2.6). The
    log-density is +0.81 nats a frame in the long run.

    Examples
    --------
    >>> from rnnrnade.datasets import make_trajectories, trajectory_log_density
    >>> X = make_trajectories(3, 50, random_state=0)
    >>> [log_density.shape for log_density in trajectory_log_density(X)]
    [(50,), (50,), (50,)]
    """
    n_sequences, n_frames = _check_count("n_sequences", n_sequences), _check_count("n_frames", n_frames)
    rng = _check_random_state(random_state)
    X = np.empty((n_sequences, n_frames, 2))
    x_prev, x = np.zeros((n_sequences, 2)), _START * rng.standard_normal((n_sequences, 2))
    X[:, 0] = x
    for t in range(1, n_frames):
        log_w, means = _next_frame(x, x_prev)
        chosen = (rng.random((n_sequences, 1)) > np.exp(log_w).cumsum(axis=1)[:, :-1]).sum(axis=1)
        noise = _NOISE * rng.standard_normal((n_sequences, 2))
        x_prev, x = x, means[np.arange(n_sequences), chosen] + noise
        X[:, t] = x
    return list(X)


def trajectory_log_density(X):
    """Exact log-density, in nats, of each frame given the frames before it, under `make_trajectories`.

    Parameters
    ----------
    X : list of (T_i, 2) arrays, (N, T, 2) array, or one (T, 2) array

    Returns
    -------
    log_density : list of (T_i,) float64 arrays, or for one (T, 2) array one (T,) array
        The formula is that of `make_trajectories`. The sum of an array is the log-density of the trajectory.
    """
    if isinstance(X, np.ndarray) and X.ndim == 2:
        return _trajectory_log_density(X, "X")
    return [_trajectory_log_density(x, f"X[{i}]") for i, x in enumerate(X)]


def _trajectory_log_density(x, name):
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 1 or x.shape[1] != 2:
        raise ValueError(f"{name} must have the shape (frames, 2), got {x.shape}")
    if not np.isfinite(x).all():
        frame = np.flatnonzero(~np.isfinite(x).all(axis=1))[0]
        raise ValueError(f"{name} contains NaN or infinity, first in frame {frame}")
    log_density = np.empty(len(x))
    log_density[0] = _log_normal(x[0], 0.0, _START)
    log_w, means = _next_frame(x[:-1], np.concatenate([np.zeros((1, 2)), x[:-2]])[: len(x) - 1])
    log_density[1:] = np.logaddexp.reduce(log_w + _log_normal(x[1:, np.newaxis], means, _NOISE), axis=1)
    return log_density


# ---- Bouncing balls ----------------------------------------------------------------------------------------

# Design. Lengths are fractions of the side of the box until the end. With three balls of these sizes and
# speeds, copying the previous frame costs 11.8 squared error a frame at 30 x 30 and 2.96 at 15 x 15, the mean
# image 74.6 and 18.6, linear extrapolation 6.84 and 1.77, and 78 % of the pixels are below 0.001 (400
# sequences): the data of the literature on bouncing balls as nearly as two numbers can make it.
_RADIUS = 0.12
_SPEED = 0.029
_EDGE = 1.2  # in radii, where a drawn ball has faded to exp(-1.2^8) = 0.01


def _place_balls(n_sequences, n_balls, radius, rng):
    """Random positions (N, B, 2) where no two balls overlap and none sticks out of the box."""
    x = np.empty((n_sequences, n_balls, 2))
    todo = np.arange(n_sequences)
    for _ in range(100):  # ball after ball; sequences that have got stuck start again
        for b in range(n_balls):
            again = todo
            for _ in range(50):
                x[again, b] = rng.uniform(radius, 1 - radius, (len(again), 2))
                again = again[_closest_pair(x[again, : b + 1]) < 2 * radius]
                if not len(again):
                    break
        todo = todo[_closest_pair(x[todo]) < 2 * radius]
        if not len(todo):
            return x
    raise ValueError(f"found no room for n_balls={n_balls} of radius {radius:.3g} of the box: take a smaller radius")


def _closest_pair(x):
    """The smallest distance between two balls, (...,), from positions (..., B, 2); infinity for one ball."""
    smallest = np.full(x.shape[:-2], np.inf)
    for i, j in combinations(range(x.shape[-2]), 2):
        np.minimum(smallest, np.hypot(*np.moveaxis(x[..., i, :] - x[..., j, :], -1, 0)), out=smallest)
    return smallest


def _simulate_balls(x, v, n_frames, radius):
    """Positions and velocities (N, T, B, 2) of elastic balls, from those of the first frame (N, B, 2).

    Positions move in short steps; collisions change velocities alone, so they keep the energy to rounding
    error.
    """
    n_balls = x.shape[1]
    fastest = np.sqrt((v**2).sum(axis=(1, 2)).max())  # if one ball had all the energy
    n_steps = int(np.ceil(16 * fastest / radius)) or 1  # none moves by more than 1/16 of its radius in a step
    low, high = radius, 1 - radius
    x, v = x.copy(), v.copy()
    positions, velocities = np.empty((2, len(x), n_frames, n_balls, 2))
    for t in range(n_frames):
        positions[:, t], velocities[:, t] = x, v
        for _ in range(n_steps):
            x += v / n_steps
            under, over = x < low, x > high
            x = np.where(under, 2 * low - x, np.where(over, 2 * high - x, x)).clip(low, high)
            v = np.where(under, np.abs(v), np.where(over, -np.abs(v), v))
            # One pair after the other: a ball that hits two at once must not give its momentum away twice.
            for i, j in combinations(range(n_balls), 2):
                d = x[:, i] - x[:, j]
                d2 = (d**2).sum(axis=1)
                closing = ((v[:, i] - v[:, j]) * d).sum(axis=1)
                hit = (d2 < (2 * radius) ** 2) & (closing < 0)
                exchanged = np.divide(closing, d2, out=np.zeros_like(d2), where=hit)[:, np.newaxis] * d
                v[:, i] -= exchanged
                v[:, j] += exchanged
    return positions, velocities


def _draw_balls(x, resolution, radius):
    """Frames (T, resolution^2) of float32 pixels in [0, 1], from positions (T, B, 2)."""
    centres = (np.arange(resolution) + 0.5) / resolution
    dx2, dy2 = np.moveaxis((x[..., np.newaxis] - centres) ** 2, 2, 0)  # (T, B, resolution) each
    frames = np.zeros((len(x), resolution, resolution))
    for b in range(x.shape[1]):
        d2 = (dy2[:, b, :, np.newaxis] + dx2[:, b, np.newaxis, :]) / radius**2
        frames += np.exp(-((d2 * d2) ** 2))
    return np.minimum(frames, 1).astype(np.float32).reshape(len(x), -1)


def make_bouncing_balls(
    n_sequences,
    n_frames,
    *,
    resolution=30,
    n_balls=3,
    radius=None,
    speed=None,
    random_state=None,
    return_positions=False,
):
    """Film balls that bounce off each other and off the walls of a square box without friction.

    Balls of equal mass start at random places where none overlaps, with random velocities of fixed total
    energy, and collide elastically. They are drawn as discs with a soft edge: a pixel at a distance r from a
    ball's centre has the brightness exp(-(r / radius)^8); where balls meet, these add up, to 1 at most.

    Parameters
    ----------
    n_sequences, n_frames : int, at least 1
    resolution : int, at least 2, default 30
        A frame has `resolution` x `resolution` pixels; a pixel is the unit of length, a frame that of time.
    n_balls : int, at least 1, default 3
    radius : float, default 0.12 * resolution
        Radius of the balls in pixels, greater than 0 and less than half the resolution.
    speed : float, default 0.029 * resolution
        Root mean square of the speeds of the balls of a sequence, in pixels a frame, at least 0.
    random_state : None, int, numpy Generator or RandomState, default None
        The same int gives the same bits. A Generator or RandomState that is given moves on.
    return_positions : bool, default False

    Returns
    -------
    X : list of `n_sequences` float32 arrays (n_frames, resolution^2)
        Pixels in [0, 1], row by row: `X[0][t].reshape(resolution, resolution)` is an image.
    positions : float64 array (n_sequences, n_frames, n_balls, 2), only with `return_positions`
        Centres of the balls in pixels from the left and from the top edge of the image; the middle of the
        pixel in row i and column j lies at (j + 0.5, i + 0.5). `overlapping_balls` marks the frames where
        balls meet.

    Raises
    ------
    ValueError
        For sizes out of range, and where the balls do not fit into the box.

    Notes
    -----
    The kind of data, and the way to draw a ball, are those of I. Sutskever, G. Hinton and G. Taylor, "The
    recurrent temporal restricted Boltzmann machine", 2008. Over the default settings the squared error summed
    over pixels, mean per frame, is 11.8 (30 x 30) and 2.96 (15 x 15) for copying the previous frame, 74.6 and
    18.6 for the mean image.

    Examples
    --------
    >>> from rnnrnade.datasets import make_bouncing_balls
    >>> X = make_bouncing_balls(2, 100, resolution=15, random_state=0)
    >>> len(X), X[0].shape
    (2, (100, 225))
    """
    n_sequences, n_frames = _check_count("n_sequences", n_sequences), _check_count("n_frames", n_frames)
    resolution, n_balls = _check_count("resolution", resolution, 2), _check_count("n_balls", n_balls)
    if radius is not None and not 0 < radius < resolution / 2:
        raise ValueError(f"radius must be greater than 0 and less than resolution / 2 = {resolution / 2}, got {radius}")
    if speed is not None and not 0 <= speed < np.inf:
        raise ValueError(f"speed must be finite and at least 0, got {speed}")
    rng = _check_random_state(random_state)
    radius = _RADIUS if radius is None else radius / resolution
    speed = _SPEED if speed is None else speed / resolution

    x = _place_balls(n_sequences, n_balls, radius, rng)
    v = rng.standard_normal((n_sequences, n_balls, 2))
    v *= speed / np.sqrt((v**2).sum(axis=(1, 2), keepdims=True) / n_balls)
    positions, _ = _simulate_balls(x, v, n_frames, radius)
    X = [_draw_balls(x, resolution, radius) for x in positions]
    return (X, positions * resolution) if return_positions else X


def overlapping_balls(positions, *, resolution=30, radius=None):
    """Mark the frames of `make_bouncing_balls` where two balls meet: their drawn soft edges overlap.

    The balls are elastic, so their centres stay about two radii apart; what they are drawn as fades out at
    1.2 radii.

    Parameters
    ----------
    positions : array (..., n_balls, 2)
        As `make_bouncing_balls(..., return_positions=True)` gives them.
    resolution, radius : as given to `make_bouncing_balls`

    Returns
    -------
    overlapping : bool array (...): whether the centres of any two balls are less than 2.4 radii apart
    """
    radius = _RADIUS * resolution if radius is None else radius
    return _closest_pair(np.asarray(positions)) < 2 * _EDGE * radius


# ---- A pump ------------------------------------------------------------------------------------------------

_CHANNELS = ["speed", "valve", "pressure", "flow", "current", "vibration"]  # what drives before what is driven
_PUMP_NOISE = [0.2, 0.01, 0.1, 1.0, 0.1, 0.0]


def _wander(rng, n_sequences, n_frames, low, high):
    """Values (N, T) that move smoothly between two limits, each sequence on its own path."""
    smooth = gaussian_filter1d(rng.standard_normal((n_sequences, n_frames + 400)), 20)[:, 200 : 200 + n_frames]
    return low + (high - low) / (1 + np.exp(-smooth / 0.06))


def _record_pump(rng, n_sequences, n_frames, leak=slice(0, 0), frozen=slice(0, 0)):
    """Recordings (N, T, 6); the flow is a fifth too low in the frames `leak`, the pressure stands still in `frozen`."""
    speed = _wander(rng, n_sequences, n_frames, 20, 50)
    valve = _wander(rng, n_sequences, n_frames, 0.3, 1.0)
    pressure = 0.004 * speed**2 * (1.4 - valve)
    flow = 2 * speed * valve
    flow[:, leak] *= 0.8
    current = 1 + 0.02 * pressure * flow / speed + 0.15 * speed
    vibration = 0.001 * speed**2 * rng.lognormal(0, 0.3, (n_sequences, n_frames))
    X = np.stack([speed, valve, pressure, flow, current, vibration], axis=-1)
    X += _PUMP_NOISE * rng.standard_normal(X.shape)
    X[:, frozen, 2] = X[:, frozen.start, 2, np.newaxis]
    return X


def make_pump(n_sequences=40, n_frames=400, *, random_state=None):
    """Simulate recordings of a pump with six sensors, and one with two faults inside the usual range of each sensor.

    An operator moves the speed and the valve; pressure, flow, current and vibration follow, with noise.

    Parameters
    ----------
    n_sequences, n_frames : int, at least 1 and 300, default 40 and 400
    random_state : None, int, numpy Generator or RandomState, default None
        The same int gives the same bits. A Generator or RandomState that is given moves on.

    Returns
    -------
    pump : sklearn.utils.Bunch
        ``train``, a list of `n_sequences` float64 arrays (n_frames, 6), and ``normal``, a list of as many more, none
        with a fault; ``faulty``, one array (n_frames, 6); ``leak`` and ``frozen``, the slices of its frames in which
        the flow is a fifth lower than speed and valve would give, and in which the pressure sensor repeats one value;
        ``feature_names``, a list of 6 strings.

    Notes
    -----
    With s the speed and v the valve, two smooth paths between 20 and 50 and between 0.3 and 1, and e standard normal::

        pressure  = 0.004 s^2 (1.4 - v) + 0.1 e       flow    = 2 s v + e
        vibration = 0.001 s^2 exp(0.3 e)              current = 1 + 0.02 pressure flow / s + 0.15 s + 0.1 e

    where the current has the pressure and the flow without their noise; speed and valve get 0.2 e and 0.01 e.

    Examples
    --------
    >>> from rnnrnade.datasets import make_pump
    >>> pump = make_pump(3, 300, random_state=0)
    >>> len(pump.train), pump.faulty.shape, pump.feature_names[3], pump.leak
    (3, (300, 6), 'flow', slice(200, 240, None))
    """
    n_sequences, n_frames = _check_count("n_sequences", n_sequences), _check_count("n_frames", n_frames, 300)
    rng = _check_random_state(random_state)
    train, normal = (list(_record_pump(rng, n_sequences, n_frames)) for _ in range(2))
    frozen, leak = slice(n_frames // 4, n_frames // 4 + 40), slice(n_frames // 2 + 50, n_frames // 2 + 90)
    faulty = _record_pump(rng, 1, n_frames, leak, frozen)[0]
    return Bunch(train=train, normal=normal, faulty=faulty, leak=leak, frozen=frozen, feature_names=list(_CHANNELS))
