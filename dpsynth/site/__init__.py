"""The site: static pages from executed notebooks, docs/ and results/, which load nothing from other hosts.

`collect` writes what Sphinx reads into build/site/source/, `build` turns that into build/site/html/.
"""
