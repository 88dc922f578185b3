"""The compiled module: what model.py, optim.py, transforms.py and the tests call.

A call whose arrays do not fit its network or each other raises a ValueError that names the array."""

from types import TracebackType
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from .layout import Layout

# All real arrays of a call have one type, float32 or float64.
Real = TypeVar("Real", np.float32, np.float64)

FUNCTIONS: Final[dict[str, int]]
FAMILIES: Final[dict[str, int]]
HEADS: Final[dict[str, int]]
CONDITIONERS: Final[dict[str, int]]
CELLS: Final[dict[str, int]]
ACTIVATIONS: Final[dict[str, int]]
PADDING: Final[int]

def kernel_row_names() -> list[str]: ...
def row_in_use() -> str: ...
def has_openmp() -> bool: ...
def effective_threads(n_jobs: int | None) -> int: ...
def last_team_size() -> int: ...
def free_workspace() -> None: ...

class use_kernels:
    name: str
    def __init__(self, name: str) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

class use_all_threads:
    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

class Workspace:
    KEPT: Final[int]

class Network:
    def __init__(self, layout: Layout) -> None: ...

class Frames:
    def __init__(
        self,
        x: NDArray[np.float32] | NDArray[np.float64],  # (M, D)
        offsets: NDArray[np.int64] | None = None,  # (N + 1,)
        by_length: NDArray[np.int64] | None = None,  # (N,)
        fresh: NDArray[np.uint8] | None = None,  # (N,)
        initial: NDArray[np.float32] | NDArray[np.float64] | None = None,  # (N, Sp)
    ) -> None: ...
    @property
    def x(self) -> NDArray[np.float32] | NDArray[np.float64]: ...
    @property
    def initial(self) -> NDArray[np.float32] | NDArray[np.float64] | None: ...

def forward(
    network: Network,
    theta: NDArray[Real],  # (size,)
    frames: Frames,
    log_density: NDArray[np.float64],  # (M,)
    dims: NDArray[np.float64] | None = None,  # (M, D)
    parameters: NDArray[Real] | None = None,  # (M, D, P)
    last: NDArray[Real] | None = None,  # (N, Sp)
    n_threads: int = 1,
) -> None: ...
def gradient(
    network: Network,
    grad: NDArray[Real],  # (size,)
    log_density: NDArray[np.float64],  # (M,)
    theta: NDArray[Real],  # (size,)
    frames: Frames,
    weight: NDArray[Real],  # (M,)
    n_threads: int = 1,
    inputs: NDArray[Real] | None = None,  # (M, D)
    mask: NDArray[Real] | None = None,  # (M, Rp)
) -> None: ...
def states(
    network: Network,
    out: NDArray[Real],  # (len(rows), Sp)
    rows: NDArray[np.int64],
    theta: NDArray[Real],  # (size,)
    frames: Frames,
    last: NDArray[Real] | None = None,  # (N, Sp)
    n_threads: int = 1,
) -> None: ...
def sample(
    network: Network,
    x: NDArray[Real],  # (N, T, D)
    theta: NDArray[Real],  # (size,)
    uniform: NDArray[Real],  # (N, T, D)
    noise: NDArray[Real],  # (N, T, D)
    state: NDArray[Real] | None = None,  # (N, Sp)
    n_threads: int = 1,
) -> None: ...
def from_normal(
    network: Network,
    e: NDArray[np.float64],  # (M, D)
    theta: NDArray[Real],  # (size,)
    frames: Frames,  # its x: normal scores, float64
    n_threads: int = 1,
) -> None: ...
def score_frame(
    network: Network,
    dims: NDArray[np.float64],  # (D,)
    theta: NDArray[Real],  # (size,)
    x: NDArray[Real],  # (D,)
    state: NDArray[Real],  # (Sp,)
) -> float: ...

