"use strict";
// A sample's trajectory: what the sampler holds at each of its steps, and what the denoiser makes of it. The sprite and
// the data file are written by dpsynth.site.interactive: a row an image; columns x at each level, D at each level.

const trajectory = (() => {
  const { element, shown } = charts;

  /** Where a tile lies in the sprite, as [column, row]. */
  const place = (data, label, step, guess) => [step + (guess ? data.sigma.length : 0), label];

  function start(root) {
    const $ = (name) => root.querySelector(`[data-is="${name}"]`);
    if (typeof trajectoryData === "undefined") return;
    const data = trajectoryData, last = data.sigma.length - 1, side = 2 * data.side, tiles = [];
    const sheet = (2 * data.sigma.length + 1) * side;
    for (const guess of [false, true]) {
      data.labels.forEach((label, row) => {
        const name = `digit ${label}: ${guess ? "the denoiser's guess" : "what the sampler holds"}`;
        const picture = element("div", { class: "tile", role: "img", "aria-label": name });
        picture.style = `width: ${side}px; height: ${side}px; background: url("../_static/interactive/trajectory-steps.png") 0 0 / ${sheet}px auto`;
        tiles.push({ picture, row, guess });
        $(guess ? "guesses" : "held").append(element("li", {}, picture));
      });
    }
    $("step").max = last;

    function show() {
      const step = Number($("step").value), words = `Step ${step + 1} of ${last + 1}: sigma ${shown(data.sigma[step])}`;
      $("step").setAttribute("aria-valuetext", words);
      $("answer").replaceChildren(element("p", {}, `${words}. ${step === last ? "The last guess is the sample." : `The next sigma is ${shown(data.sigma[step + 1])}.`}`));
      for (const { picture, row, guess } of tiles) {
        const [x, y] = place(data, row, step, guess);
        picture.style.backgroundPosition = `-${x * side}px -${y * side}px`;
      }
    }

    $("step").addEventListener("input", show);
    root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    const rows = data.sigma.map((sigma, i) => [i + 1, sigma]);
    $("levels").replaceChildren(charts.table("The noise at each step", ["step", "sigma"], rows));
    root.classList.add("is-live");
    show();
  }

  return Object.freeze({ place, start });
})();

if (typeof document !== "undefined") document.querySelectorAll("#trajectory").forEach(trajectory.start);
