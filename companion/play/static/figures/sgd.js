"use strict";
// SGD on least squares with two parameters, f_i(x) = (a_i·x − σ r_i)² / 2, lowest at 0: runs of
// minibatches beside the exact mean of them all, and the limit in mean square.
// data: features (the a_i) and residuals (the r_i), 64 of each.

(() => {
  const [STEPS, RUNS, SAMPLES] = [200, 100, 64];
  const START = [-4, 2];
  const BATCHES = Play.times(11, (k) => 2 ** (k / 2));

  // -- the exact moments, as companion.theory.stability has them

  const kron = (A, B) => A.flatMap((p) => B.map((q) => p.flatMap((a) => q.map((b) => a * b))));
  const plus = (A, B) => A.map((row, i) => row.map((z, j) => z + B[i][j]));
  const times = (c, A) => A.map((row) => row.map((z) => c * z));
  const outer = (u, w) => u.map((a) => w.map((b) => a * b));
  const average = (terms) => times(1 / terms.length, terms.reduce(plus));

  // E[z zᵀ] is multiplied by I − ηA + η²Q, with Q = M/B + (1 − 1/B) H ⊗ H.
  const moments = ({ features, residuals }) => {
    const squares = features.map((a) => outer(a, a));
    const [H, I] = [average(squares), Play.identity(2)];
    return {
      H,
      A: plus(kron(H, I), kron(I, H)),
      M: average(squares.map((S) => kron(S, S))),
      HH: kron(H, H),
      noise: average(squares.map((S, i) => times(residuals[i] ** 2, S))).flat(), // for σ = 1
      top: 2 / Play.eigh(H).values[1],
    };
  };
  const Q = ({ M, HH }, B) => plus(times(1 / B, M), times(1 - 1 / B, HH));

  // 1 / λmax(A⁻¹Q): A is divided out of Q from both sides.
  const limit = (m, B) => {
    const { values, vectors } = Play.eigh(m.A);
    const by = vectors.map((row) => row.map((z, k) => z / Math.sqrt(values[k])));
    return 1 / Play.eigh(Play.matmul(Play.transpose(by), Play.matmul(Q(m, B), by))).values[3];
  };

  // Half of tr(HC), where a step keeps C: (A − ηQ) vec C = η σ²/B vec Σ.
  const floorOf = (m, { eta, B, sigma }) => {
    const { values, vectors } = Play.eigh(plus(m.A, times(-eta, Q(m, B))));
    if (values[0] <= 0) return Infinity;
    const parts = Play.transpose(vectors).map((v, k) =>
      (Play.dot(v, m.H.flat()) * Play.dot(v, m.noise)) / values[k]);
    return (eta * sigma ** 2 * Play.sum(parts)) / B / 2;
  };

  // The mean of f after each step. With y = (x, 1) a step is linear, y ← (I − η u wᵀ) y.
  const exactly = (m, { eta, B, sigma }, { features, residuals }) => {
    const step = (a, i) =>
      plus(Play.identity(3), times(-eta, outer([...a, 0], [...a, -sigma * residuals[i]])));
    const steps = features.map(step);
    const G = average(steps);
    const same = average(steps.map((S) => kron(S, S)));
    const K = plus(times(1 / B, same), times(1 - 1 / B, kron(G, G)));
    const [{ H }, y] = [m, [...START, 1]];
    let S = outer(y, y).flat();
    return Play.times(STEPS + 1, (t) => {
      if (t) S = Play.apply(K, S);
      return (H[0][0] * S[0] + H[0][1] * S[1] + H[1][0] * S[3] + H[1][1] * S[4]) / 2;
    });
  };

  // -- the runs

  // Which samples each run sees at each step, eight to a whole number; a stream for every eight.
  const once = Play.memory();
  const drawn = (seed, k) => once([seed, k], () => draw(seed, k));
  const draw = (seed, k) => {
    const draws = Play.draws(seed, k);
    const index = new Uint8Array(8 * STEPS * RUNS);
    for (let i = 0; i < index.length; i += 8) {
      let whole = draws.integer(SAMPLES ** 8);
      for (let j = 0; j < 8; ++j) {
        index[i + j] = whole % SAMPLES;
        whole = Math.floor(whole / SAMPLES);
      }
    }
    return index;
  };

  // All runs at once, their x one after the other: (STEPS + 1) arrays of 2 RUNS entries.
  const runs = ({ eta, B, sigma, seed }, { features, residuals }) => {
    const index = Play.times(Math.ceil(B / 8), (k) => drawn(seed, k));
    const gradient = (x, t, g) => {
      g.fill(0);
      for (let r = 0; r < RUNS; ++r) for (let b = 0; b < B; ++b) {
        const i = index[b >> 3][8 * ((t - 1) * RUNS + r) + (b & 7)];
        const [p, q] = [features[i][0], features[i][1]];
        const slope = (p * x[2 * r] + q * x[2 * r + 1] - sigma * residuals[i]) / B;
        g[2 * r] += slope * p;
        g[2 * r + 1] += slope * q;
      }
    };
    const x0 = Play.times(2 * RUNS, (j) => START[j % 2]);
    return Play.run(Play.rules.SGD, { x0, gradient, steps: STEPS, hyper: { lr: eta } });
  };
  const gapOf = ({ H }) => (a, b) => (H[0][0] * a * a + 2 * H[0][1] * a * b + H[1][1] * b * b) / 2;

  const inside = ([B, eta]) => [
    Play.clamp(Math.round(B), 1, 32),
    Number(Play.clamp(eta, 0.02, 2.4).toPrecision(3)),
  ];

  Play.define("sgd", {
    title: "SGD: step size, batch size and noise",
    controls: [
      { id: "eta", label: "step size η", min: 0.02, max: 2.4, value: 0.2, log: true },
      { id: "B", label: "batch size B", min: 1, max: 32, step: 1, value: 1 },
      { id: "sigma", label: "noise σ of the targets", min: 0, max: 2, step: 0.1, value: 1 },
      { id: "again", label: "New draws", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    points: [{ id: "at", panel: "map", label: "batch size and step size", of: ["B", "eta"],
      snap: inside, x: [1, 32], y: [0.02, 2.4],
      keys: ([B, eta], right, up, shift) =>
        inside([B * 2 ** right, eta * (shift ? 1.5 : 1.1) ** up]) }],
    steps: () => STEPS,
    panels: [
      { id: "loss", alt: "Suboptimality against steps: one run, the mean of all, the exact mean.",
        title: "loss", wide: true, height: 0.5, x: [0, STEPS], ylog: true, xlabel: "step", ylabel: "f − f*" },
      { id: "map", alt: "The longest stable step against the batch size, and where you are.",
        title: "the longest step", x: [0.9, 36], y: [0, 2.5], xlog: true, height: 0.8,
        xticks: [1, 2, 4, 8, 16, 32], xlabel: "batch size B", ylabel: "step size η" },
      { id: "plane", alt: "The plane of both parameters, with all runs at this step.",
        title: "all runs at this step", equal: true, height: 0.8, xlabel: "x₁", ylabel: "x₂" },
    ],
    compute(v, data) {
      const m = moments(data);
      const ways = runs(v, data);
      const f = gapOf(m);
      const gaps = ways.map((x) => Play.times(RUNS, (r) => f(x[2 * r], x[2 * r + 1])));
      const quantile = (q) => gaps.map((z) => Play.quantile(z, q));
      return {
        m, ways, limit: limit(m, v.B), limits: BATCHES.map((B) => limit(m, B)), top: m.top,
        exact: exactly(m, v, data), floor: floorOf(m, v), one: gaps.map((z) => z[0]),
        mean: gaps.map(Play.mean), low: quantile(0.1), median: quantile(0.5), high: quantile(0.9),
      };
    },
    say(r, v) {
      const n = (z) => (Number.isNaN(z) ? "∞" : Play.format(z));
      const past = v.eta < r.limit ? "" : v.eta < r.top ? ", past the first only" : ", past both";
      const end = v.eta < r.limit ? `the floor ${n(r.floor)}` : "and it grows without end";
      const typical = v.eta < r.limit ? "" : ` (their median ${n(r.median[v.step])})`;
      return `Batches of ${v.B} bear steps up to ${n(r.limit)} in mean square, and 2/L is ` +
        `${n(r.top)}: η is ${n(v.eta)}${past}. After ${v.step} steps the mean of f − f* over ` +
        `${RUNS} runs is ${n(r.mean[v.step])}${typical}; the exact mean is ` +
        `${n(r.exact[v.step])}, ${end}.`;
    },
    draw(r, v, { loss, map, plane }) {
      const steps = r.mean.map((_, t) => t);
      const power = (z, round) => 10 ** round(Math.log10(z));
      const top = Math.max(...r.exact.filter(Number.isFinite), 10);
      const least = Math.min(...[...r.exact, ...r.mean].filter((z) => z > 0));
      loss.range([0, STEPS], [
        Play.clamp(power(least / 3, Math.floor), 1e-12, 1e-2),
        Math.min(1e8, power(top, Math.ceil)),
      ]);
      loss.band(steps, r.low, r.high, { colour: 0, label: "10–90 % of runs" });
      loss.line(steps, r.one, { colour: 1, width: 1, label: "one run" });
      loss.line(steps, r.mean, { colour: 0, label: `mean of ${RUNS}` });
      loss.line(steps, r.exact, { dash: "2 4", label: "exact mean" });
      if (r.floor > 0 && r.floor < Infinity) loss.hline(r.floor, { colour: 3, label: "floor" });
      loss.vline(v.step, { alpha: 0.5 });

      const zero = BATCHES.map(() => 0);
      map.band(BATCHES, zero, r.limits, { colour: 2, label: "stable in mean square" });
      map.line(BATCHES, r.limits, { colour: 2 });
      map.hline(r.top, { dash: "6 4", width: 2, label: "2/L" });

      plane.range([-5, 5], [-4, 4]);
      plane.contours(gapOf(r.m), [0.01, 0.1, 0.5, 1.5, 4, 10], { grid: 40 });
      const at = r.ways[v.step];
      const coordinate = (j) => Play.times(RUNS, (k) => at[2 * k + j]);
      plane.way(r.ways.slice(0, v.step + 1), { colour: 1, alpha: 0.6, label: "one run" });
      plane.dots(coordinate(0), coordinate(1), { colour: 0, alpha: 0.7, label: "runs" });
      plane.text(0, 0, "★", { anchor: "middle", dy: 5 });
    },
  });
})();
