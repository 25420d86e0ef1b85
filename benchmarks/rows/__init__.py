"""The points that are to be shown, one a module."""
