"use strict";
// The sum against the average: a frequent and a rare coordinate, whose minimum jumps halfway, to
// where the loss is flatter.

(() => {
  const STEPS = 800;
  const HALF = STEPS / 2;
  const NOISE = 0.3;
  const NAMES = ["SGD", "AdaGrad", "RMSprop"];
  const RATES = [100, 10, 1].flatMap((z) => [1 / z, 2 / z, 5 / z]);
  const minimum = (t) => (t <= HALF ? 1 : -1); // of step t = 1, 2, …

  // Gradients r (x - minimum + noise), or none: coordinate 0 is the frequent one.
  const problem = (v) => {
    const [coin, ...streams] = [0, 1, 2].map((stream) => Play.draws(v.seed, stream));
    const noise = streams.map((draws) => Play.times(STEPS, draws.normal));
    const seen = Play.times(STEPS, coin.uniform).map((u, i) => i === 0 || u < v.p);
    const gradient = (x, t) => {
      const r = t <= HALF ? 1 : 1 / v.flatter;
      const slope = (z, j) => r * (z - minimum(t) + NOISE * noise[j][t - 1]);
      return x.map((z, j) => (j === 0 || seen[t - 1] ? slope(z, j) : 0));
    };
    return { gradient, seen };
  };
  const walker = (name, lr, v, gradient, x0) =>
    Play.walker(Play.rules[name], { x0, gradient, hyper: { lr, alpha: v.alpha } });

  // The step size with the least square distance of the frequent coordinate before the jump.
  const best = (name, v, gradient) => {
    const errors = RATES.map((lr) => {
      const walk = walker(name, lr, v, gradient, [0]);
      let sum = 0;
      while (walk.t < HALF) sum += (walk.step().x[0] - 1) ** 2;
      return sum < Infinity ? sum : Infinity;
    });
    return RATES[errors.indexOf(Math.min(...errors))];
  };

  // The way of a rule, and at each gradient its step for a gradient of one: η, or η / √v.
  const travel = (name, v, { gradient, seen }) => {
    const lr = best(name, v, gradient);
    const walk = walker(name, lr, v, gradient, [0, 0]);
    const [xs, at, sizes] = [[[0], [0]], [[], []], [[], []]];
    while (walk.t < STEPS) {
      const { x, s, t, h } = walk.step();
      for (const j of [0, 1]) {
        xs[j].push(x[j]);
        if (j && !seen[t - 1]) continue;
        at[j].push(t);
        sizes[j].push(s.v ? lr / (Math.sqrt(s.v[j]) + h.eps) : lr);
      }
    }
    const early = (j) => Play.median(sizes[j].filter((_, i) => at[j][i] <= HALF));
    const far = xs[1].slice(1).map((z, i) => Math.abs(z - minimum(i + 1)));
    const left = [far.slice(0, HALF), far.slice(HALF)].map(Play.mean);
    return { lr, xs, at, sizes, left, ratio: early(1) / early(0) };
  };

  Play.define("adaptive", {
    title: "The sum against the average, for a frequent and a rare coordinate",
    controls: [
      { id: "p", label: "rare frequency p", min: 0.01, max: 1, value: 0.05, log: true },
      { id: "flatter", label: "flatter by", min: 1, max: 100, value: 10, log: true },
      { id: "alpha", label: "RMSprop α", min: 0, max: 0.999, value: 0.99, toOne: true },
      { id: "again", label: "New draws", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    panels: [
      { id: "frequent", alt: "The frequent coordinate against the step.", title: "frequent",
        x: [0, STEPS], y: [-1.6, 1.6], xlabel: "step", ylabel: "x₁" },
      { id: "rare", alt: "The rare coordinate against the step.", title: "rare",
        x: [0, STEPS], y: [-1.6, 1.6], xlabel: "step", ylabel: "x₂" },
      { id: "size", alt: "Step sizes of both coordinates, for each rule.", wide: true,
        height: 0.38, ylog: true, xlabel: "step", ylabel: "η, or η / √v",
        title: "step for a gradient of one: rare (strong), frequent (pale)" },
    ],
    compute(v) {
      const given = problem(v);
      const runs = Object.fromEntries(NAMES.map((name) => [name, travel(name, v, given)]));
      return { runs, seen: given.seen.filter(Boolean).length };
    },
    say({ runs, seen }) {
      const f = (z) => Play.format(z, 2);
      const left = NAMES.map((name) => `${name} ${runs[name].left.map(f).join(" and ")}`);
      const ratios = NAMES.map((name) => f(runs[name].ratio));
      return `The rare coordinate had a gradient in ${seen} of ${STEPS} steps. Its mean distance ` +
        `from the minimum, before and after the jump: ${left.join("; ")}. Before the jump its ` +
        `steps were ${ratios[0]}, ${ratios[1]} and ${ratios[2]} times those of the frequent one.`;
    },
    draw({ runs }, v, panels) {
      const all = NAMES.flatMap((name) => runs[name].sizes.flat());
      panels.size.range([0, STEPS], [Math.min(...all) / 1.5, Math.max(...all) * 1.5]);
      ["frequent", "rare"].forEach((id, j) => {
        panels[id].line([0, HALF, HALF, STEPS], [1, 1, -1, -1], { dash: "4 3", label: "minimum" });
        for (const name of NAMES) {
          const { xs, at, sizes, lr } = runs[name];
          const o = { colour: name, width: 1.5, label: name };
          panels[id].line(xs[j].map((_, t) => t), xs[j], o);
          o.label += `, η = ${lr}`;
          panels.size.line(at[j], sizes[j], { ...o, alpha: j ? 1 : 0.45 });
          if (j && at[j].length < 120) panels.size.dots(at[j], sizes[j], { colour: name });
        }
      });
    },
  });
})();
