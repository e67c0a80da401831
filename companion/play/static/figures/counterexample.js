"use strict";
// One period of Adam on gradients that come in a cycle, and three rules on the interval [-1, 1].

(() => {
  const THREE = "C, −1, −1";
  const HUNDRED = "1010 once, −10 a hundred times";
  const RULES = { Adam: "Adam", AMSGrad: "AMSGrad, paper", ADOPT: "ADOPT, no clip" };
  const SIZE = 0.5; // the step size is SIZE / √t

  const cycleOf = (v) =>
    v.problem === THREE
      ? { n: 3, rare: v.C, common: -1, periods: 500 }
      : { n: 101, rare: 1010, common: -10, periods: 100 };

  // x after each period; the first is the start.
  const runOn = ({ n, rare, common, periods }, rule, v) =>
    Play.run(rule, {
      x0: [0],
      steps: n * periods,
      every: n,
      project: [-1, 1],
      hyper: { lr: (t) => SIZE / Math.sqrt(t), beta1: v.beta1, beta2: v.beta2 },
      gradient: (_, t, g) => void (g[0] = t % n === 1 ? rare : common),
    }).map((x) => x[0]);

  const around = (values) => {
    const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
    const room = 0.08 * (high - low) || 1;
    return [low - (low && room), high + (high && room)];
  };

  Play.define("counterexample", {
    title: "Adam on gradients that come in a cycle",
    controls: [
      { id: "problem", label: "gradients", options: [THREE, HUNDRED], value: THREE },
      { id: "C", label: "C, of the three", min: 2.05, max: 12, step: 0.05, value: 3 },
      { id: "beta1", label: "β₁", min: 0, max: 0.99, step: 0.01, value: 0 },
      { id: "beta2", label: "β₂", min: 0, max: 0.9999, value: 0.1, toOne: true },
    ],
    panels: [
      { id: "moments", alt: "Bars of the gradients of one period, with √v above them.",
        height: 0.55, xlabel: "step of the period", ylabel: "g, m and √v" },
      { id: "quotient", alt: "Bars of m divided by √v over one period, and their running sum.",
        height: 0.55, xlabel: "step of the period", ylabel: "m / √v" },
      { id: "run", alt: "x after each period for three rules, between the walls −1 and 1.",
        wide: true, height: 0.36, xlog: true, y: [-1.15, 1.15], xlabel: "periods",
        ylabel: "x (best: −1)" },
    ],
    compute(v) {
      const cycle = cycleOf(v);
      const { m, v: second } = Play.cycle(v.beta1, v.beta2, cycle);
      const root = Array.from(second, Math.sqrt);
      const quotient = root.map((z, p) => m[p] / z);
      let sum = 0;
      return {
        cycle,
        g: root.map((_, p) => (p ? cycle.common : cycle.rare)),
        m: Array.from(m),
        root,
        quotient,
        sums: quotient.map((z) => (sum += z)),
        drift: Play.cyclicDrift(v.beta1, v.beta2, cycle),
        threshold: Play.cyclicThreshold(v.beta1, cycle),
        runs: Object.fromEntries(
          Object.entries(RULES).map(([name, key]) => [name, runOn(cycle, Play.rules[key], v)])),
      };
    },
    say({ cycle, drift, threshold, runs }, v) {
      const total = cycle.rare + (cycle.n - 1) * cycle.common;
      const from = Play.format(threshold, Play.digitsToOne(threshold));
      const edge = Number.isNaN(threshold) ? "for every β₂" : `from β₂ = ${from} on`;
      const ends = Object.entries(runs).map(([name, x]) => `${name} ${Play.format(x.at(-1))}`);
      return `The gradients of a period add up to ${Play.format(total)}, Adam's m / √v to ` +
        `${Play.format(drift)}: the ${drift > 0 ? "right" : "wrong"} way. ` +
        `At this β₁ it is right ${edge}. ` +
        `x after ${cycle.periods} periods (best: −1): ${ends.join(", ")}.`;
    },
    draw({ cycle, g, m, root, quotient, sums, runs }, v, { moments, quotient: steps, run }) {
      const at = g.map((_, p) => p + 1);
      const ends = [0, cycle.n + 1];
      moments.range(ends, around([...g, ...root]));
      moments.bars(at, g, 0.7, { colour: 0, alpha: 0.45, label: "g" });
      if (v.beta1 > 0) moments.bars(at, m, cycle.n < 10 ? 0.25 : 0.7, { colour: 4, label: "m" });
      moments.line(at, root, { colour: 3, label: "√v" });
      if (cycle.n < 10) moments.dots(at, root, { colour: 3, radius: 4 });
      moments.hline(0, { dash: "" });
      steps.range(ends, around([...quotient, ...sums]));
      steps.bars(at, quotient, 0.7, { colour: "Adam", label: "m / √v" });
      steps.line(at, sums, { dash: "4 3", label: "sum so far" });
      steps.dots(at.slice(-1), sums.slice(-1), { radius: 4 });
      steps.hline(0, { dash: "" });
      run.range([1, cycle.periods], [-1.15, 1.15]);
      const periods = Play.times(cycle.periods, (k) => k + 1);
      for (const [name, x] of Object.entries(runs)) {
        run.line(periods, x.slice(1), { colour: name, label: name });
      }
      run.hline(0, { alpha: 0.4 });
    },
  });
})();
