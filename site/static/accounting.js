"use strict";
// What one noisy histogram and DP-SGD cost together, by several accountants: the package's numbers, in the browser.
//
// A mechanism here is a list of atoms, (privacy loss, mass), and how often it is asked. Atoms are laid on a grid of
// losses, the grid's Fourier transform is raised to that power, and transformed back (Koskela et al. 2020; Gopi et al.
// 2021). renyi.js stands beside it. A classic script, as a page that is opened from a disk may load no modules.
//
// A setting is {noise, rate, steps, queryNoise, votes}: noise multipliers; queryNoise is null where nothing is asked
// before DP-SGD. Neighbours are "remove", "add" (the dearer of both is add-or-remove) or "replace".

const accounting = (() => {
  const REACH = 9; // deviations of noise that are looked at, either way
  const POINTS = 4096; // of noise, over that reach
  const LEFT_OUT = 1e-14; // mass that may fall off the grid
  const SMALLEST = 2 ** 11, LARGEST = 2 ** 16; // cells of the grid
  const LEAST_NOISE = 0.1, MOST_NOISE = 1e5; // noise multipliers that are considered

  // ---- single mechanisms, as atoms ----------------------------------------------------------------------------------

  /** One step of DP-SGD: the Poisson-subsampled Gaussian. With z = N(0, noise²) and w(x) = 1 - rate + rate
   *  exp((2x - 1) / (2 noise²)), the density of "with the record" over that of "without it", the loss is log w. */
  function step(noise, rate, neighbours) {
    const losses = new Float64Array(POINTS), masses = new Float64Array(POINTS);
    const low = -REACH * noise - (neighbours === "replace" ? 1 : 0), width = (1 + REACH * noise - low) / (POINTS - 1);
    const ratio = (x) => logRatio(rate, (2 * x - 1) / (2 * noise * noise));
    const scale = width / (noise * Math.sqrt(2 * Math.PI));
    for (let i = 0; i < POINTS; i++) {
      const x = low + i * width, without = scale * Math.exp((-x * x) / (2 * noise * noise)), loss = ratio(x);
      if (neighbours === "add") {
        losses[i] = -loss;
        masses[i] = without;
      } else {
        losses[i] = neighbours === "remove" ? loss : loss - ratio(-x);
        const moved = scale * Math.exp((-(x - 1) * (x - 1)) / (2 * noise * noise));
        masses[i] = (1 - rate) * without + rate * moved;
      }
    }
    return { losses, masses: normalised(masses) };
  }

  /** log(1 - rate + rate exp(z)), where exp(z) may be beyond numbers. */
  function logRatio(rate, z) {
    return z < 30 ? Math.log1p(rate * Math.expm1(z)) : z + Math.log(rate + (1 - rate) * Math.exp(-z));
  }

  /** A count that moves by one, under discrete Gaussian noise of this scale. Of a wide one, every so many-th integer. */
  function count(scale) {
    const stride = Math.max(1, Math.floor(scale / 50)), half = Math.ceil((REACH * scale + 1) / stride);
    const losses = new Float64Array(2 * half + 1), masses = new Float64Array(2 * half + 1);
    for (let i = -half; i <= half; i++) {
      const x = i * stride;
      losses[i + half] = (2 * x + 1) / (2 * scale * scale);
      masses[i + half] = Math.exp((-x * x) / (2 * scale * scale));
    }
    return { losses, masses: normalised(masses) };
  }

  function normalised(masses) {
    const total = masses.reduce((a, b) => a + b, 0);
    return masses.map((mass) => mass / total);
  }

  function atomsOf(setting, neighbours) {
    const atoms = [];
    if (setting.queryNoise !== null) {
      const moved = neighbours === "replace" ? 2 * setting.votes : setting.votes; // counts that one record moves
      atoms.push({ ...count(setting.queryNoise * Math.sqrt(setting.votes)), times: moved });
    }
    if (setting.steps > 0) {
      atoms.push({ ...step(setting.noise, setting.rate, neighbours), times: setting.steps });
    }
    return atoms;
  }

  // ---- their composition --------------------------------------------------------------------------------------------

  /** The privacy loss distribution of all that a setting asks: masses at losses (first + i) * width. */
  function composed(setting, neighbours) {
    const atoms = atomsOf(setting, neighbours);
    const { low, high, cells } = reach(atoms);
    const width = (high - low) / (cells - 2), first = Math.floor(low / width);
    const modulus = new Float64Array(cells / 2 + 1), angle = new Float64Array(cells / 2 + 1);
    for (const each of atoms) {
      const { re, im } = laidOut(each, width, cells);
      transform(re, im);
      for (let f = 0; f <= cells / 2; f++) {
        modulus[f] += each.times * 0.5 * Math.log(re[f] * re[f] + im[f] * im[f]);
        angle[f] += each.times * Math.atan2(im[f], re[f]);
      }
    }
    // Back again: the inverse of a spectrum is the transform of its conjugate, over the number of cells.
    const re = new Float64Array(cells), im = new Float64Array(cells);
    for (let f = 0; f <= cells / 2; f++) {
      const r = Math.exp(modulus[f]) / cells, mirror = (cells - f) % cells;
      re[f] = re[mirror] = r * Math.cos(angle[f]);
      im[f] = -r * Math.sin(angle[f]);
      if (mirror !== f) im[mirror] = -im[f];
    }
    transform(re, im);
    const masses = new Float64Array(cells);
    for (let i = 0; i < cells; i++) masses[i] = re[cell(first + i, cells)];
    return { first, width, masses };
  }

  const cell = (index, cells) => ((index % cells) + cells) % cells; // the grid is a ring

  /** Each atom on the three cells around it, such that mass, mean and variance stay what they are. */
  function laidOut({ losses, masses }, width, cells) {
    const re = new Float64Array(cells), im = new Float64Array(cells);
    for (let i = 0; i < losses.length; i++) {
      const place = losses[i] / width, middle = Math.round(place), off = place - middle;
      re[cell(middle - 1, cells)] += (masses[i] * (off * off - off)) / 2;
      re[cell(middle, cells)] += masses[i] * (1 - off * off);
      re[cell(middle + 1, cells)] += (masses[i] * (off * off + off)) / 2;
    }
    return { re, im };
  }

  /** Where the composed loss lies, all but LEFT_OUT of it, by Chernoff's bound; and into how many cells that is cut:
   *  what the grid does to the third cumulant of so many losses must stay below a thousandth. */
  function reach(atoms) {
    let mean = 0, variance = 0, times = 0, most = 0, least = 0;
    for (const { losses, masses, times: n } of atoms) {
      let m = 0, square = 0;
      for (let i = 0; i < losses.length; i++) m += masses[i] * losses[i];
      for (let i = 0; i < losses.length; i++) square += masses[i] * (losses[i] - m) ** 2;
      mean += n * m;
      variance += n * square;
      times += n;
      most += n * Math.max(losses[0], losses[losses.length - 1]);
      least += n * Math.min(losses[0], losses[losses.length - 1]);
    }
    const deviation = Math.sqrt(variance);
    let high = most, low = least;
    for (let power = -16; power <= 10; power++) {
      const s = 2 ** (power / 2) / deviation;
      high = Math.min(high, mean + (cumulant(atoms, s) - s * mean - Math.log(LEFT_OUT)) / s);
      low = Math.max(low, mean - (cumulant(atoms, -s) + s * mean - Math.log(LEFT_OUT)) / s);
    }
    const wanted = ((high - low) / deviation) * Math.cbrt(times / 2.5e-3);
    const cells = 2 ** Math.ceil(Math.log2(Math.min(LARGEST, Math.max(SMALLEST, wanted))));
    const edge = ((high - low) / cells) * 2;
    return { low: low - edge, high: high + edge, cells };
  }

  /** The logarithm of E[exp(s loss)] of all atoms together, from every so many-th of them. */
  function cumulant(atoms, s) {
    let sum = 0;
    for (const { losses, masses, times } of atoms) {
      const stride = Math.max(1, Math.floor(losses.length / 400));
      const most = s * (s * (losses[losses.length - 1] - losses[0]) > 0 ? losses[losses.length - 1] : losses[0]);
      let total = 0, mass = 0;
      for (let i = 0; i < losses.length; i += stride) {
        total += masses[i] * Math.exp(s * losses[i] - most);
        mass += masses[i];
      }
      sum += times * (most + Math.log(total / mass));
    }
    return sum;
  }

  /** The discrete Fourier transform of a power of two of numbers, in place (Cooley and Tukey 1965). */
  function transform(re, im) {
    const n = re.length;
    for (let i = 1, j = 0; i < n; i++) {
      let bit = n >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) {
        [re[i], re[j]] = [re[j], re[i]];
        [im[i], im[j]] = [im[j], im[i]];
      }
    }
    const { cos, sin } = circle(n);
    for (let half = 1; half < n; half *= 2) {
      const stride = n / (2 * half);
      for (let start = 0; start < n; start += 2 * half) {
        for (let k = 0; k < half; k++) {
          const a = start + k, b = a + half, c = cos[k * stride], s = sin[k * stride];
          const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
          re[b] = re[a] - x;
          im[b] = im[a] - y;
          re[a] += x;
          im[a] += y;
        }
      }
    }
  }

  const circles = new Map();

  function circle(n) {
    if (!circles.has(n)) {
      const angles = Float64Array.from({ length: n / 2 }, (_, k) => (-2 * Math.PI * k) / n);
      circles.set(n, { cos: angles.map(Math.cos), sin: angles.map(Math.sin) });
    }
    return circles.get(n);
  }

  // ---- what is read from it -----------------------------------------------------------------------------------------

  /** delta(epsilon) = E[(1 - exp(epsilon - loss))_+] of one direction. At epsilon 0 it is the total variation. */
  function deltaAt({ first, width, masses }, epsilon) {
    let delta = 0;
    for (let i = masses.length - 1; i >= 0 && (first + i) * width > epsilon; i--) {
      delta -= masses[i] * Math.expm1(epsilon - (first + i) * width);
    }
    return Math.min(1, Math.max(0, delta));
  }

  /** The least epsilon >= 0 at which delta(epsilon) is at most this, of one direction. */
  function epsilonAt({ first, width, masses }, delta) {
    // Downwards from the largest loss: the mass above, and that mass times exp(here - loss); delta is their difference.
    let above = 0, faded = 0, i = masses.length - 1;
    const fade = Math.exp(-width);
    for (; i >= 0 && (first + i) * width > 0; i--) {
      if (above - faded > delta) break;
      above += masses[i];
      faded = (faded + masses[i]) * fade;
    }
    if (!(above > delta)) return 0;
    // Between two losses, above - faded exp(epsilon - here) = delta.
    return Math.max(0, (first + i) * width + Math.log((above - delta) / faded));
  }

  const asks = (setting) => setting.steps > 0 || setting.queryNoise !== null;

  /** Epsilon by privacy loss distributions, neighbouring by adding or removing a record, or by replacing one. */
  function epsilon(setting, delta, replace = false) {
    if (!asks(setting)) return 0;
    const directions = replace ? ["replace"] : ["remove", "add"];
    return Math.max(...directions.map((neighbours) => epsilonAt(composed(setting, neighbours), delta)));
  }

  /** How often the best attacker is right who guesses which of two neighbouring sets was used, each as likely as the
   *  other: (1 + total variation) / 2. */
  function attack(setting, replace = false) {
    if (!asks(setting)) return 0.5;
    return (1 + deltaAt(composed(setting, replace ? "replace" : "remove"), 0)) / 2;
  }

  /** What (epsilon, delta) alone says of that: at most (exp(epsilon) + delta) / (1 + exp(epsilon)). */
  const attackBound = (epsilon, delta) => (1 + delta * Math.exp(-epsilon)) / (1 + Math.exp(-epsilon));

  // ---- the other way round ------------------------------------------------------------------------------------------

  /** The least noise multiplier of DP-SGD, but for a hair, with which a setting stays within epsilon; null where no
   *  noise does, as the query alone costs as much. What it costs is at most epsilon, and a few hundred-thousandths below. */
  function calibrated(setting, target, delta) {
    const cost = (noise) => epsilon({ ...setting, noise }, delta), aim = target * (1 - 1e-5);
    if (epsilon({ ...setting, steps: 0 }, delta) >= target) return null;
    if (cost(LEAST_NOISE) <= target) return LEAST_NOISE;
    // Little noise and enough, with what they cost: a power law through both says where to look next.
    let little = null, enough = null, noise = 1;
    for (let tries = 0; tries < 60; tries++) {
      const spent = cost(noise);
      if (spent <= target && (spent >= target - 3 * (target - aim) || noise >= MOST_NOISE)) return noise;
      if (spent > target) little = { noise, spent };
      else enough = { noise, spent };
      if (little === null) noise = Math.max(LEAST_NOISE, enough.noise / 4);
      else if (enough === null) noise = little.noise * 4;
      else {
        if (enough.noise / little.noise < 1 + 1e-9) break; // the cost jumps here
        const slope = Math.log(enough.noise / little.noise) / Math.log(little.spent / enough.spent);
        const share = (slope * Math.log(little.spent / aim)) / Math.log(enough.noise / little.noise);
        // By turns half-way, where that law holds for one end alone.
        noise = little.noise * (enough.noise / little.noise) ** (tries % 3 === 2 || !(share > 0 && share < 1) ? 0.5 : share);
      }
    }
    return enough?.noise ?? null;
  }

  return Object.freeze({
    LEAST_NOISE, MOST_NOISE, attack, attackBound, calibrated, composed, deltaAt, epsilon, epsilonAt, logRatio,
  });
})();
