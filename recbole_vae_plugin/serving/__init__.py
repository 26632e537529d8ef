"""Serving a trained model without RecBole: bundles, recommendations for one or many users, ONNX.

Nothing here imports RecBole; :mod:`recbole_vae_plugin.conversion` makes a bundle of a checkpoint.
"""
