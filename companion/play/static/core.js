// What every figure computes with: steps of the printed rules, random numbers, a little algebra.
// No page is touched here, so that any engine of JavaScript runs it.
"use strict";
var Play = globalThis.Play || {};

// -- what the printed rules call ------------------------------------------------------------------

// A weighted mean of a and b, in the two forms of torch.lerp: each is exact at its own end.
Play.lerp = (a, b, w) => (w < 0.5 ? a + w * (b - a) : b - (b - a) * (1 - w));

// NaN passes, and the upper bound wins over the lower one, as in torch.clamp.
Play.clamp = function (a, low, high) {
  const b = a < low ? low : a;
  return b > high ? high : b;
};

// Reductions over all entries: each puts its value into every entry of z.
Play.whole = {
  mean(z) {
    let sum = 0;
    for (let j = 0; j < z.length; ++j) sum += z[j];
    return z.fill(sum / z.length);
  },
  max(z) {
    let largest = -Infinity;
    for (let j = 0; j < z.length; ++j) largest = Math.max(largest, z[j]);
    return z.fill(largest);
  },
};

// Reductions over the entries of equal label; labels are whole numbers 0, 1, ...
Play.blocks = function (labels) {
  const of = Array.from(labels), size = Math.max(-1, ...of) + 1;
  const counts = new Float64Array(size), value = new Float64Array(size);
  of.forEach((label) => (counts[label] += 1));
  return {
    mean(z) {
      value.fill(0);
      for (let j = 0; j < z.length; ++j) value[of[j]] += z[j];
      for (let j = 0; j < z.length; ++j) z[j] = value[of[j]] / counts[of[j]];
      return z;
    },
    max(z) {
      value.fill(-Infinity);
      for (let j = 0; j < z.length; ++j) value[of[j]] = Math.max(value[of[j]], z[j]);
      for (let j = 0; j < z.length; ++j) z[j] = value[of[j]];
      return z;
    },
  };
};

// -- steps ----------------------------------------------------------------------------------------

// The state of a rule before its first step from x: an array a field, a list of them for a queue.
Play.start = function (rule, x) {
  const field = (value) => {
    if (Array.isArray(value)) return value.map(field);
    return value === "x" ? Float64Array.from(x) : new Float64Array(x.length).fill(value);
  };
  return Object.fromEntries(Object.entries(rule.state).map(([name, v]) => [name, field(v)]));
};

// A rule on its way over a problem. setup:
//   x0        start
//   gradient  (x, t, g) => gradient at x for step t: an array, or nothing if it was put into g
//   hyper     numbers by name in place of the rule's own; lr may be a function of t. Names that
//             the rule does not know are ignored, so that several rules can share one set.
//   over      blocks of the rule's reductions (Play.whole)
//   project   [low, high] or (x) => x, after every step
// The walker shows x, the last gradient g, the state s, the numbers h and the count t of its steps;
// h may be written to between two steps.
Play.walker = function (rule, setup) {
  const x = Float64Array.from(setup.x0), given = setup.hyper || {};
  const walker = { rule, x, g: new Float64Array(x.length), s: Play.start(rule, x), t: 0 };
  walker.h = { ...rule.hyper, ...given };
  const lr = walker.h.lr, over = setup.over || Play.whole;
  if (typeof lr === "function") walker.h.lr = lr(1);
  // The step size that AdaBound's final one goes with is the first, as in the package.
  if ("base_lr" in rule.hyper && !("base_lr" in given)) walker.h.base_lr = walker.h.lr || 1;
  walker.step = function () {
    const t = walker.t + 1;
    if (typeof lr === "function") walker.h.lr = lr(t);
    const g = setup.gradient(x, t, walker.g) || walker.g;
    if (g.length !== x.length) throw new Error(`${x.length} entries need a gradient of as many`);
    if (g !== walker.g) walker.g.set(g);
    rule.step(x, walker.g, walker.s, t, walker.h, over);
    if (setup.project) Play.project(x, setup.project);
    walker.t = t;
    return walker;
  };
  return walker;
};

Play.project = function (x, onto) {
  if (typeof onto === "function") x.set(onto(x));
  else for (let j = 0; j < x.length; ++j) x[j] = Play.clamp(x[j], onto[0], onto[1]);
};

