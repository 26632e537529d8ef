"""Several models, data sets and seeds in one experiment, with the statistics to tell them apart.

experiment → runner → results → statistics → tables (in markup) → leaderboard, report (with charts)
"""
