"""How Sphinx builds the documentation (`make docs`).  Nothing is fetched, and no page needs a network to be read."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import rnnrnade

project = "rnnrnade"
author = copyright = "the rnnrnade developers"
version = release = rnnrnade.__version__
language = "en"
smartquotes = False  # "gaussian" is to be copied
toc_object_entries_show_parents = "hide"

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]  # the gallery's sources come in through docs/gallery
templates_path = ["_templates"]
nitpicky = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# The reference: a page for each public name, methods on the page of their class.
autosummary_generate = True
autodoc_typehints = "none"  # types stand in the docstrings
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False
default_role = "code"  # `name` in a docstring is code

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "doc_module": ("rnnrnade",),
    "backreferences_dir": None,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 1,
}

html_theme = "pydata_sphinx_theme"
html_title = f"rnnrnade {version}"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "header_links_before_dropdown": 4,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
ALONE = ["tasks", "experiments", "speed", "notation", "errata", "sources", "internals", "changelog", "contributing"]
html_sidebars = {page: [] for page in ALONE}  # pages without neighbours need no navigation among them
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"


def inline_math(self, node):
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(self, node):
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def as_pages(app, docname, source):
    """Links to files at the root, as the repository shows them, lead to the pages that include these files; the empty
    line that ends a doctest is not shown."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")
    source[0] = re.sub(r"\]\(\.\./([A-Z]+)\.md\)", lambda match: f"]({match[1].lower()}.md)", source[0])


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(inline_math, None), block_renderers=(block_math, None))
    app.connect("source-read", as_pages)
