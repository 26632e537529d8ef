"""Anybody's data: interactions in CSV, Parquet or JSON Lines become RecBole's atomic files. No RecBole."""
