"use strict";
// The (1,1)-norm of a small Hessian from Cauchy probes, drawn one by one; and the same many times.
// data: H, a list of rows; factors, by which the median of n = 3, 4, … numbers is too large.

(() => {
  const [MOST, TRIALS] = [30, 64];
  const NS = Play.times(MOST - 2, (i) => i + 3);
  const MATRICES = {
    "the Hessian": (H) => H,
    "diagonal, rows as heavy": (H) => H.map((a, i) => a.map((_, j) => (i === j ? Play.norm1(a) : 0))),
    "all entries equal": (H) => H.map((a) => a.map(() => Play.mean(H.map(Play.norm1)) / a.length)),
  };

  // Cauchy numbers are tangents of uniform angles. For each trial a list of probes.
  const once = Play.memory();
  const probes = (seed, d) => once([seed, d], () => {
    const draws = Play.draws(seed);
    const probe = () => Play.times(d, () => Math.tan(Math.PI * (draws.uniform() - 0.5)));
    return Play.times(TRIALS, () => Play.times(MOST, probe));
  });

  const put = (sorted, z) => {
    let i = sorted.length;
    for (; i > 0 && sorted[i - 1] > z; --i) sorted[i] = sorted[i - 1];
    sorted[i] = z;
  };
  // Rows' estimates, added up, with the standard error of the sum. Each row adds to
  // the effects how far a probe moved it.
  const total = (rows, n, estimate) => {
    const effects = new Float64Array(n);
    const value = Play.sum(rows.map((row, i) => estimate(row, i, effects)));
    return [value, Math.sqrt((Play.dot(effects, effects) * n) / (n - 1))];
  };
  // One trial: the sketches of its probes, and the estimates after 3, 4, … of them.
  const trial = (H, vs) => {
    const X = H.map((row) => Float64Array.from(vs, (v) => Math.abs(Play.dot(row, v))));
    const logs = X.map((row) => row.map(Math.log));
    const [sorted, sums] = [X.map(() => []), new Float64Array(X.length)];
    const found = { median: [], geometric: [] };
    for (let n = 1; n <= MOST; ++n) {
      X.forEach((row, i) => put(sorted[i], row[n - 1]));
      logs.forEach((row, i) => (sums[i] += row[n - 1]));
      if (n < 3) continue;
      found.median.push(total(X, n, (row, i, effects) => {
        const [low, high] = [sorted[i][(n - 1) >> 1], sorted[i][n >> 1]];
        const move = ((low + high) * Math.PI) / 4 / n;
        for (let k = 0; k < n; ++k) effects[k] += move * ((row[k] >= high) - (row[k] <= low));
        return (low + high) / 2;
      }));
      found.geometric.push(total(logs, n, (row, i, effects) => {
        const mean = sums[i] / n;
        const norm = Math.cos(Math.PI / 2 / n) ** n * Math.exp(mean);
        for (let k = 0; k < n; ++k) effects[k] += (norm / n) * (row[k] - mean);
        return norm;
      }));
    }
    return { ...found, sketches: vs.map((_, k) => Play.sum(X.map((row) => row[k]))) };
  };

  // For each n over the trials: mean over the truth, twice its error, and how many bars hold it.
  const summary = (trials, norm) => NS.map((_, at) => {
    const mean = Play.mean(trials.map((z) => z[at][0])) / norm;
    const square = Play.mean(trials.map((z) => (z[at][0] / norm - mean) ** 2));
    const held = trials.filter((z) => Math.abs(z[at][0] - norm) <= 1.96 * z[at][1]).length;
    return [mean, 2 * Math.sqrt(square / (TRIALS - 1)), held];
  });

  const DASHES = { median: "", corrected: "2 3", geometric: "8 3" };

  Play.define("cauchy", {
    title: "The (1,1)-norm from Cauchy probes",
    controls: [
      { id: "matrix", label: "matrix", options: Object.keys(MATRICES), value: "the Hessian" },
      { id: "again", label: "New probes", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    steps: () => MOST,
    panels: [
      { id: "one", title: "one trial", ylog: true, height: 0.75, xlabel: "probes n", ylabel: "norm",
        alt: "Sketches, one a probe; three estimates with bars." },
      { id: "all", title: `mean of ${TRIALS} trials`, x: [0, MOST + 3], y: [0.8, 1.6], height: 0.75,
        xlabel: "probes n", ylabel: "mean / truth", alt: "Mean estimates over the truth." },
    ],
    compute(v, { H, factors }) {
      const rows = MATRICES[v.matrix](H);
      const norm = Play.sum(rows.map(Play.norm1));
      const trials = probes(v.seed, H.length).map((vs) => trial(rows, vs));
      const divide = (list) => list.map(([z, e], i) => [z / factors[i], e / factors[i]]);
      const [one, all] = [trials[0], {}];
      for (const kind of ["median", "geometric"]) all[kind] = summary(trials.map((z) => z[kind]), norm);
      [one.corrected, all.corrected] = [divide(one.median), divide(all.median)];
      return { norm, factors, one, all };
    },
    say({ norm, factors, one, all }, { step: n }) {
      if (n < 3) return `${n} probes: at least 3 are needed, as the median's mean is infinite below.`;
      const i = n - 3;
      const word = (kind) => one[kind][i].map((z) => Play.format(z)).join(" ± ");
      const [a, b] = [all.median[i], all.geometric[i]];
      return `${n} probes, truth ${Play.format(norm)}: median ${word("median")}, corrected ` +
        `${word("corrected")}, geometric mean ${word("geometric")} (standard errors). In ${TRIALS} ` +
        `trials the median is ${Play.format(a[0])} of the truth on average (formula ` +
        `${Play.format(factors[i])}), the geometric mean ${Play.format(b[0])}; their bars, ± 1.96 ` +
        `standard errors, hold it in ${a[2]} and ${b[2]} trials.`;
    },
    draw(r, { step: n }, { one, all }) {
      one.range([0, MOST + 3], [r.norm / 6, r.norm * 6]);
      one.hline(r.norm, { label: "truth" });
      const dots = r.one.sketches.slice(0, n).map((z) => r.norm * Play.clamp(z / r.norm, 0.172, 5.8));
      one.dots(dots.map((_, k) => k + 1), dots, { alpha: 0.4, label: "one probe" });
      all.hline(1);
      all.vline(n);
      Object.entries(DASHES).forEach(([label, dash], which) => {
        const look = { colour: [0, 2, 1][which], dash };
        const ys = r.one[label].slice(0, Math.max(0, n - 2));
        one.line(NS.slice(0, ys.length), ys.map(([z]) => z), { ...look, label });
        for (const [z, e] of ys.slice(-1)) {
          const [x, low] = [n + 0.7 * (which + 1), Math.max(z - 1.96 * e, r.norm / 99)];
          one.line([x, x], [low, z + 1.96 * e], { ...look, dash: "", width: 3 });
          one.dots([x], [z], { ...look, radius: 4 });
        }
        const ends = [-1, 1].map((side) => r.all[label].map(([z, e]) => z + side * e));
        all.band(NS, ...ends, { ...look, alpha: 0.12 });
        all.line(NS, r.all[label].map(([z]) => z), { ...look, label });
      });
      all.line(NS, r.factors, { width: 1, label: "formula" });
    },
  });
})();
