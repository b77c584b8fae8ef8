"use strict";
// The query's noise: which public classes a private label gets as noise grows. An evaluation on a public benchmark, not
// a release: the data file, which dpsynth.site.interactive writes, holds the votes without noise.

const queryNoise = (() => {
  const { element, shown } = charts;

  /** Uniform numbers in [0, 1) that follow from a seed (the mulberry32 generator). */
  function uniforms(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /** Standard normals from uniforms (Box and Muller 1958). */
  const normals = (uniform) => () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

  /** As `selection.pick` of the package: for each row in turn the columns with most votes that no earlier row took. */
  function pick(histogram, kept) {
    const taken = new Set();
    return histogram.map((row) => {
      const free = row.map((_, column) => column).filter((column) => !taken.has(column));
      const chosen = free.sort((a, b) => row[b] - row[a] || a - b).slice(0, kept);
      chosen.forEach((column) => taken.add(column));
      return chosen;
    });
  }

  /** One noisy selection: the picks, and how much of the noise-free ones they recover, in all and by row. */
  function drawn(data, noise, seed) {
    const normal = normals(uniforms(seed)), scale = noise * Math.sqrt(data.votes);
    const picks = pick(data.histogram.map((row) => row.map((votes) => votes + scale * normal())), data.kept);
    const rows = picks.map((row, label) => row.filter((column) => data.picks[label].includes(column)).length / row.length);
    return { picks, rows, recall: rows.reduce((a, b) => a + b, 0) / rows.length };
  }

  /** The slider's places, 0 to 100, are spread over noise evenly in its logarithm. */
  const LEAST = 1, MOST = 500;
  const noiseAt = (place) => Number((LEAST * (MOST / LEAST) ** (place / 100)).toPrecision(2));
  const placeOf = (noise) => (100 * Math.log(noise / LEAST)) / Math.log(MOST / LEAST);

  function start(root) {
    const $ = (name) => root.querySelector(`[data-is="${name}"]`);
    if (typeof queryNoiseData === "undefined") return;
    const data = queryNoiseData, dots = [];
    let noise = data.planned, seed = 1;

    data.labels.forEach((label, i) => $("label").append(element("option", { value: i }, label)));
    const presets = [
      [data.planned, "this run's plan"],
      [data.scaled, `the papers' ${shown(data.published)}, scaled to ${data.records.toLocaleString("en")} records`],
    ];
    for (const [value, words] of presets) {
      const button = element("button", { type: "button" }, `${shown(value)}: ${words}`);
      button.addEventListener("click", () => move(value));
      $("presets").append(button);
    }

    function move(to) {
      noise = to;
      $("noise").value = placeOf(noise);
      seed += 1;
      show();
    }

    function show() {
      const found = drawn(data, noise, seed), label = Number($("label").value);
      dots.push([noise, found.recall]);
      if (dots.length > 60) dots.shift(); // older ones would hide the newer
      const epsilon = accounting.epsilon({ steps: 0, queryNoise: Math.max(noise, accounting.LEAST_NOISE), votes: data.votes }, data.delta);
      $("noise").setAttribute("aria-valuetext", `noise multiplier ${shown(noise)}`);
      $("answer").replaceChildren(
        element("p", {}, `Noise multiplier ${shown(noise)} (± ${shown(noise * Math.sqrt(data.votes))} votes in each count), which alone costs epsilon ${shown(epsilon)} at delta ${shown(data.delta)}: `,
          element("strong", {}, `${shown(100 * found.recall)} percent`), ` of all noise-free picks are picked; of the digit ${data.labels[label]}, ${shown(100 * found.rows[label])} percent.`),
      );
      $("tiles").replaceChildren(...found.picks[label].map((column) => tile(data, label, column)));
      $("missed").textContent = missed(data, label, found.picks[label]);
      const line = { name: "mean of the package's 20 draws", points: data.curve.noise.map((at, i) => [at, data.curve.recall[i]]) };
      charts.lines($("curve"), {
        title: "Share of the noise-free picks that are picked, over the query's noise", lines: [line], dots, mark: noise, notes: [[data.planned, "plan"], [data.scaled, "papers', scaled"]],
        x: { label: "noise multiplier of the query (log scale)", log: true }, y: { label: "recall" },
      });
    }

    $("noise").addEventListener("input", () => { noise = noiseAt(Number($("noise").value)); seed += 1; show(); });
    $("label").addEventListener("change", show);
    $("again").addEventListener("click", () => { seed += 1; show(); });
    root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    root.classList.add("is-live");
    move(data.planned);
  }

  /** A public class: its thumbnail, from the sprite, its name, and whether it is picked without noise too. */
  function tile(data, label, column) {
    const kept = data.picks[label].includes(column), side = 2 * data.side, sheet = data.columns * side;
    const style = `width: ${side}px; height: ${side}px; background: url("../_static/interactive/query-noise-classes.png") `
      + `-${(column % data.columns) * side}px -${Math.floor(column / data.columns) * side}px / ${sheet}px auto`;
    const name = data.names[column];
    const picture = element("div", { class: "tile", role: "img", "aria-label": name, title: name, style });
    return element("li", { class: kept ? "kept" : "strayed" }, picture, element("span", {}, kept ? "✓ kept" : "✗ strayed"));
  }

  function missed(data, label, picks) {
    const lost = data.picks[label].filter((column) => !picks.includes(column)).map((column) => data.names[column]);
    return lost.length ? `Picked without noise, and missed now: ${lost.join("; ")}.` : "No noise-free pick is missed.";
  }

  return Object.freeze({ drawn, pick, start });
})();

if (typeof document !== "undefined") document.querySelectorAll("#query-noise-explorer").forEach(queryNoise.start);
