"""The one room that knows RecBole's internals: names, compatibility, data loaders, trainer."""
