"""Repairs of RecBole 1.2.1, by theme; docs/patches.md lists them, and those that other rooms hold.

Nothing here is about our models: a built-in model profits the same way.
"""
