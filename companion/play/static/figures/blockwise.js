"use strict";
// A partition to paint: twelve coordinates in blocks, the constant Λ_Φ of it, and blockwise Adam.

(() => {
  const D = 12, STEPS = 200, OLD = 3, FRESH = 5; // starts that tune the step size, and others
  const LRS = Play.logspace(-1, 0.25, 6);
  const PRESETS = {
    "one block: AdaSGD": Array(D).fill(0),
    "each its own: Adam": Play.times(D, (i) => i),
    "the Hessian's four": Play.times(D, (i) => Math.floor(i / 3)),
    "two halves": Play.times(D, (i) => Math.floor(i / 6)),
    "four, mixed": [0, 1, 1, 2, 2, 3, 0, 2, 1, 1, 1, 3],
    "four, shuffled": Play.times(D, (i) => i % 4),
  };
  const [ONE, EACH] = Object.keys(PRESETS);
  const PAINTED = "painted";

  const whole = (z) => Play.clamp(Math.round(z), 0, D - 1);
  const labelsOf = (v) => (v.partition === PAINTED ? v.labels.map(whole) : PRESETS[v.partition]);
  const rows = (labels) => Math.min(D, Math.max(4, Math.max(...labels) + 2)); // one to spare
  // Coordinate i goes into block b.
  const paint = (v, i, b) => {
    const labels = labelsOf(v).slice();
    labels[i] = b;
    return { partition: PAINTED, labels, at: i + 1 };
  };
  const next = (v, i) => paint(v, i, (labelsOf(v)[i] + 1) % rows(labelsOf(v)));

  // H = RᵀDR: R turns each three coordinates among themselves, and then all by exp(sA).
  const problem = ({ ratio, mix }) => {
    const draws = Play.draws(0), third = (i) => Math.floor(i / 3);
    const M = Play.times(D, () => Play.times(D, () => draws.normal()));
    const part = (inside, s) => M.map((row, i) =>
      row.map((z, j) => ((third(i) === third(j)) === inside ? s * (z - M[j][i]) : 0)));
    const R = Play.matmul(Play.expm(part(true, 1)), Play.expm(part(false, mix / Math.sqrt(D))));
    const scaled = R.map((row, i) => row.map((z) => z * [1, 0.65, 0.3][i % 3] * ratio ** -third(i)));
    const H = Play.matmul(Play.transpose(R), scaled), more = Play.draws(0, 1);
    const starts = Play.times(OLD + FRESH, () => {
      const x = Play.times(D, () => more.normal());
      return x.map((z) => z / Math.sqrt(Play.dot(x, Play.apply(H, x)) / 2)); // loss one
    });
    return { H, starts };
  };

  // Losses by step, of all starts at once; the step size falls from lr to zero.
  const race = (H, starts, labels, lr, every) => {
    const f = Play.quadratic(H), size = Math.max(...labels) + 1, losses = [];
    const walker = Play.walker(Play.rules.BlockwiseAdam, {
      x0: starts.flat(), gradient: f.gradient,
      hyper: { lr: (t) => lr * (1 - (t - 1) / STEPS), beta1: 0.9, beta2: 0.99, eps: 1e-12 },
      over: Play.blocks(starts.flatMap((_, s) => labels.map((b) => b + s * size))),
    });
    for (;;) {
      if (walker.t % every === 0) losses.push(f.losses(walker.x));
      if (walker.t === STEPS) return losses;
      walker.step();
    }
  };
  // Condition number of D^(-1/2) H D^(-1/2), where h_b is the largest eigenvalue of H inside b.
  const scaled = (H, labels) => {
    const h = [];
    for (const b of new Set(labels)) {
      const inside = H.map((_, i) => i).filter((i) => labels[i] === b);
      h[b] = Play.eigh(inside.map((i) => inside.map((j) => H[i][j]))).values.at(-1);
    }
    const { values } = Play.eigh(H.map((row, i) => row.map((z, j) => z / Math.sqrt(h[labels[i]] * h[labels[j]]))));
    return values.at(-1) / values[0];
  };
  // All that the figure says of a partition.
  const measure = ({ H, starts }, painted) => {
    const used = [...new Set(painted)], labels = painted.map((b) => used.indexOf(b));
    const tried = LRS.map((lr) =>
      Play.mean(race(H, starts.slice(0, OLD), labels, lr, STEPS).at(-1).map(Math.log)));
    const lr = LRS[tried.indexOf(Math.min(...tried))];
    const curve = race(H, starts.slice(OLD), labels, lr, 4).map(Play.median);
    const kappa = scaled(H, labels), lambda = Play.smoothness(H, labels) / D;
    return { blocks: used.length, lambda, kappa, lr, curve, loss: curve.at(-1) };
  };

  // The Hessian, and what is said of each of the partitions beside the reader's.
  const once = Play.memory();
  Play.define("blockwise", {
    title: "A partition to paint, its constant, and what blockwise Adam makes of it",
    controls: [
      { id: "partition", label: "partition", options: [...Object.keys(PRESETS), PAINTED], value: "the Hessian's four" },
      { id: "at", label: "coordinate", min: 1, max: D, step: 1, value: 1 },
      { id: "ratio", label: "scales apart by", min: 1, max: 20, value: 10, log: true },
      { id: "mix", label: "turn across, s", min: 0, max: 1, step: 0.02, value: 0 },
      { id: "next", label: "Coordinate to its next block", button: (v) => next(v, v.at - 1) },
    ],
    values: { labels: Array(D).fill(0) },
    panels: [
      { id: "matrix", title: "the Hessian; dots: in one block", height: 0.9, bare: true, x: [0, D], y: [0, D],
        alt: "Sizes of the entries of the Hessian as a picture, dots where row and column share a block." },
      { id: "paint", title: "paint: coordinates to blocks", height: 0.85, x: [0.5, D + 0.5],
        xticks: Play.times(D, (i) => i + 1), xlabel: "coordinate", ylabel: "block",
        alt: "A dot for each coordinate, at the height of its block." },
      { id: "loss", title: "loss", height: 0.85, x: [0, STEPS], ylog: true, xlabel: "step", ylabel: "loss",
        alt: "Loss against steps for this partition, AdaSGD and Adam." },
      { id: "order", title: "does the constant tell?", height: 0.85, ylog: true, xlabel: "Λ/d",
        ylabel: `loss after ${STEPS} steps`, alt: "Loss against the constant, a dot for each partition." },
    ],
    press: {
      matrix: (x, y, v) => next(v, whole(x - 0.5)),
      paint: (x, y, v) => paint(v, whole(x - 1), whole(y - 1)),
    },
    compute(v) {
      const { made, refs } = once([v.ratio, v.mix], () => {
        const made = problem(v);
        const refs = Object.entries(PRESETS).map(([name, labels]) => [name, measure(made, labels)]);
        return { made, refs: Object.fromEntries(refs) };
      });
      const labels = labelsOf(v);
      return { H: made.H, labels, refs, own: refs[v.partition] || measure(made, labels) };
    },
    say({ own, refs }) {
      const f = Play.format, told = ({ loss, lambda }) => `${f(loss)} (Λ/d ${f(lambda)})`;
      return `${own.blocks} block${own.blocks > 1 ? "s" : ""}: Λ/d is ${f(own.lambda)}, κ after scaling is ` +
        `${f(own.kappa)}, and the loss after ${STEPS} steps is ${f(own.loss)} (best step size ${f(own.lr)}). ` +
        `AdaSGD: ${told(refs[ONE])}; Adam: ${told(refs[EACH])}.`;
    },
    draw({ H, labels, refs, own }, v, { matrix, paint, loss, order }) {
      matrix.heat(H.map((row) => row.map((z) => Math.log10(Math.max(Math.abs(z), 1e-5)))),
        { range: [-5, 0], down: true, label: "log₁₀ |entry|" });
      paint.range([0.5, D + 0.5], [0.5, rows(labels) + 0.5]);
      paint.vline(v.at, { alpha: 0.6 });
      labels.forEach((b, i) => {
        paint.dots([i + 1], [b + 1], { colour: b, radius: 7 });
        const same = labels.map((c, j) => j).filter((j) => labels[j] === b);
        matrix.dots(same.map((j) => j + 0.5), same.map(() => D - i - 0.5), { colour: b, radius: 4 });
      });
      const y = [1e-12, 10];
      loss.range([0, STEPS], y);
      order.range([0, 1.05], y);
      const looks = [["AdaSGD", refs[ONE], "AdaSGD"], ["Adam", refs[EACH], "Adam"], ["this partition", own, 3]];
      for (const [label, z, colour] of looks) {
        loss.line(z.curve.map((_, k) => 4 * k), z.curve, { colour, label });
        order.dots([z.lambda], [z.loss], { colour, label, radius: colour === 3 ? 7 : 5 });
      }
      const rest = Object.values(refs).slice(2);
      order.dots(rest.map((z) => z.lambda), rest.map((z) => z.loss), { colour: 0, label: "other partitions", radius: 4 });
    },
  });
})();
