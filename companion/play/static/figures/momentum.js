"use strict";
// The damping diagram: a pair (a, μ) on the map of rates, its roots, its run. With κ above one
// there are two eigenvalues; a belongs to the steep one.

(() => {
  const RULES = { "heavy ball": "Momentum", Nesterov: "Nesterov" };
  const [A, MU, STEPS] = [[0.02, 4], [0, 0.98], 400];
  const isAhead = (v) => v.method === "Nesterov";

  // The roots on ½ λ x², a = ηλ: pairs of a real and an imaginary part, the larger one first.
  const roots = (a, mu, ahead) => {
    const [sum, product] = ahead ? [(1 + mu) * (1 - a), mu * (1 - a)] : [1 + mu - a, mu];
    const half = sum / 2;
    const root = Math.sqrt(Math.abs(half * half - product));
    if (half * half < product) return [[half, root], [half, -root]];
    const large = half + (half < 0 ? -root : root);
    return [[large, 0], [large && product / large, 0]];
  };
  const rate = (pair) => Math.hypot(...pair[0]);
  // The values of a where the run begins to swing, to flip its sign, and to diverge.
  const borders = (mu, ahead) =>
    ahead
      ? [((1 - mu) / (1 + mu)) ** 2, 1, (2 * (1 + mu)) / (1 + 2 * mu)]
      : [(1 - Math.sqrt(mu)) ** 2, (1 + Math.sqrt(mu)) ** 2, 2 * (1 + mu)];
  const WORDS = ["creeps", "swings", "flips its sign at each step", "diverges"];

  const critical = (v) => {
    const [a, r] = [v.at[0], Math.sqrt(v.at[0])];
    return { at: [a, Play.clamp(isAhead(v) ? (1 - r) / (1 + r) : (1 - r) ** 2, ...MU)] };
  };
  const tuned = (v) => {
    const root = Math.sqrt(v.kappa);
    const rho = (root - 1) / (root + 1);
    return { at: isAhead(v) ? [1, rho] : [4 / (1 + 1 / root) ** 2, rho * rho] };
  };

  // The rates of a method over the plane, NaN where it diverges.
  const once = Play.memory();
  const map = (ahead) => once(ahead, () => {
    const row = (mu) => Play.linspace(0.0125, 3.9875, 160).map((a) =>
      (a < borders(mu, ahead)[2] ? rate(roots(a, mu, ahead)) : NaN));
    return Play.linspace(0.0049, 0.9751, 100).map(row);
  });

  Play.define("momentum", {
    title: "The damping diagram of momentum",
    controls: [
      { id: "method", label: "method", options: Object.keys(RULES), value: "heavy ball" },
      { id: "kappa", label: "condition κ", min: 1, max: 100, log: true, value: 1 },
      { id: "shown", label: "steps shown", min: 10, max: STEPS, step: 10, value: 60 },
      { id: "damp", label: "Damp critically", button: critical },
      { id: "tune", label: "Tune for κ", button: tuned },
    ],
    points: [{ id: "at", panel: "map", label: "a and μ", value: [0.3, 0.8], x: A, y: MU }],
    panels: [
      { id: "map", alt: "A map of the rate over a and μ, grey where the run diverges.", x: [0, 4],
        y: MU, height: 0.75, xlabel: "a = ηλ", ylabel: "momentum μ" },
      { id: "plane", alt: "The roots in the complex plane, with the unit circle.", equal: true,
        height: 0.75, xlabel: "real part", ylabel: "imaginary part" },
      { id: "run", alt: "The run against its steps.", wide: true, height: 0.34, xlabel: "step",
        ylabel: "x / x₀" },
    ],
    compute(v) {
      const [a, mu, ahead] = [Play.clamp(v.at[0], ...A), Play.clamp(v.at[1], ...MU), isAhead(v)];
      const each = v.kappa > 1 ? [1, 1 / v.kappa] : [1]; // eigenvalues
      const pairs = each.map((z) => roots(a * z, mu, ahead));
      const rates = pairs.map(rate);
      const way = Play.run(Play.rules[RULES[v.method]], {
        x0: each.map(() => 1),
        gradient: (x) => x.map((z, i) => each[i] * z),
        hyper: { lr: a, momentum: mu },
        steps: STEPS,
      });
      const sizes = way.map((x) => Math.max(...x.map(Math.abs)));
      return {
        a, mu, each, pairs, rates, way, sizes,
        rho: Math.max(...rates),
        arrives: sizes.findLastIndex((z) => !(z <= 1e-3)) + 1, // for good
        limit: borders(mu, ahead)[2],
      };
    },
    say(r, v) {
      const f = Play.format;
      const root = ([[x, y], [z]]) => (y ? `${f(x)} ± ${f(Math.abs(y))}i` : `${f(x)} and ${f(z)}`);
      const word = (a, [[x, y], [z, w]]) => Math.hypot(x - z, y - w) < 1e-6
        ? "is critically damped"
        : WORDS[borders(r.mu, isAhead(v)).filter((b) => a >= b).length];
      const said = r.pairs.map((pair, i) => `at a = ${f(r.a * r.each[i])} it ` +
        `${word(r.a * r.each[i], pair)} (roots ${root(pair)}, ρ = ${f(r.rates[i])})`);
      const end = r.arrives <= STEPS
        ? `It is within a thousandth, for good, after ${r.arrives} steps`
        : r.rho < 1 ? `It needs more than ${STEPS} steps to a thousandth` : "It goes to ∞";
      const who = isAhead(v) ? "Nesterov's method" : "The heavy ball";
      return `${who}, μ = ${f(r.mu)}: ${said.join("; ")}. ${end}. Stable below a = ${f(r.limit)}.`;
    },
    map: (v) => map(isAhead(v)),
    draw(r, v, panels) {
      drawMap(r, isAhead(v), panels.map);
      drawPlane(r, panels.plane);
      drawRun(r, v, panels.run);
    },
  });

  function drawMap(r, ahead, panel) {
    panel.heat(map(ahead), { range: [0, 1], label: "rate ρ" });
    const mus = Play.linspace(0, 0.98, 99);
    ["", "", "6 4"].forEach((dash, k) => { // light on dark: it shows on every colour
      const a = mus.map((mu) => borders(mu, ahead)[k]);
      panel.line(a, mus, { colour: "#000", width: 4 });
      panel.line(a, mus, { colour: "#fff", width: 1.5, dash });
    });
    const at = ahead ? [[0.05, 0.04], [0.35, 0.6], [1.05, 0.3], [2.4, 0.5]]
      : [[0.05, 0.04], [1.2, 0.5], [1.5, 0.04], [3.1, 0.3]];
    at.forEach(([a, mu], i) => panel.text(a, mu, WORDS[i].split(" ")[0], { halo: true }));
    const spread = r.each.map((z) => r.a * z);
    panel.line(spread, spread.map(() => r.mu), { colour: "#000", width: 5 });
    spread.forEach((a, i) => panel.dots([a], [r.mu], { colour: i, radius: 5 }));
  }

  function drawPlane(r, panel) {
    const size = Math.max(1.25, 1.2 * r.rho);
    panel.range([-size, size], [-size, size]);
    const turn = Play.linspace(0, 2 * Math.PI, 121);
    for (const [z, label, dash] of [[1, "unit circle", ""], [r.rho, "radius ρ", "4 3"]]) {
      const [x, y] = [Math.cos, Math.sin].map((f) => turn.map((t) => z * f(t)));
      panel.line(x, y, { label, width: 1.2, dash });
    }
    r.pairs.forEach((pair, i) => panel.dots(...Play.transpose(pair), { colour: i, radius: 6 }));
  }

  function drawRun(r, v, panel) {
    const steps = Play.times(v.shown + 1, (t) => t);
    const sizes = r.sizes.slice(0, v.shown + 1).filter(Number.isFinite);
    const top = Math.min(10, 1.1 * Math.max(...sizes));
    panel.range([0, v.shown], [-top, top]);
    for (const side of [1, -1]) {
      panel.line(steps, steps.map((t) => side * r.rho ** t), { dash: "4 3", label: "±ρᵗ" });
    }
    const names = r.each.length > 1 ? ["steep", "flat"] : [v.method];
    names.forEach((label, i) => {
      const xs = steps.map((t) => r.way[t][i]);
      panel.line(steps, xs, { colour: i, width: 1.5, label });
      if (v.shown <= 120) panel.dots(steps, xs, { colour: i });
    });
  }
})();
