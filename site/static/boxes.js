// A box that scrolls sideways can be reached, and then scrolled, by keyboard; one that does not is no stop on the way.
"use strict";

const BOXES = ".table-wrapper, .math-wrapper, div.output.text_html, div.highlight pre, div.output.text_plain pre";

function mark(box) {
  if (box.scrollWidth > box.clientWidth) {
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "scrolls sideways");
  } else {
    for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const watcher = new ResizeObserver((entries) => entries.forEach((entry) => mark(entry.target)));
  document.querySelectorAll(BOXES).forEach((box) => watcher.observe(box));
});
