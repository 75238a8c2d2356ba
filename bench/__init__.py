"""Benchmarks: ratios to bare cryptography in one run. Nothing here is a test; `make bench` prints the tables."""
