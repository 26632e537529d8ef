"""RecBole's data sets: reading, splitting, saving, and the loaders of the models here."""
