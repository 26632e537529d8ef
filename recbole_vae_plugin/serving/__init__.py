"""A trained model without RecBole: checkpoint → bundle → recommender, many users, ONNX.

Nothing here imports RecBole; what reads its checkpoints is in :mod:`recbole_vae_plugin.integration`.
"""
