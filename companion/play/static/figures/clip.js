"use strict";
// What ADOPT's clip costs and what it prevents, on the toy of its paper: f(x) = x on [-1, 1] with
// the gradients k² (one time in k) and -k.

(() => {
  const RULES = { "with the clip": "ADOPT", "without": "ADOPT, no clip" };
  const LOOKS = { "with the clip": { colour: 0 }, "without": { colour: "ADOPT" } };
  const [CALLS, RUNS, EVERY] = [3000, 16, 10];

  Play.define("clip", {
    title: "ADOPT with its clip and without",
    controls: [
      { id: "k", label: "k: the rare gradient is k²", min: 2, max: 10, step: 1, value: 6 },
      { id: "gap", label: "1 − β₂", min: 0.001, max: 1, value: 1, log: true },
      { id: "zero", label: "the first gradient is zero", value: false },
      { id: "again", label: "New draws", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    panels: [
      { id: "cut", title: "rare gradients of one run / √v", x: [1.8, 1.1 * CALLS], xlog: true,
        ylog: true, height: 0.75, xlabel: "call t", ylabel: "normalised",
        alt: "Normalised rare gradients against calls, and the clip, which cuts those above it." },
      { id: "path", title: "x on its way; the best is −1", x: [1.8, 1.1 * CALLS], xlog: true,
        y: [-1.1, 1.1], height: 0.75, xlabel: "call t", ylabel: "x",
        alt: "x against calls with the clip and without, median and quartiles." },
    ],
    compute(v) {
      const rows = Play.adoptToy(v.seed, v.k, CALLS, RUNS);
      if (v.zero) rows[0].fill(0);
      const [paths, rare] = [{}, []];
      let first = 0; // the second gradient over √v, where the first one was zero
      for (const [name, rule] of Object.entries(RULES)) {
        const walker = Play.walker(Play.rules[rule], {
          x0: new Float64Array(RUNS),
          gradient: (_, t) => rows[t - 1],
          project: [-1, 1],
          hyper: { lr: (t) => 0.01 / Math.sqrt(1 + t / 100), beta1: 0.9, beta2: 1 - v.gap },
        });
        const way = [];
        while (walker.t < CALLS) {
          const [g, past] = [rows[walker.t][0], walker.s.v[0]]; // the first run's
          walker.step();
          const u = g / Math.max(Math.sqrt(past), walker.h.eps);
          if (rule === "ADOPT" && walker.t > 1 && g > 0) rare.push([walker.t, u]);
          if (walker.t === 2 && v.zero) first = Math.abs(u);
          if (walker.t % EVERY === 0 || walker.t < 100) way.push([walker.t, walker.x.slice()]);
        }
        const ends = [0.25, 0.5, 0.75].map((q) => way.map((z) => Play.quantile(z[1], q)));
        paths[name] = { at: way.map((z) => z[0]), ends };
      }
      const middles = Object.values(paths).map(({ ends }) => ends[1]);
      return {
        paths, rare, first, passes: (v.k - 1) ** 4 + 1,
        cut: rare.filter(([t, u]) => u > (t - 1) ** 0.25).length,
        highest: middles.map((z) => Math.max(...z)),
        last: middles.map((z) => z[z.length - 1]),
      };
    },
    say(r, v) {
      const [a, b] = [0, 1].map((i) =>
        `${Play.format(r.highest[i])} and ends at ${Play.format(r.last[i])}`);
      return `k = ${v.k}, β₂ = ${Play.format(1 - v.gap, 4)}: the clip passes k − 1 = ${v.k - 1} at ` +
        `call ${r.passes} and cuts ${r.cut} of ${r.rare.length} rare gradients of the run on show. ` +
        `In ${CALLS} calls the median x of ${RUNS} runs climbs with the clip to ${a}, without it to ${b}.`;
    },
    draw(r, v, { cut, path }) {
      const sizes = [...r.rare.map((z) => z[1]), r.first || 1];
      cut.range(cut.x, [0.5 * Math.min(1, ...sizes), 2 * Math.max(10, ...sizes)]);
      const at = Play.logspace(Math.log10(2), Math.log10(CALLS), 40);
      cut.line(at, at.map((t) => (t - 1) ** 0.25), { colour: 0, label: "the clip" });
      const bin = ([t]) => Math.floor(99 * Math.log(t)); // no more dots than can be told apart
      const groups = [[true, 1, "cut"], [false, "currentColor", "let through"]];
      for (const [above, colour, label] of groups) {
        const dots = r.rare.filter(([t, u]) => u > (t - 1) ** 0.25 === above)
          .filter((z, i, all) => !i || bin(z) > bin(all[i - 1]));
        cut.dots(dots.map((z) => z[0]), dots.map((z) => z[1]), { colour, label, alpha: 0.6 });
      }
      if (v.zero) cut.dots([2], [r.first], { colour: 1, radius: 4 });
      for (const panel of [cut, path]) panel.vline(r.passes);
      path.hline(0);
      for (const [name, { at, ends: [low, middle, high] }] of Object.entries(r.paths)) {
        path.band(at, low, high, { ...LOOKS[name], alpha: 0.12 });
        path.line(at, middle, { ...LOOKS[name], label: name });
      }
    },
  });
})();
