"""Plain torch: everything an autoencoder recommender is made of. Imports no RecBole."""
