"""How Sphinx makes a site of these documents: ``make docs``."""

from __future__ import annotations

from lazycrop import __version__

project = "lazycrop"
author = "lazycrop contributors"
release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx_click"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
# A docstring stands for itself; that of object or Exception says nothing of ours.
autodoc_inherit_docstrings = False

smartquotes = False  # --jobs is an option, and no dash

html_theme = "furo"
html_title = f"lazycrop {release}"
html_show_copyright = False
html_copy_source = False
# Of the addresses that documents show, these are nobody's.
linkcheck_ignore = [r"https?://(127\.0\.0\.1|localhost)", r"https?://([\w.-]+\.)?example(\.com)?(/|$)"]
linkcheck_timeout = 10
