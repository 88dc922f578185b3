"""Data for the models: real speech that comes with the package, simulated sequences, loaders for files."""

from ._files import (
    load_binary,
    load_mocap,
    load_parkinsons,
    load_pianoroll,
    load_red_wine,
    load_spoken_digits,
    load_white_wine,
)
from ._simulated import (
    make_bouncing_balls,
    make_pump,
    make_trajectories,
    overlapping_balls,
    trajectory_log_density,
)
from ._vowels import load_japanese_vowels

__all__ = [
    "load_binary",
    "load_japanese_vowels",
    "load_mocap",
    "load_parkinsons",
    "load_pianoroll",
    "load_red_wine",
    "load_spoken_digits",
    "load_white_wine",
    "make_bouncing_balls",
    "make_pump",
    "make_trajectories",
    "overlapping_balls",
    "trajectory_log_density",
]
