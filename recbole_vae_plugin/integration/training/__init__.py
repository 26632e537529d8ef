"""RecBole's trainer for the models here, checkpoints and resumption."""
