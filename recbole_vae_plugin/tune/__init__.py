"""Hyper-parameter search, by validation metrics only.

space → trial, heartbeat → search (Optuna's study; in the pool of ``runs``) → outcome
"""
