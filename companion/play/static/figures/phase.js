"use strict";
// The phase transition of Adam on function (2): the exact map, and the run of the cell pointed at.

(() => {
  const STEPS = 3000, EVERY = 10, RUNS = 8, CELLS = 60;
  const ORDERS = { cyclic: 2, reshuffled: 6, independent: 4 }; // and their colours
  const BETA1 = 0.99; // the largest of the map
  const ROWS = Play.linspace(0, BETA1, 50);
  const cycleOf = (n) => ({ n, rare: n, common: -1 });

  // κ: how much of Adam's bias an order and a momentum leave, as companion.theory.kappa.
  const kappa = (beta1, n, order) => {
    if (order === "independent") return 1;
    const left = Play.linspace(1, 0, n), power = left.map((_, p) => beta1 ** p);
    if (order === "reshuffled") return Play.mean(left.map((z, p) => z * (1 - beta1 * power[p])));
    return Play.sum(power.map((z, p) => z * (left[p] - 0.5))) / Play.sum(power);
  };
  // To first order in 1 - β2 Adam goes the right way above this β2; skewness_threshold.
  const firstOrder = (beta1, n, order) => {
    const [mean, second] = [1 / n, n + 1 - 1 / n], third = (n ** 3 - n + 1) / n;
    return 1 - (2 * mean * second) / (kappa(beta1, n, order) * (third - mean * second));
  };

  // What depends on n alone: the sign of the drift in the middle of each cell.
  const once = Play.memory();
  const mapOf = (n) => once(n, () => {
    const middles = Play.times(CELLS, (i) => (i + 0.5) / CELLS), cycle = cycleOf(n);
    return middles.map((b) =>
      middles.map((s) => +(Play.cyclicDrift(b * BETA1, 1 - 10 ** (-4 * s), cycle) < 0)));
  });

  // Whether the steep sample comes, for each run at steps 1, 2, ... in turn.
  const steep = (v) => {
    const draws = Play.times(RUNS, (j) => Play.draws(v.seed, j));
    const place = draws.map(() => 0);
    if (v.order === "independent") return (j) => draws[j].integer(v.n) === 0;
    return (j, t) => {
      const phase = (t - 1) % v.n;
      if (phase === 0 && v.order === "reshuffled") place[j] = draws[j].integer(v.n);
      return phase === place[j];
    };
  };
  // Paths of x, a list of the runs at every tenth step.
  const runsOf = (v) => {
    const now = steep(v);
    return Play.run(Play.rules.Adam, {
      x0: Array(v.order === "cyclic" ? 1 : RUNS).fill(1),
      steps: STEPS,
      every: EVERY,
      hyper: { lr: (t) => 2 / Math.sqrt(t + 100), beta1: v.betas[1], beta2: 1 - v.betas[0] },
      gradient: (x, t, g) => {
        for (let j = 0; j < x.length; ++j) {
          g[j] = (now(j, t) ? v.n : -1) * Math.min(x[j] + 2, 1);
        }
      },
    }).map((x) => Array.from(x));
  };

  const beta2 = (z) => `β₂ = ${Play.format(z, Play.digitsToOne(z))}`;
  const zero = (z) => (z > 0 ? `zero at ${beta2(z)}` : "right at every β₂");

  Play.define("phase", {
    title: "Adam's phase transition on function (2)",
    controls: [
      { id: "n", label: "samples n", min: 3, max: 50, step: 1, value: 10 },
      { id: "order", label: "order", options: Object.keys(ORDERS), value: "reshuffled" },
      { id: "again", label: "New draws", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    points: [{ id: "betas", panel: "map", label: "1 − β₂ and β₁ of the run", value: [0.1, 0.5],
      x: [1e-4, 1], y: [0, BETA1] }],
    panels: [
      { id: "map", alt: "Where Adam diverges in cyclic order, over 1 − β₂ and β₁.", height: 0.8,
        x: [1, 1e-4], y: [0, BETA1], xlog: true, xticks: [1, 0.1, 0.01, 0.001, 1e-4],
        xlabel: "1 − β₂", ylabel: "β₁" },
      { id: "run", alt: "x against the step for the runs of the chosen cell.", height: 0.8,
        xlabel: "step", ylabel: "x" },
      { id: "kappa", alt: "κ against β₁ for the three orders.", wide: true, height: 0.3,
        x: [0, 1], y: [0, 1.1], xlabel: "β₁", ylabel: "κ" },
    ],
    compute(v) {
      const [off, beta1] = v.betas, paths = runsOf(v);
      const middle = paths.map((xs) => Play.median(xs));
      const away = paths.map((xs) => Play.median(xs.map((x) => Math.abs(x + 2))));
      const [quarter, end] = [away[(STEPS / EVERY) / 4], away[STEPS / EVERY]];
      return {
        wrong: mapOf(v.n),
        paths,
        middle,
        fate: end < 0.1 ? "it has arrived" : end > quarter ? "it moves away" : "it is on its way",
        drift: Play.cyclicDrift(beta1, 1 - off, cycleOf(v.n)),
        threshold: Play.cyclicThreshold(beta1, cycleOf(v.n)),
        kappa: kappa(beta1, v.n, v.order),
        kappas: Object.keys(ORDERS).map((order) => ROWS.map((b) => kappa(b, v.n, order))),
        first: firstOrder(beta1, v.n, v.order),
        line: ROWS.map((b) => firstOrder(b, v.n, v.order)),
      };
    },
    say(r, v) {
      const [off, beta1] = v.betas;
      const runs = v.order === "cyclic" ? "The run" : `The median of ${RUNS} runs`;
      return `n = ${v.n}, β₁ = ${Play.format(beta1)}, ${beta2(1 - off)}. Cyclic: the drift is ` +
        `${Play.format(r.drift)}, ${zero(r.threshold)}. To first order, ${v.order}: ` +
        `κ = ${Play.format(r.kappa)}, ${zero(r.first)}. ${runs} (${v.order}) is at x = ` +
        `${Play.format(r.middle.at(-1))} after ${STEPS} steps (start 1, best −2): ${r.fate}.`;
    },
    draw(r, v, { map, run, kappa: ks }) {
      map.range([1, 1e-4], [0, BETA1]);
      map.heat(r.wrong, { range: [0, 1] });
      map.bars([], [], 1, { colour: "#fde725", label: "cyclic: diverges" });
      const drift = (off, b) => Play.cyclicDrift(b, 1 - off, cycleOf(v.n));
      map.contours(drift, [0], { colour: "white", width: 3, alpha: 1, grid: 40 });
      const colour = ORDERS[v.order];
      map.line(r.line.map((z) => 1 - z), ROWS, { colour, label: `first order, ${v.order}` });
      const root = Play.linspace(0, BETA1, 60);
      map.line(root.map((b) => 1 - b * b), root, { colour: 3, dash: "5 4", label: "β₁ = √β₂" });
      const all = r.paths.flat();
      run.range([0, STEPS + 100], [Math.min(-3, ...all) - 0.2, Math.max(1, ...all) + 0.2]);
      const t = r.paths.map((_, k) => k * EVERY);
      r.paths[0].forEach((_, j) => {
        run.line(t, r.paths.map((x) => x[j]), { colour: "Adam", width: 1, alpha: 0.5 });
      });
      run.line(t, r.middle, { colour: "Adam", width: 3, label: "Adam, median" });
      run.hline(-2, { label: "minimiser" });
      Object.entries(ORDERS).forEach(([label, colour], i) => {
        ks.line(ROWS, r.kappas[i], { colour, label, width: label === v.order ? 3 : 1.5 });
      });
      ks.dots([v.betas[1]], [r.kappa], { colour, radius: 6 });
    },
  });
})();
