"""RecBole's evaluation: what is collected from scores, and metrics."""
