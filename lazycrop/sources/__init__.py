"""Where images come from: the guarded download of a URL that a stranger may have given."""
