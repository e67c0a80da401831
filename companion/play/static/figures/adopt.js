"use strict";
// ADOPT's two changes to Adam, apart and together, on the toy of its paper: f(x) = x on [-1, 1]
// with the gradients k² (one time in k) and -k.

(() => {
  const FOUR = {
    Adam: { rule: "Adam", look: { colour: "Adam" } },
    "decorrelated only": { rule: "Decorrelated", look: { colour: 2, dash: "8 3 2 3" } },
    "reordered only": { rule: "Reordered", look: { colour: 6, dash: "2 3" } },
    ADOPT: { rule: "ADOPT, no clip", look: { colour: "ADOPT" } },
  };
  const NAMES = Object.keys(FOUR);
  const [STEPS, RUNS, EVERY] = [2000, 16, 20];
  const GAPS = [1, 0.7, 0.4, 0.15, 0.05, 0.02, 0.005, 0.001]; // 1 - β₂

  // The iterates of a rule, for all runs at once.
  const race = (name, rows, v, gap, every) => Play.run(Play.rules[FOUR[name].rule], {
    x0: new Float64Array(RUNS),
    gradient: (_, t) => rows[t - 1],
    steps: STEPS,
    every,
    project: [-1, 1],
    hyper: { lr: (t) => v.lr / Math.sqrt(1 + t / 100), beta1: v.beta1, beta2: 1 - gap },
  });

  // Where the median run ends, for each rule and β₂; another β₂ of the reader's needs no new map.
  const once = Play.memory();
  const ends = (rows, v) => once([v.k, v.beta1, v.lr, v.seed], () => {
    const at = (name) => GAPS.map((gap) => Play.median(race(name, rows, v, gap, STEPS)[1]));
    return Object.fromEntries(NAMES.map((name) => [name, at(name)]));
  });

  Play.define("adopt", {
    title: "Adam, ADOPT and the two rules between, on ADOPT's toy",
    controls: [
      { id: "k", label: "k: the rare gradient is k²", min: 2, max: 50, step: 1, value: 10 },
      { id: "gap", label: "1 − β₂", min: 0.001, max: 1, value: 0.5, log: true },
      { id: "beta1", label: "β₁", min: 0, max: 0.99, step: 0.01, value: 0.9 },
      { id: "lr", label: "first step size α", min: 0.001, max: 0.1, value: 0.01, log: true },
      { id: "again", label: "New draws", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    panels: [
      { id: "path", alt: "x against steps: the median run of each of four rules, with quartiles.",
        title: "x on its way; the best is −1", x: [0, 1.04 * STEPS], y: [-1.1, 1.1], height: 0.75,
        xlabel: "step", ylabel: "x" },
      { id: "ends", alt: "The last x against 1 − β₂, a curve for each of four rules.", height: 0.75,
        title: "where x ends, for each β₂", x: [1.15, 0.00085], y: [-1.1, 1.1], xlog: true,
        xticks: [1, 0.1, 0.01, 0.001], xlabel: "1 − β₂ (press to choose)", ylabel: "last x" },
    ],
    press: { ends: (x) => ({ gap: Number(Play.clamp(x, 0.001, 1).toPrecision(3)) }) },
    compute(v) {
      const rows = Play.adoptToy(v.seed, v.k, STEPS, RUNS);
      const paths = {};
      for (const name of NAMES) {
        const way = race(name, rows, v, v.gap, EVERY);
        paths[name] = [0.25, 0.5, 0.75].map((q) => way.map((x) => Play.quantile(x, q)));
      }
      const found = ends(rows, v);
      const count = (name) => found[name].filter((x) => x < 0).length;
      return {
        paths, ends: found, gaps: GAPS,
        last: NAMES.map((name) => paths[name][1][STEPS / EVERY]),
        right: NAMES.map(count), // for how many β₂ the rule goes down
      };
    },
    say({ last, right }, v) {
      const list = (values) => NAMES.map((name, i) => `${name} ${values[i]}`).join(", ");
      return `k = ${v.k}, β₂ = ${Play.format(1 - v.gap, 4)}. x after ${STEPS} steps from 0 (median ` +
        `of ${RUNS} runs, the best x is −1): ${list(last.map((x) => Play.format(x)))}. Of the map's ` +
        `${GAPS.length} β₂, x ends below its start for: ${list(right)}.`;
    },
    draw({ paths, ends: found }, v, { path, ends: right }) {
      path.hline(0);
      right.hline(0);
      right.vline(v.gap);
      const at = Play.times(STEPS / EVERY + 1, (i) => i * EVERY);
      NAMES.forEach((name, i) => {
        const { look } = FOUR[name];
        const [low, middle, high] = paths[name];
        path.band(at, low, high, { ...look, alpha: 0.12 });
        path.line(at, middle, { ...look, label: name });
        right.line(GAPS, found[name], { ...look, label: name });
        right.dots(GAPS, found[name], { ...look });
        right.dots([v.gap], [middle[STEPS / EVERY]], { ...look, radius: 5 });
      });
    },
  });
})();
