"""Patches of RecBole, and the repairs of what breaks it on current libraries."""