// The iterates of a rule: setup of the walker, with the number of steps, and every to keep one in
// so many. The first is the start.
Play.run = function (rule, setup) {
  const walker = Play.walker(rule, setup), every = setup.every || 1;
  const kept = [walker.x.slice()];
  while (walker.t < setup.steps) {
    walker.step();
    if (walker.t % every === 0) kept.push(walker.x.slice());
  }
  return kept;
};

// -- random numbers -------------------------------------------------------------------------------

// Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, 2011): two words from a counter
// and a key of two words each.
Play.threefry = function (counter, key) {
  const turns = [13, 15, 26, 6, 17, 29, 16, 24];
  const k = [key[0], key[1], key[0] ^ key[1] ^ 0x1bd11bda];
  let a = (counter[0] + k[0]) | 0, b = (counter[1] + k[1]) | 0;
  for (let round = 0; round < 20; ++round) {
    const turn = turns[round % 8];
    a = (a + b) | 0;
    b = ((b << turn) | (b >>> (32 - turn))) ^ a;
    if (round % 4 === 3) {
      const i = (round + 1) / 4;
      a = (a + k[i % 3]) | 0;
      b = (b + k[(i + 1) % 3] + i) | 0;
    }
  }
  return [a >>> 0, b >>> 0];
};

// Random numbers that companion.play.draws.Draws repeats in Python. Each is a function of seed,
// stream and index alone, and index may be set: number i is the same whatever was drawn before.
Play.draws = function (seed, stream = 0) {
  const draws = { index: 0 };
  // Uniform on [0, 1), of 53 bits. Moves the index by one.
  draws.uniform = function () {
    const i = draws.index++, high = Math.floor(i / 4294967296);
    const [a, b] = Play.threefry([i >>> 0, high], [seed, stream]);
    return ((a >>> 5) * 67108864 + (b >>> 6)) / 9007199254740992;
  };
  // Standard normal, by Box and Muller's cosine of two uniforms. Moves the index by two.
  draws.normal = function () {
    const radius = Math.sqrt(-2 * Math.log(1 - draws.uniform()));
    return radius * Math.cos(2 * Math.PI * draws.uniform());
  };
  // A whole number below n. Moves the index by one.
  draws.integer = (n) => Math.floor(draws.uniform() * n);
  // 0, ..., n - 1 in random order (Fisher and Yates, from the last place to the second). Moves the
  // index by n - 1.
  draws.permutation = function (n) {
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; --i) {
      const j = draws.integer(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  };
  return draws;
};

// -- a little mathematics; matrices are arrays of rows --------------------------------------------

// n values from a to b, evenly apart.
Play.linspace = (a, b, n) =>
  Array.from({ length: n }, (_, i) => (i && i === n - 1 ? b : a + (i * (b - a)) / (n - 1 || 1)));

// n values from 10**a to 10**b, evenly apart on a logarithmic axis.
Play.logspace = (a, b, n) => Play.linspace(a, b, n).map((exponent) => Math.pow(10, exponent));

Play.sum = (values) => values.reduce((sum, value) => sum + value, 0);
Play.mean = (values) => Play.sum(values) / values.length;

// The q-quantile, between two values by their weighted mean; NaN if a value is.
Play.quantile = function (values, q) {
  const sorted = Float64Array.from(values).sort(), last = sorted.length - 1;
  if (last < 0 || Number.isNaN(sorted[last])) return NaN;
  const below = Math.floor(q * last), weight = q * last - below;
  return weight ? Play.lerp(sorted[below], sorted[below + 1], weight) : sorted[below];
};
Play.median = (values) => Play.quantile(values, 0.5);

Play.dot = function (a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; ++i) sum += a[i] * b[i];
  return sum;
};
Play.norm = (a) => Math.hypot(...a);
Play.norm1 = (a) => Play.sum(a.map(Math.abs));
// n values f(0), ..., f(n - 1).
Play.times = (n, f) => Array.from({ length: n }, (_, i) => f(i));
Play.identity = (n) => Play.times(n, (i) => Play.times(n, (j) => (i === j ? 1 : 0)));
Play.transpose = (A) => A[0].map((_, j) => A.map((row) => row[j]));
// A matrix times a vector, and times a matrix.
Play.apply = (A, x) => A.map((row) => Play.dot(row, x));
Play.matmul = function (A, B) {
  const columns = Play.transpose(B);
  return A.map((row) => columns.map((column) => Play.dot(row, column)));
};

