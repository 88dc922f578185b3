"""Benchmarks: speed, agreement, time of an epoch, memory, scaling.  README.md says how to run and read them."""
