"""Repairs of RecBole 1.2.1, by topic; docs/patches.md lists them, and the patches in other folders.

Nothing here is specific to our models: RecBole's own models benefit in the same way.
"""
