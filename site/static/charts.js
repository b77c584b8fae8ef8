"use strict";
// What the interactive pages draw with: a line chart as SVG, a table beside it, numbers as people read them.

const charts = (() => {
  const NARROWEST = 300, WIDEST = 700, TALL = 320, LEFT = 62, RIGHT = 14, TOP = 14, BOTTOM = 46;
  const DASHES = ["", "7 4", "2 3", "9 3 2 3"]; // lines are told apart without their colours too

  /** A number in at most four digits; large ones without powers of ten up to a million. */
  function shown(value) {
    if (value === Infinity) return "infinite";
    if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3)) {
      return value.toExponential(2).replace(/\.?0*e\+?/, "e");
    }
    return String(Number(Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(4)));
  }

  /** An element with attributes, and in it texts or other elements. */
  function element(name, attributes = {}, ...inside) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inside);
    return made;
  }

  function drawn(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  /** A table: a caption, headings, rows of texts and numbers; the first of a row is its heading. */
  function table(caption, headings, rows) {
    const head = element("tr", {}, ...headings.map((heading) => element("th", { scope: "col" }, heading)));
    const body = rows.map(([first, ...rest]) => {
      const cells = rest.map((value) => {
        return typeof value === "number" ? element("td", { class: "number" }, shown(value)) : element("td", {}, value);
      });
      return element("tr", {}, element("th", { scope: "row" }, typeof first === "number" ? shown(first) : first), ...cells);
    });
    return element(
      "table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body),
    );
  }

  function axis(values, log, room) {
    const finite = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
    let low = Math.min(...finite), high = Math.max(...finite);
    if (!log) [low, high] = [Math.min(0, low), high * 1.05 || 1];
    else if (high / low < 1.1) [low, high] = [low / 2, high * 2];
    const at = log ? (v) => Math.log(v / low) / Math.log(high / low) : (v) => (v - low) / (high - low);
    return { at, ticks: log ? powers(low, high, room) : even(low, high) };
  }

  function even(low, high) {
    const rough = (high - low) / 5, ten = 10 ** Math.floor(Math.log10(rough));
    const stride = ten * [1, 2, 5, 10].find((factor) => factor * ten >= rough);
    return Array.from({ length: Math.floor(high / stride + 1e-9) + 1 }, (_, i) => i * stride);
  }

  /** Ticks of a logarithmic axis of so many pixels, some forty apart or more. */
  function powers(low, high, room) {
    const decade = room / Math.log10(high / low), factors = decade < 90 ? [1] : decade < 250 ? [1, 3] : [1, 2, 3, 5];
    const ticks = [];
    for (let ten = 10 ** Math.floor(Math.log10(low)); ten <= high; ten *= 10) {
      ticks.push(...factors.map((factor) => factor * ten).filter((tick) => tick >= low * 0.999 && tick <= high * 1.001));
    }
    return ticks;
  }

  /** Draw lines into a place, with their key, and their numbers as a table for who cannot see it.
   *  @param {{title: string, lines: {name: string, points: number[][], low?: number[], high?: number[]}[], x: {label:
   *  string, log?: boolean}, y: {label: string, log?: boolean}, mark?: number, notes?: [number, string][], dots?: number[][]}} what  `low` and
   *  `high` are ends of an interval at each point; `mark` is a place on the x axis, `notes` others with words, `dots` single points. */
  function lines(place, what) {
    shownIn.set(place, { what, wide: widthOf(place) });
    draw(place, what, widthOf(place));
    resized?.observe(place);
  }

  // A chart is drawn anew where its place became another width: its letters stay as large as they are.
  const shownIn = new WeakMap();
  const widthOf = (place) => Math.min(WIDEST, Math.max(NARROWEST, place.clientWidth || WIDEST));
  const resized = typeof ResizeObserver === "undefined" ? null : new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const { what, wide } = shownIn.get(target);
      if (wide !== widthOf(target)) requestAnimationFrame(() => lines(target, what));
    }
  });

  function draw(place, what, wide) {
    const ends = what.lines.flatMap((line) => [...(line.low ?? []), ...(line.high ?? [])]);
    const points = [...what.lines.flatMap((line) => line.points), ...(what.dots ?? [])];
    const x = axis([...points.map((p) => p[0]), ...(what.mark === undefined ? [] : [what.mark])], what.x.log, wide - LEFT);
    const y = axis([...points.map((p) => p[1]), ...ends], what.y.log, TALL);
    const right = (v) => LEFT + x.at(v) * (wide - LEFT - RIGHT), up = (v) => TALL - BOTTOM - y.at(v) * (TALL - TOP - BOTTOM);
    const svg = drawn("svg", { viewBox: `0 0 ${wide} ${TALL}`, role: "img", "aria-label": `${what.title}. The numbers are in the table below.` });
    for (const tick of y.ticks) {
      svg.append(drawn("line", { class: "grid", x1: LEFT, x2: wide - RIGHT, y1: up(tick), y2: up(tick) }));
      svg.append(drawn("text", { x: LEFT - 6, y: up(tick) + 4, "text-anchor": "end" }, shown(tick)));
    }
    for (const tick of x.ticks) {
      svg.append(drawn("line", { class: "axis", x1: right(tick), x2: right(tick), y1: TALL - BOTTOM, y2: TALL - BOTTOM + 4 }));
      svg.append(drawn("text", { x: right(tick), y: TALL - BOTTOM + 17, "text-anchor": "middle" }, shown(tick)));
    }
    svg.append(drawn("line", { class: "axis", x1: LEFT, x2: wide - RIGHT, y1: TALL - BOTTOM, y2: TALL - BOTTOM }));
    svg.append(drawn("text", { x: (LEFT + wide) / 2, y: TALL - 8, "text-anchor": "middle" }, what.x.label));
    svg.append(drawn("text", { transform: `translate(14 ${TALL / 2 - 10}) rotate(-90)`, "text-anchor": "middle" }, what.y.label));
    if (what.mark !== undefined) {
      svg.append(drawn("line", { class: "mark", x1: right(what.mark), x2: right(what.mark), y1: TOP, y2: TALL - BOTTOM }));
    }
    for (const [at, words] of what.notes ?? []) {
      svg.append(drawn("line", { class: "grid", x1: right(at), x2: right(at), y1: TOP, y2: TALL - BOTTOM }));
      svg.append(drawn("text", { x: right(at) + 4, y: TOP + 10 }, `${shown(at)}: ${words}`));
    }
    what.lines.forEach((line, number) => svg.append(...strokes(line, number, right, up, what.y.log)));
    for (const [a, b] of what.dots ?? []) svg.append(drawn("circle", { cx: right(a), cy: up(b), r: 4, fill: "var(--line-2)" }));
    const asTable = numbers(what);
    asTable.open = place.querySelector("details")?.open ?? false; // as the reader left it
    place.replaceChildren(svg, key(what.lines), asTable);
  }

  function strokes(line, number, right, up, log) {
    const style = `stroke: var(--line-${(number % 4) + 1})`, made = [];
    line.points.forEach(([a], i) => {
      if (!line.low) return;
      made.push(drawn("line", { style, x1: right(a), x2: right(a), y1: up(line.low[i]), y2: up(line.high[i]) }));
    });
    const path = line.points.filter((p) => Number.isFinite(p[1]) && (!log || p[1] > 0));
    const through = path.map((p) => `${right(p[0]).toFixed(1)},${up(p[1]).toFixed(1)}`).join(" ");
    return [...made, drawn("polyline", { class: "line", style, "stroke-dasharray": DASHES[number % 4], points: through })];
  }

  function key(all) {
    const items = all.map((line, number) => {
      const sample = drawn("svg", { viewBox: "0 0 38 10", "aria-hidden": "true" });
      const style = `stroke: var(--line-${(number % 4) + 1})`;
      sample.append(drawn("line", { class: "line", style, "stroke-dasharray": DASHES[number % 4], x1: 0, x2: 38, y1: 5, y2: 5 }));
      return element("li", {}, sample, ` ${line.name}`);
    });
    return element("ul", { class: "key" }, ...items);
  }

  function numbers(what) {
    const columns = [...new Set(what.lines.flatMap((line) => line.points.map((p) => p[0])))].sort((a, b) => a - b);
    const rows = columns.map((at) => {
      const cells = what.lines.map((line) => {
        const i = line.points.findIndex((p) => p[0] === at);
        if (i < 0) return "";
        return line.low ? `${shown(line.points[i][1])} (${shown(line.low[i])} to ${shown(line.high[i])})` : line.points[i][1];
      });
      return [at, ...cells];
    });
    const made = table(what.title, [what.x.label, ...what.lines.map((line) => line.name)], rows);
    const scroll = element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "table of the chart" }, made);
    return element("details", {}, element("summary", {}, "The chart as a table"), scroll);
  }

  return Object.freeze({ element, lines, shown, table });
})();
