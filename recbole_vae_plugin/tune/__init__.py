"""Search for a model's best settings, judged by validation alone.

space → search (Optuna's study; runs in the processes of ``compare``) → outcome
"""