// Eigenvalues of a symmetric matrix, ascending, and eigenvectors in the columns of vectors:
// Jacobi's rotations, sweep after sweep, until nothing is left beside the diagonal.
Play.eigh = function (A) {
  const n = A.length, a = A.map((row) => Array.from(row)), v = Play.identity(n);
  const size = Play.sum(a.map((row) => Play.dot(row, row)));
  const rest = () => Play.sum(a.map((row, i) => Play.dot(row, row) - row[i] * row[i]));
  for (let sweep = 0; sweep < 50 && rest() > 1e-30 * size; ++sweep) {
    for (let p = 0; p < n; ++p) for (let q = p + 1; q < n; ++q) rotate(a, v, p, q);
  }
  const order = a.map((_, i) => i).sort((i, j) => a[i][i] - a[j][j]);
  return { values: order.map((i) => a[i][i]), vectors: v.map((row) => order.map((i) => row[i])) };

  // Turn the plane of p and q so that a[p][q] vanishes.
  function rotate(a, v, p, q) {
    if (a[p][q] === 0) return;
    const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
    const tan = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
    const cos = 1 / Math.hypot(tan, 1), sin = tan * cos;
    const turn = (row) => {
      const [x, y] = [row[p], row[q]];
      row[p] = cos * x - sin * y;
      row[q] = sin * x + cos * y;
    };
    a.forEach(turn);
    v.forEach(turn);
    for (let j = 0; j < n; ++j) {
      const [x, y] = [a[p][j], a[q][j]];
      a[p][j] = cos * x - sin * y;
      a[q][j] = sin * x + cos * y;
    }
    a[p][q] = a[q][p] = 0;
  }
};

// exp(A): Taylor's series of A / 2**k, squared k times.
Play.expm = function (A) {
  const size = Math.max(...A.map(Play.norm1));
  const k = size > 0.5 ? Math.ceil(Math.log2(size / 0.5)) : 0;
  const small = A.map((row) => Array.from(row, (z) => z / 2 ** k));
  let sum = Play.identity(A.length), term = sum;
  for (let i = 1; i <= 16; ++i) {
    term = Play.matmul(term, small).map((row) => row.map((z) => z / i));
    sum = sum.map((row, p) => row.map((z, q) => z + term[p][q]));
  }
  for (let i = 0; i < k; ++i) sum = Play.matmul(sum, sum);
  return sum;
};

// A memory: made by the first call with a key, then kept. A key is text, or a list of numbers.
Play.memory = function () {
  const kept = new Map();
  return (key, make) => {
    const text = String(key);
    if (!kept.has(text)) kept.set(text, make());
    return kept.get(text);
  };
};

// -- gradients of toy problems --------------------------------------------------------------------

// ADOPT's toy, a row a step: the gradients k² (one time in k) and -k of several runs. A uniform
// number goes round the runs, each of which is as random as it should be; at each step the rare
// gradient comes to about one run in k.
Play.adoptToy = function (seed, k, steps, runs) {
  const draws = Play.draws(seed);
  const gradient = (luck) => (luck % 1 < 1 / k ? k * k : -k);
  return Play.times(steps, () => {
    const luck = draws.uniform();
    return Float64Array.from({ length: runs }, (_, j) => gradient(luck + j / runs));
  });
};

// -- gradients in a cycle -------------------------------------------------------------------------

// Adam's m and v, p = 0, ..., n - 1 steps after the rare gradient, where it comes once in n and the
// others are common: c + a β1^p and c² + b β2^p.
Play.amounts = function (beta1, beta2, { n, rare, common }) {
  let [sum1, sum2] = [0, 0]; // 1 + β + ... + βⁿ⁻¹, which holds at β = 1 too
  for (let p = 0; p < n; ++p) [sum1, sum2] = [sum1 * beta1 + 1, sum2 * beta2 + 1];
  return [(rare - common) / sum1, (rare * rare - common * common) / sum2];
};
Play.cycle = function (beta1, beta2, cycle) {
  let [a, b] = Play.amounts(beta1, beta2, cycle);
  const m = new Float64Array(cycle.n), v = new Float64Array(cycle.n);
  for (let p = 0; p < cycle.n; ++p, a *= beta1, b *= beta2) {
    m[p] = cycle.common + a;
    v[p] = cycle.common * cycle.common + b;
  }
  return { m, v };
};
// The sum of m / √v over a cycle, as companion.theory.cyclic_drift; for maps, without arrays.
Play.cyclicDrift = function (beta1, beta2, cycle) {
  let [a, b] = Play.amounts(beta1, beta2, cycle), drift = 0;
  const c = cycle.common;
  for (let p = 0; p < cycle.n; ++p, a *= beta1, b *= beta2) drift += (c + a) / Math.sqrt(c * c + b);
  return drift;
};

