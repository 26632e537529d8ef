"""The site, from these pages and the docstrings: ``sphinx-build -W -n docs docs/_build``.

Sphinx, because the alternatives were in transition in November 2026: the MkDocs theme Material is in
maintenance mode and ends in May 2027, and its successor's support of docstrings is preliminary. The pages
themselves are Markdown that GitHub shows as well.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import recbole_vae_plugin

HERE = Path(__file__).parent

project = "recbole-vae-plugin"
copyright = "the recbole-vae-plugin authors"
release = recbole_vae_plugin.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # the anchors that GitHub gives headings

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "code"

# the pages of other libraries are elsewhere, and names of types that only annotations use have none
nitpick_ignore_regex = [("py:.*", r"(?!recbole_vae_plugin).*")]
# an annotation such as type[nn.Module] also fits attributes that are called type
suppress_warnings = ["ref.python"]


def drop_links_out_of_the_site(app: Sphinx, tree: nodes.document) -> None:
    """Folders, and files beside README.md, can be linked to on GitHub; the site has no page for them."""
    for link in list(tree.findall(addnodes.pending_xref)):
        if link.get("reftype") != "myst":
            continue
        target = link["reftarget"].partition("#")[0]
        if (HERE / target).is_dir() or (HERE.parent / target).exists():
            link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    """Connect what lets a page be read in both places."""
    app.connect("doctree-read", drop_links_out_of_the_site)
