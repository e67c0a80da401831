"use strict";
// Hinton's example: n - 1 gradients of one sign and a rare, large one of the other in each cycle.

(() => {
  const COMMON = 0.1;
  const CYCLES = 50;
  const NAMES = ["SGD", "SignSGD", "RMSprop"];
  const rareOf = (v) => v.n * v.mean - (v.n - 1) * COMMON;

  // The place of the rare gradient in each cycle: the first, or one drawn at random.
  const places = (v) => {
    const draws = Play.draws(v.seed);
    return Play.times(CYCLES, () => (v.shuffled ? draws.integer(v.n) : 0));
  };

  Play.define("rprop", {
    title: "Hinton's gradients: a drift out of nothing",
    controls: [
      { id: "alpha", label: "RMSprop α", min: 0, max: 0.999, value: 0.9, toOne: true },
      { id: "n", label: "cycle length n", min: 3, max: 30, step: 1, value: 10 },
      { id: "mean", label: "mean of g", min: -0.05, max: 0.05, step: 0.005, value: 0 },
      { id: "shuffled", label: "shuffled", value: false },
      { id: "again", label: "New places", button: (v) => ({ seed: v.seed + 1, shuffled: true }) },
    ],
    values: { seed: 0 },
    panels: [
      { id: "track", alt: "The weight against the gradients seen, a line for each rule.",
        height: 0.75, xlabel: "gradients seen", title: "weight / step size η" },
      { id: "cycle", alt: "The steps of one cycle: of signs, and of RMSprop.", height: 0.75,
        xlabel: "gradient of the last cycle", title: "step / step size η" },
    ],
    compute(v) {
      const [rare, place] = [rareOf(v), places(v)];
      const gradient = (x, t) => {
        const now = (t - 1) % v.n === place[Math.floor((t - 1) / v.n)];
        return [now ? rare : COMMON];
      };
      const ways = Object.fromEntries(NAMES.map((name) => [name, Play.run(Play.rules[name], {
        x0: [0], gradient, steps: CYCLES * v.n, hyper: { lr: 1, alpha: v.alpha },
      }).map((x) => x[0])]));
      const ends = (way) => [way[way.length - 1], way[(CYCLES / 2) * v.n]];
      const walked = NAMES.map((name) => {
        const [end, half] = ends(ways[name]);
        return (2 * (end - half)) / CYCLES; // a cycle, over the second half
      });
      const exact = -Play.cyclicDrift(0, v.alpha, { n: v.n, rare, common: COMMON });
      return { rare, ways, walked, exact };
    },
    say({ rare, walked, exact }, v) {
      const f = (z) => Play.format(Math.abs(z) < 1e-6 ? 0 : z);
      const [sgd, sign, rms] = walked.map(f);
      const memory = Math.round(1 / (1 - v.alpha));
      const steady = v.shuffled ? "" : `, and ${f(exact)} in the long run`;
      return `${v.n - 1} gradients of 0.1 and one of ${f(rare)}. In units of η, such a cycle ` +
        `moves SGD by ${sgd}, sign descent by ${sign}, and RMSprop with a memory of ` +
        `${memory} steps by ${rms}${steady}.`;
    },
    draw({ ways }, v, { track, cycle }) {
      const last = CYCLES * v.n;
      const all = NAMES.flatMap((name) => ways[name]);
      const [low, high] = [Math.min(-1, ...all), Math.max(1, ...all)];
      const room = (high - low) / 20;
      track.range([0, last], [low - room, high + room]);
      for (const name of NAMES) {
        track.line(ways[name].map((_, t) => t), ways[name], { colour: name, label: name });
      }
      const steps = (name) => Play.times(v.n, (i) => {
        const at = last - v.n + i;
        return ways[name][at + 1] - ways[name][at];
      });
      const shown = { SignSGD: steps("SignSGD"), RMSprop: steps("RMSprop") };
      const size = 1.1 * Math.max(...Object.values(shown).flat().map(Math.abs));
      cycle.range([0.5, v.n + 0.5], [-size, size]);
      cycle.hline(0, { dash: "" });
      Object.entries(shown).forEach(([name, heights], k) => {
        const at = heights.map((_, i) => i + 0.8 + 0.4 * k);
        cycle.bars(at, heights, 0.38, { colour: name, label: name });
      });
    },
  });
})();
