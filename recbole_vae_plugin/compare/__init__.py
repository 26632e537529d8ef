"""Several models, data sets and seeds in one experiment, with the statistics to tell them apart.

experiment → runner → cell → results → statistics → tables, leaderboard, report
"""
