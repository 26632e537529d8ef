"""RecBole's ``Config``: which keys there are, the types of their values, and what is refused."""