class LatentFrames:
    def __init__(
        self,
        x: NDArray[np.float32] | NDArray[np.float64],  # (M, D)
        starts: NDArray[np.int64],  # (T + 1,)
        noise: NDArray[np.float32] | NDArray[np.float64] | None,  # (M, n_latent)
        given: NDArray[np.float32] | NDArray[np.float64] | None = None,  # (M, n_latent)
        fresh: NDArray[np.uint8] | None = None,  # (N,)
        initial: NDArray[np.float32] | NDArray[np.float64] | None = None,  # (N, Zp)
    ) -> None: ...
    @property
    def x(self) -> NDArray[np.float32] | NDArray[np.float64]: ...
    @property
    def noise(self) -> NDArray[np.float32] | NDArray[np.float64] | None: ...
    @property
    def given(self) -> NDArray[np.float32] | NDArray[np.float64] | None: ...
    @property
    def initial(self) -> NDArray[np.float32] | NDArray[np.float64] | None: ...

def latent_forward(
    network: Network,
    theta: NDArray[Real],  # (size,)
    frames: LatentFrames,
    log_density: NDArray[np.float64] | None,  # (M,)
    divergence: NDArray[np.float64] | None,  # (M,)
    ratio: NDArray[np.float64] | None,  # (M,)
    dims: NDArray[np.float64] | None = None,  # (M, D)
    normals: NDArray[Real] | None = None,  # (M, 4, n_latent)
    latent: NDArray[Real] | None = None,  # (M, n_latent)
    context: NDArray[Real] | None = None,  # (M, C)
    parameters: NDArray[Real] | None = None,  # (M, D, P)
    last: NDArray[Real] | None = None,  # (N, Zp)
    n_threads: int = 1,
) -> None: ...
def latent_gradient(
    network: Network,
    grad: NDArray[Real],  # (size,)
    log_density: NDArray[np.float64],  # (M,)
    divergence: NDArray[np.float64],  # (M,)
    ratio: NDArray[np.float64],  # (M,)
    theta: NDArray[Real],  # (size,)
    frames: LatentFrames,
    weight: NDArray[Real],  # (M,)
    press: NDArray[Real],  # (M,)
    free_nats: float = 0.0,
    sampled: bool = False,
    n_threads: int = 1,
) -> None: ...
def latent_prior(
    network: Network,
    latent: NDArray[Real],  # (n, n_latent)
    context: NDArray[Real],  # (n, C)
    theta: NDArray[Real],  # (size,)
    state: NDArray[Real] | None,  # (n, Zp)
    noise: NDArray[Real],  # (n, n_latent)
    n_threads: int = 1,
) -> None: ...
def latent_sample(
    network: Network,
    x: NDArray[Real],  # (n, 1, D)
    theta: NDArray[Real],  # (size,)
    uniform: NDArray[Real],  # (n, 1, D)
    noise: NDArray[Real],  # (n, 1, D)
    context: NDArray[Real],  # (n, C)
    n_threads: int = 1,
) -> None: ...
def causal(
    e: NDArray[np.float64],  # (M, D)
    u: NDArray[np.float64],  # (M, D)
    offsets: NDArray[np.int64],  # (N + 1,)
    state: NDArray[np.float64],  # (N, size)
    options: tuple[tuple[float, ...] | None, ...],
    location: NDArray[np.float64] | None = None,  # (M, D)
    scale: NDArray[np.float64] | None = None,  # (M, D)
    inverse: bool = False,
) -> None: ...
def add_product(C: NDArray[np.float64], A: NDArray[np.float64], B: NDArray[np.float64]) -> None: ...
def adam(
    theta: NDArray[Real],
    average: NDArray[Real] | None,
    m: NDArray[Real],
    v: NDArray[Real],
    gradient: NDArray[Real],
    strength: NDArray[Real] | None,
    beta1: float,
    beta2: float,
    epsilon: float,
    step: int,
    rate: float,
    share: float,
    n_threads: int = 1,
) -> None: ...
def momentum(
    theta: NDArray[Real],
    average: NDArray[Real] | None,
    v: NDArray[Real],
    gradient: NDArray[Real],
    strength: NDArray[Real] | None,
    decay: float,
    rate: float,
    share: float,
    n_threads: int = 1,
) -> None: ...
def norm(x: NDArray[np.float32] | NDArray[np.float64], n_threads: int = 1) -> float: ...
def of_family(name: str, u: float, z: float = 0.0) -> dict[str, float]: ...
def student(function: str, u: NDArray[np.float64], nu: NDArray[np.float64], out: NDArray[np.float64]) -> None: ...
def apply(function: str, x: NDArray[Real], out: NDArray[Real]) -> None: ...
