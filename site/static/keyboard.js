// What the theme leaves to the mouse: boxes that scroll sideways, and the labels that open menus.
"use strict";

const BOXES = ".table-wrapper, .math-wrapper, div.output.text_html, div.highlight pre, div.output.text_plain pre";
const MENUS = "label.nav-overlay-icon, label.toc-overlay-icon, .sidebar-tree label";

// A box that scrolls can be reached, and then scrolled, by keyboard; one that does not is no stop on the way.
function mark(box) {
  if (box.scrollWidth > box.clientWidth) {
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "scrolls sideways");
  } else {
    for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
  }
}

// A label is a button for its checkbox, which is not displayed.
function press(label) {
  const box = document.getElementById(label.htmlFor);
  const say = () => label.setAttribute("aria-expanded", box.checked);
  label.tabIndex = 0;
  label.setAttribute("role", "button");
  if (box.ariaLabel) label.setAttribute("aria-label", box.ariaLabel);
  box.addEventListener("change", say);
  label.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    label.click();
  });
  say();
}

document.addEventListener("DOMContentLoaded", () => {
  const watcher = new ResizeObserver((entries) => entries.forEach((entry) => mark(entry.target)));
  document.querySelectorAll(BOXES).forEach((box) => watcher.observe(box));
  document.querySelectorAll(MENUS).forEach(press);
});
