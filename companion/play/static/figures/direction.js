"use strict";
// Adam's direction: between the sign of the mean gradient and the mean gradient itself.

(() => {
  const [START, STEPS] = [1000, 3000]; // steps that are left out, and those that are looked at
  const signs = [[1, 1], [-1, 1], [-1, -1], [1, -1], [1, 1]];

  // The distribution function of a normal number, by a series of positive terms.
  const phi = (z) => {
    const a = Math.abs(z);
    if (a > 8) return z > 0 ? 1 : 0;
    let [term, sum] = [a, a];
    for (let k = 3; term > 1e-17 * sum; k += 2) sum += term *= (a * a) / k;
    const half = (sum * Math.exp((-a * a) / 2)) / Math.sqrt(2 * Math.PI);
    return 0.5 + (z < 0 ? -half : half);
  };
  // What the propositions say of a coordinate with so much signal over noise.
  const mean = (ratio) => ratio / Math.sqrt(1 + ratio * ratio);
  const wrong = (ratio, beta1) => phi(-Math.abs(ratio) * Math.sqrt((1 + beta1) / (1 - beta1)));

  const once = Play.memory();
  const noise = (seed) => once(seed, () => Play.times(2 * (START + STEPS), Play.draws(seed).normal));
  // Steps of Adam, turned round and in units of η, a list for each coordinate.
  const run = (v) => {
    const z = noise(v.seed);
    const walker = Play.walker(Play.rules.Adam, {
      x0: [0, 0],
      gradient: (x, t) => v.mu.map((m, i) => m + v.sigma * z[2 * (t - 1) + i]),
      hyper: { lr: 1, beta1: v.beta1, beta2: v.beta2, eps: 0 },
    });
    const steps = [[], []];
    while (walker.t < START + STEPS) {
      walker.x.fill(0); // so that a step is read off
      walker.step();
      if (walker.t > START) steps.forEach((kept, i) => kept.push(-walker.x[i]));
    }
    return steps;
  };
  const angle = ([a, b], [c, d]) =>
    (180 / Math.PI) * Math.atan2(Math.abs(a * d - b * c), a * c + b * d);

  Play.define("direction", {
    title: "Adam's direction against the sign of the gradient",
    controls: [
      { id: "sigma", label: "noise σ", min: 0.01, max: 10, value: 0.5, log: true },
      { id: "beta1", label: "β₁", min: 0, max: 0.99, step: 0.01, value: 0.9 },
      { id: "beta2", label: "β₂", min: 0, max: 0.9999, value: 0.999, toOne: true },
      { id: "again", label: "New noise", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    points: [{ id: "mu", panel: "plane", label: "mean gradient μ", value: [1.2, 0.3],
      x: [-1.5, 1.5], y: [-1.5, 1.5] }],
    panels: [
      { id: "plane", title: "Two coordinates", x: [-1.6, 1.6], y: [-1.6, 1.6], equal: true,
        height: 1, xlabel: "first: μ₁ and step / η", ylabel: "second: μ₂ and step / η",
        alt: "Single steps as dots; arrows for the mean gradient, its sign and the mean step." },
      { id: "ratio", title: "One coordinate", x: [0.01, 100], y: [0, 1.05], xlog: true,
        height: 1, xlabel: "signal / noise, |μ| / σ", ylabel: "step / η, and share",
        alt: "Mean step and share of steps the wrong way against signal over noise." },
    ],
    compute(v) {
      const steps = run(v);
      const ratios = v.mu.map((m) => m / v.sigma);
      const off = (kept, i) => kept.filter((z) => (v.mu[i] < 0 ? z > 0 : z < 0)).length / STEPS;
      const found = steps.map(Play.mean);
      return {
        steps, ratios, mean: found,
        wrong: steps.map(off),
        said: { mean: ratios.map(mean), wrong: ratios.map((r) => wrong(r, v.beta1)) },
        angles: [angle(found, v.mu.map(Math.sign)), angle(found, v.mu)],
      };
    },
    say(r, v) {
      const pair = (z) => z.map((y) => Play.format(y)).join(" and ");
      const percent = (z) => z.map((y) => `${Number((100 * y).toFixed(1))} %`).join(" and ");
      const turn = v.mu.some(Boolean)
        ? `${Play.format(r.angles[0])}° from the sign of μ and ${Play.format(r.angles[1])}° from μ`
        : "in no direction, as μ is zero";
      return `μ / σ is ${pair(r.ratios)}. The mean step is ${pair(r.mean)} η, ${turn}; ` +
        `the formulas for β₂ near one say ${pair(r.said.mean)}. The wrong way go ` +
        `${percent(r.wrong)} of the steps, by the formula ${percent(r.said.wrong)}.`;
    },
    draw(r, v, { plane, ratio }) {
      const some = (z) => z.filter((_, k) => k % 6 === 0);
      plane.line(...[0, 1].map((i) => signs.map((z) => z[i])), { width: 1, alpha: 0.5 });
      plane.dots(some(r.steps[0]), some(r.steps[1]),
        { colour: 6, alpha: 0.4, radius: 2, label: "steps of Adam" });
      const sigmas = [0, ...Play.logspace(-2, 3, 60)];
      plane.line(...v.mu.map((m) => sigmas.map((s) => m / Math.hypot(m, s) || 0)),
        { colour: 3, width: 1.5, dash: "5 3", label: "mean step, any σ (formula)" });
      plane.arrow(0, 0, ...v.mu.map(Math.sign), { colour: "SignSGD", label: "sign of μ", dash: "" });
      plane.arrow(0, 0, ...v.mu, { label: "mean gradient μ" });
      plane.arrow(0, 0, ...r.mean, { colour: "Adam", width: 4, dash: "", label: "mean step of Adam" });

      const xs = Play.logspace(-2, 2, 80);
      const seen = r.ratios.map(Math.abs);
      ratio.line(xs, xs.map((x) => 2 * phi(x) - 1), { colour: "SignSGD", label: "mean step, SignSGD" });
      ratio.line(xs, xs.map(mean), { colour: "Adam", label: "mean step, Adam", dash: "" });
      ratio.line(xs, xs.map((x) => wrong(x, v.beta1)), { colour: 3, label: "wrong way", dash: "5 3" });
      ratio.dots(seen, r.mean.map(Math.abs), { colour: "Adam", radius: 5 });
      ratio.dots(seen, r.wrong, { colour: 3, radius: 5 });
    },
  });
})();
