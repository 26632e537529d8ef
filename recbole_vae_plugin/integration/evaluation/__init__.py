"""What RecBole's evaluation computes from scores: collecting and metrics."""
