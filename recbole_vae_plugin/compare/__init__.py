"""Several models, data sets and seeds in one experiment, with the statistics to tell them apart.

experiment → runner (in the pool of ``runs``) → results → statistics → tables (in markup) → leaderboard, and
report (with charts)
"""
