"""RecBole models, one file each: a head, and what every model of the family is to RecBole."""
