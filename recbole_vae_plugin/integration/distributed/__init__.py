"""Data-parallel runs: one run in several processes."""
