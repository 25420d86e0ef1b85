"""The nouns, without any picture or server: sizes, derivatives, records, their keys in a store and their URLs."""
