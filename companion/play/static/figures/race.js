"use strict";
// The race: rules from one start, on a landscape that the reader chooses.
// A landscape: f, its gradient, the plane that is shown, where f is 0, its minimum, and what comes
// along when it is chosen: a start, and a step size that suits SGD.

(() => {
  const ravine = (kappa) => ({
    f: ([a, b]) => (a * a + kappa * b * b) / 2,
    gradient: ([a, b]) => [a, kappa * b],
  });
  // The landscape f, turned by 45°.
  const turned = ({ f, gradient }) => {
    const r = Math.SQRT1_2;
    const turn = ([a, b]) => [r * (a + b), r * (b - a)];
    return {
      f: (x) => f(turn(x)),
      gradient: (x) => {
        const [a, b] = gradient(turn(x));
        return [r * (a - b), r * (a + b)];
      },
    };
  };
  const straight = { ...ravine(30), x: [-4, 4], y: [-2.4, 2.4], best: [[0, 0]], start: [-3, 1.5] };
  const around = [-4.5 * Math.SQRT1_2, -1.5 * Math.SQRT1_2]; // that start, turned with the ravine
  const LANDSCAPES = {
    "a ravine": straight,
    "a ravine turned by 45°": { ...straight, ...turned(straight), start: around },
    Rosenbrock: {
      f: ([a, b]) => (1 - a) ** 2 + 100 * (b - a * a) ** 2,
      gradient: ([a, b]) => [-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)],
      x: [-2, 2],
      y: [-0.8, 2.4],
      best: [[1, 1]],
      start: [-1.2, 1],
      slow: 0.001,
    },
    Beale: {
      f: ([a, b]) =>
        (1.5 - a + a * b) ** 2 + (2.25 - a + a * b * b) ** 2 + (2.625 - a + a * b ** 3) ** 2,
      gradient: ([a, b]) => {
        const [p, q, r] = [1.5 - a + a * b, 2.25 - a + a * b * b, 2.625 - a + a * b ** 3];
        return [
          2 * (p * (b - 1) + q * (b * b - 1) + r * (b ** 3 - 1)),
          2 * a * (p + 2 * q * b + 3 * r * b * b),
        ];
      },
      x: [-1, 4.5],
      y: [-1.5, 1.5],
      best: [[3, 0.5]],
      start: [1, 1.2],
    },
    "a saddle": {
      f: ([a, b]) => a * a - b * b + b ** 4 / 4 + 1,
      gradient: ([a, b]) => [2 * a, -2 * b + b ** 3],
      x: [-3, 3],
      y: [-2, 2],
      best: [[0, Math.SQRT2], [0, -Math.SQRT2]],
      start: [2.5, 0.01],
    },
  };
  const STEPS = 200;
  const SLOW = ["SGD", "Momentum"]; // they move by lr times the gradient, the others by about lr
  const RULES = [...SLOW, "AdaGrad", "RMSprop", "Adam", "AMSGrad", "ADOPT"];
  const SHOWN = ["SGD", "Momentum", "Adam", "ADOPT"];
  const own = () => Object.keys(globalThis.PlayRules || {}); // play.figure(…, rules=…)
  const lrOf = (name) => `step size of ${name}`;

  // A rule of the page's own has a step size of its own, and keeps the numbers that it came with.
  const hyper = (name, v) => {
    if (!RULES.includes(name)) return lrOf(name) in v ? { lr: v[lrOf(name)] } : {};
    const lr = SLOW.includes(name) ? v.slow : v.fast;
    return { lr, beta1: v.beta1, momentum: v.beta1, beta2: v.beta2, alpha: v.beta2 };
  };

  // Levels that fill the plane of a landscape, evenly apart in their logarithms.
  const levels = ({ f, x, y }) => {
    const at = (ends) => Play.linspace(...ends, 40);
    const seen = at(y).flatMap((b) => at(x).map((a) => f([a, b])));
    const [low, high] = [0.01, 0.99].map((q) => Math.log10(Play.quantile(seen, q)));
    return Play.logspace(low, high, 11);
  };

  Play.define("race", {
    title: "The race: optimizers on a landscape",
    get controls() {
      const slider = (name) => {
        const { lr } = Play.rules[name].hyper;
        const range = { min: lr / 100, max: lr * 100, value: lr, log: true };
        return lr ? [{ id: lrOf(name), label: lrOf(name), ...range }] : [];
      };
      const box = (name) => {
        const shown = !RULES.includes(name) || SHOWN.includes(name);
        return { id: name, label: name, group: "rules", value: shown };
      };
      const along = ({ start, slow = 0.01 }) => ({ start, slow, fast: 0.1 });
      return [
        { id: "landscape", label: "landscape", options: Object.keys(LANDSCAPES), value: "a ravine",
          also: (name) => along(LANDSCAPES[name]) },
        { id: "noise", label: "noise σ", min: 0, max: 10, step: 0.1, value: 0 },
        { id: "slow", label: "step size: SGD, Momentum", log: true,
          min: 1e-4, max: 0.1, value: 0.01 },
        { id: "fast", label: "step size: the others", log: true, min: 1e-3, max: 1, value: 0.1 },
        { id: "beta1", label: "β₁, momentum", min: 0, max: 0.99, step: 0.01, value: 0.9 },
        { id: "beta2", label: "β₂", min: 0, max: 0.999, step: 0.001, value: 0.99 },
        ...own().flatMap(slider),
        ...[...RULES, ...own()].map(box),
        { id: "again", label: "New noise",
          button: (v) => ({ seed: v.seed + 1, noise: v.noise || 2 }) },
      ];
    },
    values: { seed: 0 },
    points: [{ id: "start", panel: "plane", label: "start of the race", value: straight.start }],
    steps: () => STEPS,
    panels: [
      { id: "plane", alt: "The landscape from above, with a path for each rule.", equal: true,
        height: 0.75, xlabel: "x₁", ylabel: "x₂" },
      { id: "loss", alt: "Loss against steps, a curve for each rule.", x: [0, STEPS], ylog: true,
        height: 0.75, xlabel: "step", ylabel: "f(x)" },
    ],
    compute(v) {
      const land = LANDSCAPES[v.landscape];
      const draws = Play.draws(v.seed);
      const noise = Play.times(2 * STEPS, () => v.noise * draws.normal()); // the same for all rules
      const [ways, losses] = [{}, {}];
      for (const name of [...RULES, ...own()].filter((rule) => v[rule])) {
        ways[name] = Play.run(Play.rules[name], {
          x0: v.start,
          gradient: (x, t) => land.gradient(x).map((z, j) => z + noise[2 * t - 2 + j]),
          steps: STEPS,
          hyper: hyper(name, v),
        });
        losses[name] = ways[name].map(land.f);
      }
      return { ways, losses };
    },
    say({ losses }, v) {
      const word = (z) => (Number.isFinite(z) ? Play.format(z) : "∞");
      const said = Object.entries(losses).map(([name, z]) => `${name} ${word(z[v.step])}`);
      const [a, b] = v.start.map((z) => Play.format(z));
      return `From (${a}, ${b}), f(x) after ${v.step} steps: ` +
        `${said.join(", ") || "choose a rule"}.`;
    },
    draw({ ways, losses }, v, { plane, loss }) {
      const land = LANDSCAPES[v.landscape];
      plane.range(land.x, land.y);
      plane.contours((a, b) => land.f([a, b]), levels(land));
      for (const [a, b] of land.best) plane.text(a, b, "★", { anchor: "middle", dy: 5 });
      const all = Object.values(losses).flat().filter((z) => z > 0 && z < Infinity);
      const [low, high] = [Math.min(...all, 1) / 2, 2 * Math.max(...all, 2)];
      loss.range([0, STEPS], [Math.max(1e-8, low), Math.min(1e4, high)]);
      for (const [name, way] of Object.entries(ways)) {
        plane.way(way.slice(0, v.step + 1), { colour: name });
        const z = losses[name].slice(0, v.step + 1);
        const shown = z.map((y) => Math.max(y, 1e-9)); // a curve leaves the picture, no gap
        loss.line(shown.map((_, t) => t), shown, { colour: name, label: name });
      }
    },
  });
})();
