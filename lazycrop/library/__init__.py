"""The images of one store: their records and versions, what the cache knows of each derivative, how one is made."""
