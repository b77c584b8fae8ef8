"use strict";
// Rényi divergences of one noisy histogram and DP-SGD together, and the epsilons that follow: what the papers account
// by, and the package beside its accountant of record. Settings are those of accounting.js, which is loaded before.

const renyi = (() => {
  const REACH = 9; // deviations of noise that are looked at, either way

  /** The orders that the package looks at. */
  const ORDERS = [
    ...Array.from({ length: 99 }, (_, i) => 1 + (i + 1) / 10),
    ...Array.from({ length: 52 }, (_, i) => 12 + i),
    ...Array.from({ length: 31 }, (_, i) => 64 * (i + 1)),
  ];
  const logFactorials = new Float64Array(ORDERS.at(-1) + 1);
  for (let i = 2; i < logFactorials.length; i++) logFactorials[i] = logFactorials[i - 1] + Math.log(i);

  /** The divergence of one step at an order (Mironov, Talwar and Zhang 2019): of an integer by the closed form of its
   *  Section 3.3, of others by quadrature. */
  function stepDivergences(noise, rate) {
    const fractions = ORDERS.filter((order) => order % 1);
    const byOrder = new Map(quadratures(noise, rate, fractions).map((value, i) => [fractions[i], value]));
    return ORDERS.map((order) => {
      if (rate === 1) return order / (2 * noise * noise);
      return (byOrder.has(order) ? byOrder.get(order) : closedForm(noise, rate, order)) / (order - 1);
    });
  }

  function closedForm(noise, rate, order) {
    const terms = new Float64Array(order + 1), rest = Math.log1p(-rate), drawn = Math.log(rate);
    for (let k = 0; k <= order; k++) {
      const ways = logFactorials[order] - logFactorials[k] - logFactorials[order - k];
      terms[k] = ways + (order - k) * rest + k * drawn + (k * k - k) / (2 * noise * noise);
    }
    const most = terms.reduce((a, b) => Math.max(a, b));
    return most + Math.log(terms.reduce((sum, term) => sum + Math.exp(term - most), 0));
  }

  /** log E[w(z)^order], z = N(0, noise²), for each order, by the trapezium rule. */
  function quadratures(noise, rate, orders) {
    const width = Math.min(noise / 6, (noise * noise) / 2), low = -REACH * noise;
    const n = Math.ceil((orders.at(-1) + REACH * noise - low) / width);
    const ratios = new Float64Array(n), densities = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const x = low + i * width;
      ratios[i] = accounting.logRatio(rate, (2 * x - 1) / (2 * noise * noise));
      densities[i] = Math.log(width / (noise * Math.sqrt(2 * Math.PI))) - (x * x) / (2 * noise * noise);
    }
    return orders.map((order) => {
      let most = -Infinity, sum = 0;
      for (let i = 0; i < n; i++) most = Math.max(most, densities[i] + order * ratios[i]);
      for (let i = 0; i < n; i++) sum += Math.exp(densities[i] + order * ratios[i] - most);
      return most + Math.log(sum);
    });
  }

  /** Epsilon by Rényi divergences, {modern, classic}: by the conversion of Balle et al. (2020), Theorem 21, and by that
   *  of Mironov (2017), Proposition 3, which the papers print. */
  function epsilons(setting, delta) {
    const one = setting.steps > 0 ? stepDivergences(setting.noise, setting.rate) : ORDERS.map(() => 0);
    const query = setting.queryNoise === null ? 0 : 1 / (2 * setting.queryNoise ** 2);
    let modern = Infinity, classic = Infinity;
    ORDERS.forEach((order, i) => {
      const divergence = setting.steps * one[i] + order * query;
      classic = Math.min(classic, divergence - Math.log(delta) / (order - 1));
      const less = (Math.log(delta) + Math.log(order)) / (order - 1) - Math.log1p(-1 / order);
      modern = Math.min(modern, divergence - less);
    });
    const asks = setting.steps > 0 || setting.queryNoise !== null;
    return asks ? { modern: Math.max(0, modern), classic } : { modern: 0, classic: 0 };
  }

  return Object.freeze({ epsilons });
})();
