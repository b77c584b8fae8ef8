"""What Sphinx is told; `make site` writes the pages that it reads into build/site/source/."""

project = "dpsynth"
html_title = "dpsynth"
language = "en"
extensions = ["myst_nb", "dpsynth.site.mathml"]
exclude_patterns = ["_*"]  # parts, included in pages

nb_execution_mode = "off"
nb_code_prompt_show = "Show the answer"  # what the notebooks fold are answers of exercises
nb_code_prompt_hide = "Hide the answer"
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False
html_math_renderer = "mathml"

templates_path = ["templates"]
html_theme = "furo"
html_favicon = "static/icon.svg"
html_css_files = ["site.css"]
html_js_files = ["keyboard.js"]
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_permalinks_icon = "#"
html_theme_options = {"top_of_page_buttons": []}
