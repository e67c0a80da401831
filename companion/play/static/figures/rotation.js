"use strict";
// One valley in axes that are turned: which rules notice?

(() => {
  const RULES = ["SGD", "AdaSGD", "Adam", "SignSGD"];
  const STEPS = 40;
  const ANGLES = Play.times(91, (i) => i); // degrees
  const START = [-2, 1.2]; // in native axes
  const NATIVE = "the valley's own axes";

  // x → R x, by an angle in degrees; −θ gives Rᵀ x.
  const turn = (degrees) => {
    const theta = (degrees * Math.PI) / 180, [c, s] = [Math.cos(theta), Math.sin(theta)];
    return ([a, b]) => [c * a - s * b, s * a + c * b];
  };
  const valley = (kappa) => ([a, b]) => (a * a + kappa * b * b) / 2;

  // A rule's run on L(R x′) from Rᵀ x₀, in its own coordinates x′, where the Hessian is Rᵀ H R.
  const run = (name, degrees, v) => {
    const back = turn(-degrees);
    const [c, s] = turn(degrees)([1, 0]);
    const [p, q, r] = [c * c + v.kappa * s * s, (v.kappa - 1) * c * s, s * s + v.kappa * c * c];
    return Play.run(Play.rules[name], {
      x0: back(START),
      gradient: (x, t, g) => {
        g[0] = p * x[0] + q * x[1];
        g[1] = q * x[0] + r * x[1];
      },
      steps: STEPS,
      hyper: { lr: name === "SGD" ? v.slow : v.fast, beta1: 0.5, beta2: v.beta2 },
    });
  };

  // A rule's runs at all angles, and how far v's is from the native one.
  const compare = (name, v) => {
    const angle = v.angle[0];
    const ways = ANGLES.map((degrees) => run(name, degrees, v));
    const losses = ways.map((way, i) => way.map(turn(i)).map(valley(v.kappa)));
    const [back, native] = [ways[angle].map(turn(angle)), ways[0].map((x) => [...x])];
    const most = (f) => {
      let z = 0;
      return native.map((x, t) => (z = Math.max(z, Play.norm(f(x, back[t])))));
    };
    const sizes = most((x) => x);
    const gaps = most(([a, b], [c, d]) => [a - c, b - d]);
    return { way: ways[angle], native, losses, gaps, sizes };
  };

  // The point rides on the curve of a rule that notices, if there is one.
  const onCurve = ({ of, range }, { angle, step }) => {
    const carrier = of.Adam || of.SignSGD || Object.values(of)[0];
    return [angle[0], carrier ? Play.clamp(carrier.losses[angle[0]][step], ...range) : range[0]];
  };

  const words = (name, { losses, gaps, sizes }, { angle, step }) => {
    const now = losses.map((z) => z[step]);
    const [low, high] = [Math.min(...now), Math.max(...now)];
    const flat = high - low < 1e-4 * high;
    const range = `, between ${Play.format(low)} and ${Play.format(high)} over the angles`;
    const share = gaps[step] / sizes[step];
    const path = share < 1e-4
      ? `its path is the native one${share ? ` up to ${Play.format(share, 1)} of its size` : ""}`
      : `its path leaves the native one by ${Play.format(gaps[step], 2)}`;
    return `${name}: loss ${Play.format(now[angle[0]])}${flat ? " at every angle" : range}; ${path}`;
  };

  Play.define("rotation", {
    title: "Rotation: one valley in turned axes",
    controls: [
      { id: "view", label: "seen in", options: ["the turned axes", NATIVE], value: "the turned axes" },
      { id: "kappa", label: "κ, curvature of the walls", min: 1, max: 100, value: 25, log: true },
      { id: "slow", label: "step size of SGD", min: 1e-3, max: 0.2, value: 0.06, log: true },
      { id: "fast", label: "step size of the others", min: 1e-3, max: 1, value: 0.15, log: true },
      { id: "beta2", label: "β₂", min: 0, max: 0.999, step: 0.001, value: 0.9 },
      ...RULES.map((name) => ({ id: name, label: name, value: name !== "SignSGD" })),
    ],
    points: [{ id: "angle", panel: "loss", label: "angle of the axes in degrees", value: [35, 0],
      x: [0, 90], snap: ([a]) => [Math.round(a), 0], at: onCurve }],
    steps: () => STEPS,
    panels: [
      { id: "plane", alt: "The valley with the rules' paths, each over a wide pale line, its native path.",
        x: [-2.6, 2.1], y: [-1.4, 2.6], equal: true, height: 0.9 },
      { id: "loss", alt: "Loss against the angle of the axes, a curve for each rule.", x: [0, 90],
        xticks: [0, 15, 30, 45, 60, 75, 90], ylog: true, height: 0.9, xlabel: "angle θ, degrees", ylabel: "loss" },
    ],
    compute(v) {
      const of = Object.fromEntries(RULES.filter((name) => v[name]).map((name) => [name, compare(name, v)]));
      const all = Object.values(of).flatMap((z) => z.losses.flat());
      const [low, high] = [Math.min(...all, 1) / 2, 2 * Math.max(...all, 25)];
      return { of, range: [Math.max(1e-12, low), Math.min(1e4, high)] };
    },
    say({ of }, v) {
      const said = Object.entries(of).map(([name, z]) => words(name, z, v));
      return `Axes turned by ${v.angle[0]}°, after ${v.step} steps. ${said.join(". ") || "Choose a rule"}.`;
    },
    draw({ of, range }, v, { plane, loss }) {
      const [degrees, f, native] = [v.angle[0], valley(v.kappa), v.view === NATIVE];
      const [to, back, rules] = [turn(degrees), turn(-degrees), Object.entries(of)];
      [plane.spec.xlabel, plane.spec.ylabel] = native ? ["x₁", "x₂"] : ["x′₁", "x′₂"];
      plane.contours((a, b) => f(native ? [a, b] : to([a, b])), Play.logspace(-2, 2.5, 8));
      plane.text(0, 0, "★", { anchor: "middle", dy: 5 });
      if (native) {
        [to([0.6, 0]), to([0, 0.6])].forEach(([a, b], i) => {
          plane.arrow(1.2, 1.6, 1.2 + a, 1.6 + b, { width: 1.5 });
          plane.text(1.2 + 1.3 * a, 1.6 + 1.3 * b, ["x′₁", "x′₂"][i], { anchor: "middle", dy: 4 });
        });
      }
      loss.range([0, 90], range);
      loss.vline(degrees);
      plane.line([], [], { label: "wide, pale: the native path", alpha: 0.3 });
      for (const [colour, z] of rules) {
        const pale = Play.transpose(z.native.slice(0, v.step + 1).map(native ? (x) => x : back));
        plane.line(...pale, { colour, dash: "", width: 8, alpha: 0.25 });
      }
      for (const [name, z] of rules) {
        plane.way(z.way.slice(0, v.step + 1).map(native ? to : (x) => x), { colour: name });
        loss.line(ANGLES, z.losses.map((y) => Play.clamp(y[v.step], ...range)), { colour: name, label: name });
      }
    },
  });
})();
