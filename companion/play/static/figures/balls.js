"use strict";
// Colour balls: momentum against the sum of gradients, in two games of drawing from a box.

(() => {
  const AT = [1, 2, 3, 4, 5, 6];
  const [EPOCHS, GAMES, BINS] = [6, 1000, 41];
  const ORDERS = ["reshuffled", "with replacement"];

  // What the games draw: a row a draw, with a ball for each game. No label changes it: kept.
  const once = Play.memory();
  const drawn = (n, seed) => once([n, seed], () => ORDERS.map((order) => sample(order, n, seed)));
  const sample = (order, n, seed) => {
    const draws = Play.draws(seed, ORDERS.indexOf(order));
    const rows = Play.times(EPOCHS * n, () => new Uint8Array(GAMES));
    for (let game = 0; game < GAMES; ++game) {
      for (let first = 0; first < EPOCHS * n; first += n) {
        const epoch = order === "reshuffled" ? draws.permutation(n)
          : Play.times(n, () => draws.integer(n));
        epoch.forEach((ball, i) => (rows[first + i][game] = ball));
      }
    }
    return rows;
  };

  // All games at once: one coordinate of SGD with momentum each, whose gradient is the label.
  const play = (rows, c, v) => {
    const walker = Play.walker(Play.rules.Momentum, {
      x0: new Float64Array(GAMES),
      gradient: (x, t) => Float64Array.from(rows[t - 1], (ball) => c[ball]),
      hyper: { lr: 0, momentum: v.beta1 },
    });
    const [m, sums] = [[], []];
    for (let k = 1; k <= EPOCHS; ++k) {
      const sum = new Float64Array(GAMES).fill(-gradients(c, v.beta1, k));
      for (let i = 0; i < c.length; ++i) {
        walker.step().s.m.forEach((z, game) => (sum[game] += z));
        m.push(walker.s.m[0]);
      }
      sums.push(sum);
    }
    return { m, sums, mean: sums.map(Play.mean), std: sums.map(deviation) };
  };
  const deviation = (z) => {
    const mean = Play.mean(z);
    return Math.sqrt(Play.mean(z.map((y) => (y - mean) ** 2)));
  };

  const gradients = (c, beta, k) => // Σ f of k epochs
    Play.sum(c) * Play.sum(Play.times(c.length * k, (j) => beta ** j));
  // The lemma: the expectation of Σ m − Σ f after k epochs.
  const lemma = (c, beta, k) =>
    -Play.mean(c) * beta ** (c.length * (k - 1)) * Play.sum(c.map((_, s) => s * beta ** s));

  // The outline of a histogram from −end to end.
  const outline = (z, end) => {
    const counts = new Array(BINS).fill(0);
    for (const y of z) {
      const i = Math.floor((BINS * (y + end)) / (2 * end));
      if (i in counts) counts[i] += 1 / GAMES;
    }
    const edge = (i) => -end + (2 * end * i) / BINS;
    return [counts.flatMap((_, i) => [edge(i), edge(i + 1)]), counts.flatMap((z) => [z, z])];
  };

  Play.define("balls", {
    title: "Colour balls: momentum against the sum of gradients",
    controls: [
      { id: "n", label: "balls n", min: 2, max: 5, step: 1, value: 2 },
      { id: "c0", label: "label c₀", min: -5, max: 5, step: 0.5, value: 1 },
      { id: "c1", label: "other labels", min: -5, max: 5, step: 0.5, value: -3 },
      { id: "beta1", label: "β₁", min: 0, max: 0.95, step: 0.05, value: 0.8 },
      { id: "again", label: "New draws", button: (v) => ({ seed: v.seed + 1 }) },
    ],
    values: { seed: 0 },
    steps: (v) => EPOCHS * v.n,
    panels: [
      { id: "game", title: "One game of each kind", y: [-0.7, 1.9], yticks: [], xlabel: "draw",
        wide: true, height: 0.27,
        alt: "Balls as they are drawn, in two rows; old ones shrink." },
      { id: "error", title: `Mean error, ${GAMES} games`, height: 0.7, x: [0.6, EPOCHS + 0.4],
        xticks: AT, xlabel: "epochs k", ylabel: "Σ m − Σ f",
        alt: "Mean error after each epoch for both kinds, and the line of the lemma." },
      { id: "spread", title: "All games", height: 0.7, xlabel: "Σ m − Σ f of one game",
        ylabel: "share of games", alt: "Histograms of the error, both kinds." },
    ],
    compute(v) {
      const c = Play.times(v.n, (i) => (i ? v.c1 : v.c0));
      const rows = drawn(v.n, v.seed);
      const games = rows.map((z) => play(z, c, v));
      return { rows, games, lemma: AT.map((k) => lemma(c, v.beta1, k)) };
    },
    say(r, v) {
      const k = Math.floor(v.step / v.n);
      if (!k) return `Draw ${v.step}: no epoch of ${v.n} is over yet.`;
      const word = (z) => Play.format(Math.abs(z[k - 1]) < 1e-12 ? 0 : z[k - 1]);
      const each = r.games.map(({ mean, std }, i) =>
        `${word(mean)} ${ORDERS[i]} (standard deviation ${word(std)})`);
      return `After draw ${v.step}, epoch ${k} over: Σ m − Σ f has the mean ${each.join(" and ")}. ` +
        `The lemma says ${word(r.lemma)} for both.`;
    },
    draw(r, v, { game, error, spread }) {
      game.range([0.3, EPOCHS * v.n + 0.7], game.y);
      for (let k = 1; k < EPOCHS; ++k) game.vline(k * v.n + 0.5, { alpha: 0.3 });
      const size = Math.min(14, (0.4 * game.width) / (EPOCHS * v.n));
      r.rows.forEach((rows, row) => {
        for (let i = 0; i < v.step; ++i) {
          const [y, colour, label] = rows[i][0] ? [0.9, 3, "others"] : [1.1, 2, "c₀"];
          const radius = 1.5 + size * v.beta1 ** ((v.step - 1 - i) / 2);
          game.dots([i + 1], [y - row], { colour, label, radius });
        }
        const m = Play.format(v.step && r.games[row].m[v.step - 1]);
        game.text(0.6, 1.5 - row, `${ORDERS[row]}: m = ${m}`);
      });

      const k = Math.floor(v.step / v.n);
      const bars = r.games.map(({ mean, std }) =>
        mean.map((z, i) => [-2, 2].map((s) => z + (s * std[i]) / Math.sqrt(GAMES))));
      const all = [...bars.flat(2), ...r.lemma];
      error.range(error.x, [1.1 * Math.min(...all, -0.1), 1.1 * Math.max(...all, 0.1)]);
      error.hline(0);
      error.line(AT, r.lemma, { label: "the lemma", dash: "2 3" });
      if (!k) return;
      const end = Math.max(0.1, 2 * Math.abs(r.lemma[0]), 4.5 * r.games[1].std[EPOCHS - 1]);
      const outlines = r.games.map(({ sums }) => outline(sums[k - 1], end));
      spread.range([-end, end], [0, 1.1 * Math.max(...outlines.flatMap((z) => z[1]))]);
      r.games.forEach(({ mean }, row) => {
        const o = { colour: row, label: ORDERS[row], width: 2.5 };
        for (let i = 0; i < k; ++i) {
          const x = i + 0.92 + 0.16 * row;
          error.line([x, x], bars[row][i], o);
          error.dots([x], [mean[i]], { colour: row, radius: 4 });
        }
        spread.line(...outlines[row], o);
      });
      spread.vline(r.lemma[k - 1], { label: "the lemma", dash: "2 3" });
    },
  });
})();
