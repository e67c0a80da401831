"use strict";
// A quadratic whose axes turn by exp(tA): its Hessian, what measures it, and the losses of Adam.

(() => {
  const D = 8, STARTS = 4, STEPS = 100, FAR = 1.5;
  const ANGLES = Play.linspace(0, FAR, 31); // t √d
  const power = (p) => Play.times(D, (k) => (k + 1) ** -p);
  const SPECTRA = {
    "two ones, then 0.01": [1, 1, ...Array(D - 2).fill(0.01)],
    "five ones, then 1/k²": [1, 1, 1, 1, ...power(2).slice(0, D - 4)],
    "1/k²": power(2),
    "1/k": power(1),
    "1/√k": power(0.5),
    "all equal": Array(D).fill(1),
  };
  // With the step sizes that are tried.
  const BETAS = {
    "(0, 0)": { betas: [0, 0], lrs: Play.logspace(-2.25, -1.25, 5) },
    "(0.9, 0.99)": { betas: [0.9, 0.99], lrs: Play.logspace(-1.25, 0, 6) },
  };
  const NORMS = { two: "‖H‖₂", one: "‖H‖₁,₁/d", lambda: "Λ/d", signs: "‖H‖∞→1/d" };

  const once = Play.memory();

  const drawn = (seed) => {
    const draws = Play.draws(seed);
    const rows = (n) => Play.times(n, () => Play.times(D, () => draws.normal()));
    const M = rows(D);
    return { A: M.map((row, i) => row.map((z, j) => z - M[j][i])), starts: rows(STARTS) };
  };
  // The loss turned by R = exp(tA): H = RᵀDR, and starts Rᵀx, where the losses are as unturned.
  const turned = (v, angle) => {
    const { A, starts } = once(["draws", v.seed], () => drawn(v.seed));
    const R = Play.expm(A.map((row) => row.map((z) => (z * angle) / Math.sqrt(D))));
    const lambda = SPECTRA[v.spectrum], columns = Play.transpose(R);
    const scaled = R.map((row, k) => row.map((z) => lambda[k] * z));
    return { H: Play.matmul(columns, scaled), starts: starts.map((x) => Play.apply(columns, x)) };
  };

  // max uᵀHv over signs: u follows from v, which changes one sign at a time (Gray's code).
  const signNorm = (H) => {
    const sums = H.map((row) => Play.sum(row)), twice = Array(D).fill(2);
    let best = 0;
    for (let n = 1; n <= 2 ** (D - 1); ++n) {
      let value = 0;
      for (const z of sums) value += Math.abs(z);
      best = Math.max(best, value);
      const j = 31 - Math.clz32(n & -n); // the lowest bit of n
      twice[j] = -twice[j];
      for (let i = 0; i < D; ++i) sums[i] += twice[j] * H[j][i];
    }
    return best;
  };
  const norms = ({ H }, v) => ({
    two: Math.max(...SPECTRA[v.spectrum]), // no rotation changes it
    one: Play.sum(H.map(Play.norm1)) / D,
    lambda: Play.smoothness(H, H.map((_, i) => i)) / D,
    signs: signNorm(H) / D,
  });

  // The mean loss after STEPS steps, of all starts at once: one vector, a block a start.
  const loss = (rule, { H, starts }, [beta1, beta2], lr) => {
    const f = Play.quadratic(H);
    const walker = Play.walker(Play.rules[rule], {
      x0: starts.flat(), gradient: f.gradient, hyper: { lr, beta1, beta2, eps: 1e-8 },
      over: Play.blocks(Play.times(STARTS * D, (j) => Math.floor(j / D))),
    });
    while (walker.t < STEPS) walker.step();
    return Play.mean(f.losses(walker.x));
  };
  // { loss, lr }: at the step size that is set, or at the best of those tried.
  const best = (rule, at, v) => {
    const { betas, lrs } = BETAS[v.beta];
    const tried = (v.tuned ? lrs : [v.lr]).map((lr) => ({ loss: loss(rule, at, betas, lr), lr }));
    return tried.reduce((a, b) => (b.loss < a.loss ? b : a));
  };

  Play.define("quadratics", {
    title: "A quadratic whose axes turn: its norms, and what Adam makes of it",
    controls: [
      { id: "t", label: "rotation t √d", min: 0, max: FAR, step: 0.05, value: 0.5 },
      { id: "spectrum", label: "eigenvalues", options: Object.keys(SPECTRA), value: Object.keys(SPECTRA)[0] },
      { id: "beta", label: "(β₁, β₂)", options: Object.keys(BETAS), value: "(0, 0)" },
      { id: "tuned", label: "best step size, for each t", value: true },
      { id: "lr", label: "else: step size", min: 0.003, max: 1, value: 0.01, log: true },
      { id: "again", label: "Another A", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    panels: [
      { id: "matrix", title: "the Hessian", height: 0.9, bare: true,
        alt: "The entries of the Hessian as a picture; blue is negative, red positive." },
      { id: "norms", title: "constants", height: 0.85, xlabel: "t √d", ylabel: "per coordinate",
        alt: "Four constants of the Hessian, divided by d, against the rotation." },
      { id: "loss", title: "losses", height: 0.85, ylog: true, xlabel: "t √d",
        ylabel: `loss after ${STEPS} steps`, alt: "Losses of Adam and AdaSGD against the rotation." },
      { id: "order", title: "does the norm tell?", height: 0.85, ylog: true, xlabel: "‖H‖₁,₁/d",
        ylabel: `loss after ${STEPS} steps`, alt: "Adam's loss against the (1,1)-norm, a dot a rotation." },
    ],
    compute(v) {
      const at = (angle) => once([v.spectrum, v.seed, angle], () => turned(v, angle));
      const runs = [v.spectrum, v.seed, v.beta, v.tuned || v.lr];
      const now = at(v.t);
      return {
        H: now.H,
        now: norms(now, v),
        adam: best("Adam", now, v),
        adasgd: once(["AdaSGD", ...runs], () => best("AdaSGD", at(0), v)),
        norms: once(["norms", v.spectrum, v.seed], () => ANGLES.map((z) => norms(at(z), v))),
        losses: once(["Adam", ...runs], () => ANGLES.map((z) => best("Adam", at(z), v).loss)),
      };
    },
    say({ now, adam, adasgd }, v) {
      const f = Play.format, at = ({ loss, lr }) => `${f(loss)} (step size ${f(lr)})`;
      const said = Object.entries(NORMS).map(([key, name]) => `${name} is ${f(now[key])}`);
      return `At t √d = ${f(v.t)}, ${said.join(", ")}. Loss after ${STEPS} steps: ` +
        `Adam ${at(adam)}; AdaSGD, at every t, ${at(adasgd)}.`;
    },
    draw(r, v, { matrix, norms, loss, order }) {
      matrix.heat(r.H, { map: "diverging", range: [-1, 1], down: true, label: "entry" });
      const ones = r.norms.map((z) => z.one), right = 1.08 * Math.max(1, ...ones);
      norms.range([0, FAR], [0, right]);
      Object.entries(NORMS).forEach(([key, label], k) => {
        norms.line(ANGLES, r.norms.map((z) => z[key]), { colour: k, label, dash: ["", "6 3", "8 2 2 2", "2 3"][k] });
        norms.dots([v.t], [r.now[key]], { colour: k, radius: 4 });
      });
      const powers = [...r.losses, r.adasgd.loss, r.adam.loss, 1e-3].map(Math.log10).filter(Number.isFinite);
      const y = [10 ** Math.floor(Math.min(...powers)), 10 ** Math.ceil(Math.max(...powers))];
      loss.range([0, FAR], y);
      order.range([0, right], y);
      loss.line(ANGLES, r.losses, { colour: "Adam", label: "Adam" });
      order.dots(ones, r.losses, { colour: "Adam", label: "Adam", alpha: 0.5, radius: 3 });
      loss.dots([v.t], [r.adam.loss], { colour: "Adam", radius: 6 });
      order.dots([r.now.one], [r.adam.loss], { colour: "Adam", radius: 6 });
      for (const p of [loss, order]) p.hline(r.adasgd.loss, { colour: "AdaSGD", label: "AdaSGD", width: 2, dash: "" });
      for (const p of [norms, loss]) p.vline(v.t, { alpha: 0.6 });
      order.vline(1, { alpha: 0.6, dash: "2 3" });
    },
  });
})();