// The largest β2 at which that drift is wrong: a scan of -log10(1 - β2), then bisection. NaN if
// there is none. As companion.theory.cyclic_threshold.
Play.cyclicThreshold = function (beta1, cycle) {
  const wrong = (s) => Play.cyclicDrift(beta1, 1 - Math.pow(10, -s), cycle) <= 0;
  let k = 400;
  while (k >= 0 && !wrong(k / 50)) --k;
  if (k < 0) return NaN;
  let [low, high] = [k / 50, (k + 1) / 50];
  for (let i = 0; i < 45; ++i) {
    const middle = (low + high) / 2;
    if (wrong(middle)) low = middle;
    else high = middle;
  }
  return 1 - Math.pow(10, -low);
};

// The quadratic xᵀHx/2 of several x at once, one after the other in an array: its gradient, as a
// walker asks for it, and their losses; what is not a number is infinite.
Play.quadratic = function (H) {
  const d = H.length;
  const gradient = (x, t, g) => {
    for (let j = 0; j < x.length; ++j) {
      const row = H[j % d], from = j - (j % d);
      let sum = 0;
      for (let k = 0; k < d; ++k) sum += row[k] * x[from + k];
      g[j] = sum;
    }
  };
  const losses = (x) => {
    const g = new Float64Array(x.length), found = Array(x.length / d).fill(0);
    gradient(x, 0, g);
    for (let j = 0; j < x.length; ++j) found[Math.floor(j / d)] += (x[j] * g[j]) / 2;
    return found.map((z) => (Number.isNaN(z) ? Infinity : z));
  };
  return { gradient, losses };
};

// Λ_Φ(H), the least Σ_b d_b h_b with -D ≼ H ≼ D, where D is h_b on block b: the lower bound that
// companion.hessian.smoothness_bracket climbs, until 10 products raise it by less than 1e-6.
// labels: the block of each coordinate, every number from 0 on in use.
Play.smoothness = function (H, labels, products = 500) {
  const d = H.length, rank = 4, size = Math.max(...labels) + 1, draws = Play.draws(0);
  const flat = Float64Array.from(H.flatMap((row) => Array.from(row)));
  const roots = new Float64Array(size), norms = new Float64Array(size), found = [];
  for (const b of labels) roots[b] += 1;
  roots.forEach((count, b) => (roots[b] = Math.sqrt(count)));
  let V = Float64Array.from({ length: d * rank }, () => draws.normal()), W = new Float64Array(d * rank);
  measure();
  for (let k = 0; k < products; ++k) {
    multiply();
    [V, W] = [W, V];
    measure();
    found.push(Play.dot(roots, norms));
    if (k > 10 && found[k] <= found[k - 10] * (1 + 1e-6)) break;
  }
  return found.at(-1);

  // The norm of each block of rows of V.
  function measure() {
    norms.fill(0);
    for (let j = 0, at = 0; j < d; ++j) {
      for (let c = 0; c < rank; ++c, ++at) norms[labels[j]] += V[at] * V[at];
    }
    for (let b = 0; b < size; ++b) norms[b] = Math.sqrt(norms[b]);
  }
  // W = H V, after each block of V has taken the norm √d_b; a block of zeros stays.
  function multiply() {
    W.fill(0);
    for (let j = 0; j < d; ++j) {
      const scale = norms[labels[j]] > 0 ? roots[labels[j]] / norms[labels[j]] : 0;
      for (let i = 0; i < d; ++i) {
        const z = flat[i * d + j] * scale;
        for (let c = 0; c < rank; ++c) W[i * rank + c] += z * V[j * rank + c];
      }
    }
  }
};
