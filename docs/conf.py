"""How `make docs` builds the site: Sphinx reads the Markdown pages of this folder; nothing is fetched."""

project = "restore"
author = "the authors of restore"
extensions = ["myst_parser"]
exclude_patterns = ["README.md"]
myst_heading_anchors = 3  # links to headings, as GitHub makes them
html_theme = "furo"
html_title = "restore"
html_show_sphinx = False
html_copy_source = False
