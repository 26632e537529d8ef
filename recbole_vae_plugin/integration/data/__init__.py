"""RecBole's data sets: reading, splitting, saving, and the data loaders of our models."""
