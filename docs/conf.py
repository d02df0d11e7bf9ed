"""Sphinx: the pages of this folder as a site; ``make docs`` builds it, and a warning is an error."""

from live_spec import __version__

project = "live-spec"
author = "The live-spec developers"
copyright = author
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"live-spec {version}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["print.css"]
exclude_patterns = ["conf.py"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
suppress_warnings: list[str] = []
