"use strict";
// Adam's steps for a gradient that wakes up: silence, then a burst that the reader shapes.

(() => {
  const STEPS = 1000; // shown after the silence
  const MOST = 100; // the last gradient of a burst over its first, at most

  // Gradients after the silence: the first is 1, the others grow or fall by one factor.
  const burst = ([length, last]) => {
    const count = Math.round(length);
    const growth = count > 1 ? last ** (1 / (count - 1)) : 1;
    return { growth, g: Play.times(count, (k) => growth ** k) };
  };
  // The burst that the proposition calls the worst, as far as the panel holds it.
  const worst = (v) => {
    const ratio = v.beta1 ? v.beta2 / v.beta1 : Infinity;
    const fits = Math.floor(Math.log(MOST) / Math.abs(Math.log(ratio)));
    const count = 1 + Math.min(STEPS - 1, fits);
    return [count, count > 1 ? ratio ** (count - 1) : 1];
  };

  // Steps in units of η, and both averages as the rule divides them, after the silence.
  const watch = (name, v, g) => {
    const corrected = name === "Adam";
    const walker = Play.walker(Play.rules[name], {
      x0: [0],
      gradient: (x, t) => [g[t - 1 - v.silence] || 0],
      hyper: { lr: 1, beta1: v.beta1, beta2: v.beta2, eps: 1e-100 }, // eps: no 0 / 0 in the silence
    });
    const found = { steps: [], m: [], root: [] };
    while (walker.t < v.silence + STEPS) {
      walker.x[0] = 0; // so that a step is read off without rounding
      walker.step();
      if (walker.t <= v.silence) continue;
      const [p, q] = corrected ? [1 - v.beta1 ** walker.t, 1 - v.beta2 ** walker.t] : [1, 1];
      found.steps.push(-walker.x[0]);
      found.m.push(walker.s.m[0] / p);
      found.root.push(Math.sqrt(walker.s.v[0] / q));
    }
    return found;
  };

  // The longest step number t that any gradients can cause: the proposition, for finite t.
  const bound = (t, v) => {
    const q = v.beta1 && v.beta1 ** 2 / v.beta2;
    const last = q ** t;
    const sum = t === 1 ? 1 : last < Infinity && q !== 1 ? (1 - last) / (1 - q) : last * t;
    const start = v.corrected ? Math.sqrt(1 - v.beta2 ** t) / (1 - v.beta1 ** t) : 1;
    return start * (1 - v.beta1) * Math.sqrt(sum / (1 - v.beta2));
  };

  Play.define("adam", {
    title: "Adam when the gradient wakes up",
    controls: [
      { id: "silence", label: "silence, steps", min: 0, max: 10000, step: 100, value: 10000,
        digits: 5 },
      { id: "beta1", label: "β₁", min: 0, max: 0.99, step: 0.01, value: 0.9 },
      { id: "beta2", label: "β₂", min: 0, max: 0.9999, value: 0.999, toOne: true },
      { id: "corrected", label: "bias correction", value: true },
      { id: "spike", label: "Lone spike", button: () => ({ end: [1, 1] }) },
      { id: "burst", label: "Burst", button: () => ({ end: [100, 1] }) },
      { id: "worst", label: "Worst burst", button: (v) => ({ end: worst(v) }) },
    ],
    points: [{ id: "end", panel: "stream", label: "last gradient of the burst: step, size",
      value: [100, 1], x: [1, STEPS], y: [1 / MOST, MOST] }],
    panels: [
      { id: "stream", title: "The gradient and its averages", x: [1, STEPS], y: [1e-3, 2 * MOST],
        alt: "The gradients of the burst, their average and the root of the average square.",
        xlog: true, ylog: true, height: 0.75, xlabel: "steps since the silence" },
      { id: "step", title: "The step they make", x: [1, STEPS],
        alt: "Length of Adam's step with and without correction, and two bounds.",
        xlog: true, height: 0.75, xlabel: "steps since the silence", ylabel: "length of the step / η" },
    ],
    compute(v) {
      const { g, growth } = burst(v.end);
      const names = ["Adam", "Adam, uncorrected"];
      const [own, other] = (v.corrected ? names : names.reverse()).map((name) => watch(name, v, g));
      const longest = Math.max(...own.steps);
      return {
        g, growth, own, other, longest,
        at: 1 + own.steps.findIndex((z) => z >= longest * (1 - 1e-9)), // the first of equals
        bounds: Play.times(STEPS, (k) => bound(v.silence + k + 1, v)),
        paper: Math.max(1, (1 - v.beta1) / Math.sqrt(1 - v.beta2)),
        limit: bound(Infinity, { ...v, corrected: false }),
      };
    },
    say(r, v) {
      const word = Play.format;
      const equal = r.growth === 1 ? "equal" : `each ${word(r.growth, 4)} times the one before`;
      const many = r.g.length > 1 ? `${r.g.length} gradients, ${equal}` : "1 gradient";
      return `After a silence of ${v.silence} steps: ${many}. The longest step is ` +
        `${word(r.longest < 1e9 ? r.longest : Infinity)} η, at step ${r.at}. The paper's bound is ${word(r.paper)} η, ` +
        `that for all sequences ${word(r.limit)} η.`;
    },
    draw(r, v, { stream, step }) {
      const t = Play.times(STEPS, (k) => k + 1);
      const [m, root] = v.corrected ? ["m̂", "√v̂"] : ["m", "√v"];
      stream.line(t.slice(0, r.g.length), r.g, { colour: 2, label: "gradient", width: 3 });
      stream.dots(t.slice(0, Math.min(30, r.g.length)), r.g, { colour: 2, radius: 3 });
      stream.line(t, r.own.m, { colour: 0, label: m });
      stream.line(t, r.own.root, { colour: 3, label: root, dash: "7 3" });
      const high = [r.paper, r.longest, r.limit].filter(Number.isFinite);
      step.range([1, STEPS], [0, Math.min(120, 1.15 * Math.max(...high))]);
      const [own, other] = [["with correction", "Adam"], ["without", 4]];
      const [[label, colour], [thin, faint]] = v.corrected ? [own, other] : [other, own];
      step.line(t, r.other.steps, { colour: faint, label: thin, width: 1.5, dash: "3 3" });
      step.line(t, r.own.steps, { colour, label, width: 3, dash: "" });
      step.line(t, r.bounds, { label: "bound for all sequences", width: 1.2, dash: "9 3" });
      step.hline(r.paper, { label: "bound of the paper", dash: "2 3" });
    },
  });
})();
