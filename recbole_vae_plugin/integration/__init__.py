"""The one room that knows RecBole's internals: names, repairs, data loaders, trainer."""
