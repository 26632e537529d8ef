"""Runs, the layer below ``compare`` and ``tune``: parallel worker processes and the files of each run.

run → execution → worker (inside the process) → process (outside) → pool
"""
