"use strict";
// The race: rules from one start, on a landscape that the reader chooses.

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
  const straight = { ...ravine(30), x: [-4, 4], y: [-2.4, 2.4], best: [[0, 0]] };
  const LANDSCAPES = {
    "a ravine": straight,
    "a ravine turned by 45°": { ...straight, ...turned(straight) },
    Rosenbrock: {
      f: ([a, b]) => (1 - a) ** 2 + 100 * (b - a * a) ** 2,
      gradient: ([a, b]) => [-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)],
      x: [-2, 2],
      y: [-0.8, 2.4],
      best: [[1, 1]],
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
    },
    "a saddle": {
      f: ([a, b]) => a * a - b * b + b ** 4 / 4 + 1,
      gradient: ([a, b]) => [2 * a, -2 * b + b ** 3],
      x: [-3, 3],
      y: [-2, 2],
      best: [[0, Math.SQRT2], [0, -Math.SQRT2]],
    },
  };
  const SLOW = ["SGD", "Momentum"]; // they move by lr times the gradient, the others by about lr
  const FAST = ["AdaGrad", "RMSprop", "Adam", "AMSGrad", "ADOPT"];
  const RULES = [...SLOW, ...FAST];
  const chosen = (v) => [...RULES, ...Object.keys(globalThis.PlayRules || {})].filter((name) => v[name] !== false);
  const SHOWN = ["SGD", "Momentum", "Adam", "ADOPT"];

  const levels = (land) => {
    const found = [];
    for (let k = -3; k <= 10; ++k) found.push(4 ** k);
    return found;
  };

  Play.define("race", {
    title: "The race: optimizers on a landscape",
    controls: [
      { id: "landscape", label: "landscape", options: Object.keys(LANDSCAPES), value: "a ravine" },
      { id: "slow", label: "step size of SGD, Momentum", min: 1e-4, max: 0.1, value: 0.01, log: true },
      { id: "fast", label: "step size of the others", min: 1e-3, max: 1, value: 0.1, log: true },
      { id: "beta1", label: "β₁, momentum", min: 0, max: 0.99, step: 0.01, value: 0.9 },
      { id: "beta2", label: "β₂", min: 0, max: 0.999, step: 0.001, value: 0.99 },
      { id: "noise", label: "noise σ of a gradient", min: 0, max: 10, step: 0.1, value: 0 },
      ...RULES.map((name) => ({ id: name, label: name, value: SHOWN.includes(name) })),
      { id: "again", label: "New noise", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    points: [{ id: "start", panel: "plane", label: "start of the race", value: [-3, 1.5] }],
    steps: () => 200,
    panels: [
      { id: "plane", alt: "The landscape from above, with a path for each rule.", equal: true,
        height: 0.75, xlabel: "x₁", ylabel: "x₂" },
      { id: "loss", alt: "Loss against steps, a curve for each rule.", x: [0, 200], ylog: true,
        height: 0.75, xlabel: "step", ylabel: "f(x) above its minimum" },
    ],
    compute(v) {
      const land = LANDSCAPES[v.landscape];
      const ways = {};
      for (const name of chosen(v)) {
        const draws = Play.draws(v.seed); // the same noise for all
        ways[name] = Play.run(Play.rules[name], {
          x0: v.start,
          gradient: (x) => land.gradient(x).map((z) => z + v.noise * draws.normal()),
          steps: 200,
          hyper: {
            lr: SLOW.includes(name) ? v.slow : v.fast,
            beta1: v.beta1, momentum: v.beta1, beta2: v.beta2, alpha: v.beta2,
          },
        });
      }
      const low = land.f(land.best[0]);
      const losses = Object.fromEntries(
        Object.entries(ways).map(([name, way]) => [name, way.map((x) => land.f(x) - low)]));
      return { ways, losses };
    },
    say({ losses }, v) {
      const word = (z) => (Number.isFinite(z) ? Play.format(z) : "∞");
      const said = Object.entries(losses).map(([name, z]) => `${name} ${word(z[v.step])}`);
      const [a, b] = v.start.map((z) => Play.format(z));
      return `From (${a}, ${b}), f above its minimum after ${v.step} steps: ` +
        `${said.join(", ") || "choose a rule"}.`;
    },
    draw({ ways, losses }, v, { plane, loss }) {
      const land = LANDSCAPES[v.landscape];
      plane.range(land.x, land.y);
      const low = land.f(land.best[0]);
      plane.contours((a, b) => land.f([a, b]) - low, levels(land));
      for (const [a, b] of land.best) plane.text(a, b, "★", { anchor: "middle", dy: 5 });
      const all = Object.values(losses).flatMap((z) => z).filter((z) => z > 0 && z < Infinity);
      loss.range([0, 200], [Math.max(1e-8, Math.min(...all, 1) / 2), Math.min(1e4, 2 * Math.max(...all, 2))]);
      for (const [name, way] of Object.entries(ways)) {
        plane.way(way.slice(0, v.step + 1), { colour: name });
        const z = losses[name].slice(0, v.step + 1);
        loss.line(z.map((_, t) => t), z.map((y) => Math.max(y, 1e-9)), { colour: name, label: name });
      }
    },
  });
})();
