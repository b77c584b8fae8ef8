// What is wrong with the page that is open, as a list of sentences; run by tests/site/test_browser.py.
"use strict";
const wrong = [];
const seen = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
const short = (element) => element.outerHTML.slice(0, 90);

// Nothing from another host.
for (const entry of performance.getEntriesByType("resource")) {
  if (new URL(entry.name).origin !== location.origin) wrong.push(`loads ${entry.name}`);
}

// Pictures have text, and are there.
for (const image of document.querySelectorAll("img")) {
  if (!image.alt.trim()) wrong.push(`a picture without text: ${short(image)}`);
}

// One first heading, and none that skips a level.
const levels = [...document.querySelectorAll("article :is(h1, h2, h3, h4, h5, h6)")].map((h) => Number(h.tagName[1]));
if (levels.filter((level) => level === 1).length !== 1) wrong.push(`headings of level 1: ${levels}`);
levels.forEach((level, i) => {
  if (i && level > levels[i - 1] + 1) wrong.push(`a heading of level ${level} follows one of level ${levels[i - 1]}`);
});

// Language, title, landmarks, skip link, names of controls.
if (!document.documentElement.lang) wrong.push("no language");
if (!document.title.trim()) wrong.push("no title");
if (document.querySelectorAll("[role=main], main").length !== 1) wrong.push("not one main landmark");
for (const link of document.querySelectorAll("a[href^='#']")) {
  const id = decodeURIComponent(link.hash.slice(1));
  if (id && !document.getElementById(id)) wrong.push(`a link to no place of the page: ${short(link)}`);
}
if (!document.querySelector("a.skip-to-content")) wrong.push("no skip link");
for (const control of document.querySelectorAll("button, input:not([type=hidden]), select, textarea")) {
  const name = control.getAttribute("aria-label") || control.textContent.trim() || control.placeholder || control.title
    || (control.labels && [...control.labels].map((label) => label.textContent.trim()).join(""));
  if (!name) wrong.push(`a control without a name: ${short(control)}`);
}
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of new Set(ids.filter((one, i) => ids.indexOf(one) !== i))) wrong.push(`the id ${id} stands twice`);

// Neither the page nor its column of text, which the theme lets scroll, scrolls sideways.
const wide = [...document.querySelectorAll("html, .content")].find((e) => e.scrollWidth > window.innerWidth);
if (wide) {
  const outer = [...document.querySelectorAll("article *")].filter(
    (e) => e.getBoundingClientRect().right > window.innerWidth + 1 && !e.closest(".table-wrapper, pre, .text_html"),
  );
  wrong.push(`${wide.scrollWidth} px wide in a window of ${window.innerWidth}: ${outer.slice(0, 2).map(short)}`);
}

// Contrast of texts, WCAG 2.2, level AA.
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function rgba(colour) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}
const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
function behind(element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3]) layers.push(colour);
    if (colour[3] === 1) break;
  }
  return layers.reduceRight((below, top) => over(top, below), rgba("Canvas"));
}
function luminance([r, g, b]) {
  const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
}
const poor = new Map();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !seen(element) || element.closest("script, style, .headerlink, [disabled]")) continue;
  const style = getComputedStyle(element);
  const below = behind(element);
  const [light, dark] = [luminance(over(rgba(style.color), below)), luminance(below)].sort((a, b) => b - a);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const ratio = (light + 0.05) / (dark + 0.05);
  if (ratio < (large ? 3 : 4.5)) {
    const key = `${style.color} on ${below.slice(0, 3).map(Math.round)}`;
    if (!poor.has(key)) poor.set(key, `contrast ${ratio.toFixed(2)}, ${key}: ${walker.currentNode.data.trim().slice(0, 30)} in ${short(element)}`);
  }
}
wrong.push(...poor.values());
return wrong;
