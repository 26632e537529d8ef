"""Patching another package as a trade: each patch is declared, has its place in an order, is compared with
what it was read against, and can be undone."""
