"use strict";
// The privacy-budget explorer: what the reader types, checked; what it costs; charts of epsilon. The arithmetic is in
// accounting.js and renyi.js, the presets in the data file that dpsynth.site.interactive writes.

const explorer = (() => {
  const { element, shown } = charts;

  // What a field takes, and what is wrong with a value that it does not take.
  const FIELDS = {
    epsilon: { name: "Epsilon", least: 0.01, most: 1e4 },
    noise: { name: "The noise multiplier", least: accounting.LEAST_NOISE, most: 1e4 },
    rate: { name: "The sampling rate", least: 1e-5, most: 1 },
    steps: { name: "The number of steps", least: 0, most: 100000, whole: true },
    delta: { name: "Delta", least: 1e-12, most: 0.5 },
    queryNoise: { name: "The query's noise multiplier", least: accounting.LEAST_NOISE, most: 1e5, optional: true },
    votes: { name: "Votes", least: 1, most: 1000, whole: true },
  };

  /** The number that a text means, {value} or {error}: a sentence that says what is wrong and what to write. */
  function read(field, text) {
    const { name, least, most, whole, optional } = FIELDS[field], between = `between ${shown(least)} and ${shown(most)}`;
    const trimmed = text.trim();
    if (trimmed === "") return optional ? { value: null } : { error: `${name} is empty: write a number ${between}.` };
    const value = Number(trimmed.replace(",", "."));
    if (!/^[-+.,\d]+(e[-+]?\d+)?$/i.test(trimmed) || !Number.isFinite(value)) {
      return { error: `${name} is not a number: write one ${between}, such as ${shown(whole ? 100 : most === 1 ? 0.1 : Math.sqrt(least * most))}.` };
    }
    if (field === "rate" && value > 1) return { error: "The sampling rate is a probability: write at most 1." };
    if (field === "delta" && value <= 0) return { error: `Delta must be above 0 (write ${between}); a Gaussian has no epsilon at delta 0.` };
    if (value < 0) return { error: `${name} cannot be negative: write a number ${between}.` };
    if (whole && !Number.isInteger(value)) return { error: `${name}: write a whole number ${between}.` };
    if (value < least || value > most) return { error: `${name} is taken ${between} here.` };
    return { value };
  }

  /** All that the page says of a setting at delta. */
  function answer(setting, delta) {
    const moments = renyi.epsilons(setting, delta);
    const epsilon = accounting.epsilon(setting, delta), replaced = accounting.epsilon(setting, delta, true);
    const query = { ...setting, steps: 0 }, learner = { ...setting, queryNoise: null };
    return {
      epsilon, replaced, rdp: moments.modern, classic: moments.classic,
      query: accounting.epsilon(query, delta), learner: accounting.epsilon(learner, delta),
      attack: accounting.attack(setting), attackReplaced: accounting.attack(setting, true),
      bound: accounting.attackBound(epsilon, delta), boundReplaced: accounting.attackBound(replaced, delta),
    };
  }

  // ---- the page -----------------------------------------------------------------------------------------------------

  function start(root) {
    const $ = (name) => root.querySelector(`[data-is="${name}"]`);
    const knows = () => root.querySelector('[name="knows"]:checked').value;
    let pending = null;

    /** The setting that the fields say, or null, where sentences beside them say what is wrong. */
    function typed() {
      const values = {};
      let good = true;
      for (const field of Object.keys(FIELDS)) {
        const input = root.querySelector(`[name="${field}"]`), skipped = field === (knows() === "noise" ? "epsilon" : "noise");
        input.closest(".field").hidden = skipped;
        const { value, error = "" } = skipped ? { value: null } : read(field, input.value);
        input.setAttribute("aria-invalid", String(error !== ""));
        const place = root.querySelector(`#${input.getAttribute("aria-describedby")}`);
        if (place.textContent !== error) place.textContent = error;
        values[field] = value;
        good = good && error === "";
      }
      return good ? values : null;
    }

    function update() {
      clearTimeout(pending);
      const values = typed();
      $("charts").hidden = values === null; // what is drawn is of numbers that no longer stand above
      if (values === null) return $("answer").replaceChildren(element("p", {}, "No answer: a field above holds no possible value."));
      const { epsilon, delta, ...setting } = values;
      const notes = knows() === "epsilon" ? solved(setting, epsilon, delta) : [];
      $("charts").hidden = setting.noise === null;
      if (setting.noise === null) return $("answer").replaceChildren(...notes);
      const found = answer(setting, delta);
      $("answer").replaceChildren(...notes, ...sentences(found, delta));
      $("parts").replaceChildren(bars(...parts(setting, found)));
      $("accountants").replaceChildren(bars(...accountants(found)));
      pending = setTimeout(draw, 0, setting, delta);
    }

    function draw(setting, delta) {
      curve(setting, delta, $("over").value, (chart) => charts.lines($("curve"), chart), (next) => { pending = setTimeout(next, 0); });
    }

    for (const preset of typeof explorerData === "undefined" ? [] : explorerData.presets) {
      $("preset").append(element("option", {}, preset.name));
    }
    $("preset").addEventListener("change", () => {
      const preset = explorerData.presets.find((each) => each.name === $("preset").value);
      if (!preset) return;
      for (const [field, value] of Object.entries(preset.setting)) root.querySelector(`[name="${field}"]`).value = value ?? "";
      root.querySelector('[name="knows"][value="epsilon"]').checked = true;
      update();
    });
    root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    root.querySelector("form").addEventListener("input", (event) => {
      if (event.target === $("preset")) return;
      $("preset").selectedIndex = 0;
      update();
    });
    $("over").addEventListener("change", update);
    root.classList.add("is-live");
    update();
  }

  /** Finds the noise for an epsilon, puts it into the setting, and says so. */
  function solved(setting, epsilon, delta) {
    if (setting.steps === 0) return refusal("With no steps there is no noise of DP-SGD to choose: write at least 1 step, or choose to give the noise.");
    setting.noise = accounting.calibrated(setting, epsilon, delta);
    if (setting.noise === null) {
      return refusal(`The query alone costs epsilon ${shown(accounting.epsilon({ ...setting, noise: 1, steps: 0 }, delta))}, which leaves DP-SGD nothing: raise the query's noise or epsilon.`);
    }
    const words = `A noise multiplier of ${shown(setting.noise)} for DP-SGD keeps epsilon at ${shown(epsilon)}`;
    if (setting.noise <= accounting.LEAST_NOISE) return refusal(`${words} or below; less noise than that is not considered here.`);
    if (setting.queryNoise === null) return [element("p", {}, `${words}.`)];
    const alone = accounting.calibrated({ ...setting, queryNoise: null }, epsilon, delta);
    return [element("p", {}, `${words}. Without the query ${shown(alone)} would do: the query costs the learner ${shown(Number((100 * (setting.noise / alone - 1)).toPrecision(2)))} percent more noise.`)];
  }

  const refusal = (text) => [element("p", { class: "error" }, text)];

  function sentences(found, delta) {
    const percent = (share) => (share > 0.9999 ? "nearly 100 percent" : `${shown(100 * share)} percent`);
    const strong = element("strong", {}, `epsilon ${shown(found.epsilon)} at delta ${shown(delta)}`);
    return [
      element("p", {}, "All together cost ", strong, ` if neighbours differ by adding or removing one record, and epsilon ${shown(found.replaced)} if by replacing one.`),
      element("p", {}, `An attacker who must guess between two such neighbours, each as likely as the other, is right at best ${percent(found.attack)} of the time (replacing one: ${percent(found.attackReplaced)}). A coin is right 50 percent of the time.`),
      element("p", {}, `From (epsilon, delta) alone one could only say: at most ${percent(found.bound)} (replacing one: ${percent(found.boundReplaced)}).`),
    ];
  }

  const parts = (setting, found) => ["Where the budget goes: each part alone, and both", [
    ...(setting.queryNoise === null ? [] : [["the query alone", found.query]]),
    ...(setting.steps === 0 ? [] : [["DP-SGD alone", found.learner]]),
    ["all together", found.epsilon],
  ]];

  const accountants = (found) => ["The same, by other accountants and for other neighbours", [
    ["PLD, add or remove one (of record)", found.epsilon],
    ["RDP, modern conversion", found.rdp],
    ["RDP, classic conversion", found.classic],
    ["PLD, replace one", found.replaced],
  ]];

  /** A table whose last column is a bar. */
  function bars(caption, rows) {
    const most = Math.max(...rows.map((row) => row[1]), 1e-12);
    const made = charts.table(caption, ["", "epsilon", ""], rows.map(([name, value]) => {
      return [name, value, element("span", { class: "bar", style: `width: ${(100 * value) / most}%`, "aria-hidden": "true" })];
    }));
    made.classList.add("bars");
    return made;
  }

  const OVER = {
    noise: { label: "noise multiplier of DP-SGD", low: accounting.LEAST_NOISE, high: 1e4, factor: 8 },
    rate: { label: "sampling rate", low: 1e-5, high: 1, factor: 30 },
    steps: { label: "steps", low: 1, high: 100000, factor: 30 },
    delta: { label: "delta", low: 1e-12, high: 0.5, factor: 1e4 },
    queryNoise: { label: "noise multiplier of the query", low: accounting.LEAST_NOISE, high: 1e5, factor: 30 },
  };

  /** Epsilon over one of the inputs, point by point, so that the page answers meanwhile. */
  function curve(setting, delta, over, show, later) {
    const { label, low, high, factor } = OVER[over];
    const here = { ...setting, delta }[over] || (over === "queryNoise" ? 40 : 1);
    const from = Math.max(low, here / factor), to = Math.min(high, here * factor);
    const names = ["PLD, add or remove one", "PLD, replace one", "RDP, modern", "RDP, classic"];
    const lines = names.map((name) => ({ name, points: [] }));
    const at = new Set(Array.from({ length: 17 }, (_, i) => from * (to / from) ** (i / 16)));
    const places = [...at].map((x) => (over === "steps" ? Math.round(x) : Number(x.toPrecision(4))));
    const next = () => {
      const until = performance.now() + 20;
      do {
        const x = places.shift(), { delta: d, ...one } = { ...setting, delta, [over]: x };
        const moments = renyi.epsilons(one, d);
        const values = [accounting.epsilon(one, d), accounting.epsilon(one, d, true), moments.modern, moments.classic];
        values.forEach((value, i) => lines[i].points.push([x, value]));
      } while (places.length && performance.now() < until);
      if (places.length) return later(next);
      const values = lines.flatMap((line) => line.points.map((point) => point[1]));
      const log = Math.max(...values) > 30 * Math.max(0.01, Math.min(...values));
      const y = { label: log ? "epsilon (log scale)" : "epsilon", log };
      show({ title: `Epsilon over the ${label}`, lines, x: { label: `${label} (log scale)`, log: true }, y, mark: { ...setting, delta }[over] ? here : undefined });
    };
    next();
  }

  return Object.freeze({ FIELDS, answer, read, start });
})();

if (typeof document !== "undefined") document.querySelectorAll("#explorer").forEach(explorer.start);
