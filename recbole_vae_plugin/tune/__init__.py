"""Search for a model's best settings, judged by validation alone.

space → trial, heartbeat → search (Optuna's study; in the pool of ``runs``) → outcome
"""
