"use strict";
// Rulers for steps: a norm's unit ball, the gradient's dual norm, and the step that attains it.

(() => {
  const root = (labels, z) => {
    const squares = [0, 0, 0], counts = [0, 0, 0];
    z.forEach((x, i) => ((squares[labels[i]] += x * x), (counts[labels[i]] += 1)));
    return { length: squares.map(Math.sqrt), size: counts.map(Math.sqrt) };
  };
  // The norm of a partition: the largest root mean square of a block.
  const partition = (labels) => ({
    norm: (s) => {
      const { length, size } = root(labels, s);
      return Math.max(...length.map((z, b) => (size[b] ? z / size[b] : 0)));
    },
    dual: (g) => {
      const { length, size } = root(labels, g);
      return Play.dot(length, size);
    },
    best: (g) => {
      const { length, size } = root(labels, g);
      return g.map((z, i) => (z ? (size[labels[i]] * z) / length[labels[i]] : 0));
    },
    free: (g) => root(labels, g).length.some((z, b) => z === 0 && labels.includes(b)),
  });
  const largest = (z) => Math.max(...z.map(Math.abs));
  // Norm, dual norm, a step u of norm one with the largest ⟨g, u⟩, and whether there are others.
  const NORMS = {
    "ℓ∞": partition([0, 1, 2]),
    "ℓ2": {
      norm: Play.norm,
      dual: Play.norm,
      best: (g) => g.map((z) => z / (Play.norm(g) || 1)),
      free: (g) => !Play.norm(g),
    },
    "ℓ1": {
      norm: Play.norm1,
      dual: largest,
      best: (g) => {
        const at = g.findIndex((z) => Math.abs(z) === largest(g));
        return g.map((z, i) => (i === at ? Math.sign(z) : 0));
      },
      free: (g) => g.filter((z) => Math.abs(z) === largest(g)).length > 1,
    },
    "blocks {1, 2} and {3}": partition([0, 0, 1]),
    "one block {1, 2, 3}": partition([0, 0, 0]),
  };
  const RULES = {
    SGD: Play.whole, SignSGD: Play.whole, AdaSGD: Play.whole, BlockwiseAdam: Play.blocks([0, 0, 1]),
  };

  // {(a, b) : norm(a, b, third) ≤ level}, as a polygon: the last radius inside, in each direction.
  const slice = (norm, third, level) => {
    const points = Play.linspace(0, 360, 241).map((degrees) => {
      const [c, s] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
      let [inside, outside] = [0, 8];
      for (let i = 0; i < 30; ++i) {
        const r = (inside + outside) / 2;
        if (norm([r * c, r * s, third]) <= level * (1 + 1e-9)) inside = r;
        else outside = r;
      }
      return [inside * c, inside * s];
    });
    return Play.transpose(points);
  };
  const list = (z) => `(${z.map((x) => Play.format(x)).join(", ")})`;

  Play.define("norms", {
    title: "Norms: the steepest step for a gradient",
    controls: [
      { id: "norm", label: "norm of a step", options: Object.keys(NORMS), value: "ℓ∞" },
      { id: "third", label: "g₃", min: -2, max: 2, step: 0.05, value: 0 },
    ],
    points: [{ id: "g", panel: "plane", label: "tip of the gradient, g₁ and g₂", value: [1.2, 0.6],
      x: [-2, 2], y: [-2, 2], snap: (p) => p.map((z) => Math.round(z * 20) / 20) }],
    panels: [
      { id: "plane", alt: "Unit ball, gradient, the steepest step −u and the line that touches the ball there.",
        x: [-2.2, 2.2], y: [-2.2, 2.2], equal: true, height: 0.9, xlabel: "s₁", ylabel: "s₂" },
      { id: "entries", alt: "The three entries of −u as bars, and of four rules' steps as dots.", height: 0.9,
        x: [0.4, 3.6], y: [-2, 2], xticks: [1, 2, 3], xlabel: "entry", ylabel: "steps of norm one" },
    ],
    compute(v) {
      const { norm, dual, best, free } = NORMS[v.norm];
      const g = [...v.g, v.third];
      const way = best(g).map((z) => 0 - z);
      const size = dual(g);
      const steps = {}, shares = {};
      for (const [name, over] of Object.entries(RULES)) {
        const setup = { x0: [0, 0, 0], gradient: () => g, steps: 1, hyper: { lr: 1 }, over };
        const s = [...Play.run(Play.rules[name], setup)[1]];
        steps[name] = s.map((z) => z / (norm(s) || 1));
        shares[name] = -Play.dot(g, steps[name]) / (size || 1);
      }
      return { g, way, size, steps, shares, others: free(g) };
    },
    say({ g, way, size, shares, others }, v) {
      if (!size) return "g = 0: no step descends.";
      const said = Object.entries(shares).map(([name, z]) => `${name} ${Play.format(100 * z)} %`);
      return `${v.norm}: the gradient ${list(g)} has the dual norm ${Play.format(size)}. That is the most ` +
        `that a step of norm one descends by, and −u = ${list(way)} does${others ? ", one of several" : ""}. ` +
        `Scaled to norm one, the rules' steps reach: ${said.join(", ")}.`;
    },
    draw({ g, way, size, steps }, v, { plane, entries }) {
      const { norm, dual } = NORMS[v.norm];
      plane.area(...slice(norm, 0, 1), { colour: 0, alpha: 0.15 });
      plane.area(...slice(norm, way[2], 1), { colour: 0, alpha: 0.35, label: "unit ball" });
      if (size) {
        plane.line(...slice(dual, g[2], size), { colour: 3, dash: "5 4", width: 1.5, label: "same dual norm as g" });
        const [a, b] = [-9 * g[1], 9 * g[0]]; // along ⟨g, s⟩ = −‖g‖∗
        if (a || b) plane.line([way[0] - a, way[0] + a], [way[1] - b, way[1] + b], { dash: "2 3", width: 1.5, label: "⟨g, s⟩ = −‖g‖∗" });
      }
      plane.arrow(0, 0, g[0], g[1], { alpha: 0.6 });
      plane.text(g[0], g[1], "g", { dx: 12, dy: -8 });
      if (way[0] || way[1]) plane.arrow(0, 0, way[0], way[1], { colour: 0, width: 4, label: "−u" });
      entries.hline(0, { dash: "" });
      entries.bars([1, 2, 3], way, 0.7, { colour: 0, alpha: 0.45, label: "−u" });
      Object.entries(steps).forEach(([name, s], i) => {
        entries.dots([1, 2, 3].map((x) => x - 0.24 + 0.16 * i), s, { colour: name, radius: 5, label: name });
      });
    },
  });
})();
