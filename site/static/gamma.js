"use strict";
// Gamma and its losses: how much the denoising loss rises when weights are moved, after training with the perturbation
// and without. The numbers are those of results/, written by dpsynth.site.interactive.

const gamma = (() => {
  const { element, shown } = charts;

  /** The curves of one choice, with their names: training with each radius, ascending. */
  function chosen(data, model, images, move) {
    return data.losses.filter((each) => each.model === model && each.images === images && each.move === move);
  }

  const named = (radius) => (radius ? `trained with gamma ${shown(radius)}` : "trained without perturbation");

  function start(root) {
    const $ = (name) => root.querySelector(`[data-is="${name}"]`);
    if (typeof gammaData === "undefined") return;
    const data = gammaData;

    function show() {
      const curves = chosen(data, $("model").value, $("images").value, $("move").value), norms = curves[0].at;
      $("norm").max = norms.length - 1;
      const i = Math.min(Number($("norm").value), norms.length - 1), words = `weights moved by ${shown(norms[i])} ${data.moves[$("move").value]}`;
      $("norm").setAttribute("aria-valuetext", words);
      const rows = curves.map((curve) => {
        return [named(curve.radius), interval(curve, 0), interval(curve, i), shown(curve.mean[i] - curve.mean[0])];
      });
      const headings = ["", "loss, weights as they are", "loss, weights moved", "rise of the mean"];
      $("answer").replaceChildren(charts.table(`With ${words}: mean over ${data.seeds} seeds, and its 95 percent interval`, headings, rows));
      charts.lines($("curve"), {
        title: "Denoising loss over the norm of the move", mark: norms[i],
        lines: curves.map(({ radius, at, mean, low, high }) => ({ name: named(radius), points: at.map((a, k) => [a, mean[k]]), low, high })),
        x: { label: "norm of the move of all weights" }, y: { label: "denoising loss" },
      });
    }

    for (const name of ["model", "images", "move", "norm"]) $(name).addEventListener("input", show);
    root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    $("about-quality").hidden = data.quality.length === 0;
    $("quality").replaceChildren(...data.quality.map(({ metric, at, mean, low, high }) => {
      const place = element("div", {}), points = at.map((a, k) => [a, mean[k]]);
      charts.lines(place, {
        title: `${metric} over gamma in pre-training`, lines: [{ name: metric, points, low, high }],
        x: { label: "gamma in pre-training" }, y: { label: metric },
      });
      return place;
    }));
    root.classList.add("is-live");
    show();
  }

  const interval = (curve, i) => `${shown(curve.mean[i])} (${shown(curve.low[i])} to ${shown(curve.high[i])})`;

  return Object.freeze({ chosen, start });
})();

if (typeof document !== "undefined") document.querySelectorAll("#gamma").forEach(gamma.start);
