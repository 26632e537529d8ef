"""Runs, below ``compare`` and ``tune``: executed in processes side by side, with one set of result files.

run → execution → worker (inside the process) → process (outside) → pool
"""
