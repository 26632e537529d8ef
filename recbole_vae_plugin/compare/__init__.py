"""Comparison of methods over data sets and seeds, with significance tests.

experiment → runner (in the pool of ``runs``) → results → statistics → tables (in markup)
→ leaderboard, report (with charts)
"""
