"""The trainer of our models, checkpoints, and resuming."""
