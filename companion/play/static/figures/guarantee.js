"use strict";
// One step of gradient descent and one of sign descent from the same loss: promised and kept.

(() => {
  const DIRECTIONS = Play.times(181, (i) => i); // of the gradient, in degrees
  const NAMES = { SGD: "GD", SignSGD: "SignGD" };

  // A rounded zero would have a sign.
  const unit = (degrees) =>
    [Math.cos, Math.sin].map((f) => f((degrees * Math.PI) / 180)).map((z) => (Math.abs(z) < 1e-12 ? 0 : z));
  // H of a valley with curvatures 1 and κ, whose floor is tilted by an angle.
  const hessian = (kappa, tilt) => {
    const [c, s] = unit(tilt);
    const across = (1 - kappa) * c * s;
    return [[c * c + kappa * s * s, across], [across, s * s + kappa * c * c]];
  };
  const loss = (H, x) => Play.dot(x, Play.apply(H, x)) / 2;

  // The place x of loss one where the gradient g has this direction.
  const place = (H, degrees) => {
    const [[a, b], [, d]] = H;
    const g = unit(degrees), det = a * d - b * b;
    const x = [(d * g[0] - b * g[1]) / det, (a * g[1] - b * g[0]) / det];
    const size = Math.sqrt(loss(H, x));
    return [x, g].map((z) => z.map((entry) => entry / size));
  };

  // Both steps s⋆/K from there, each with its guarantee ‖g‖∗²/(2K) and the true decrease.
  const compare = (H, L, degrees) => {
    const [x, g] = place(H, degrees);
    const dual = { SGD: Play.norm(g), SignSGD: Play.norm1(g) };
    const steps = {};
    for (const name of Object.keys(NAMES)) {
      const lr = name === "SGD" ? 1 / L[name] : dual[name] / L[name];
      const setup = { x0: x, gradient: () => g, steps: 1, hyper: { lr } };
      const end = [...Play.run(Play.rules[name], setup)[1]];
      steps[name] = { end, promised: dual[name] ** 2 / (2 * L[name]), kept: 1 - loss(H, end) };
    }
    const { SGD: slow, SignSGD: sign } = steps;
    const density = (dual.SignSGD / dual.SGD) ** 2 / 2;
    return { x, steps, density, promised: sign.promised / slow.promised, kept: sign.kept / slow.kept };
  };

  Play.define("guarantee", {
    title: "Guarantees: sign descent against gradient descent, one step",
    controls: [
      { id: "tilt", label: "tilt of the valley", min: 0, max: 90, step: 1, value: 17, unit: "°" },
      { id: "kappa", label: "κ, curvature of the walls", min: 1, max: 100, value: 8, log: true },
    ],
    points: [{ id: "direction", panel: "ratio", label: "direction of the gradient, degrees", value: [120, 0],
      x: [0, 180], snap: ([a]) => [Math.round(a), 0],
      at: ({ all }, v) => [v.direction[0], all[v.direction[0]].promised] }],
    panels: [
      { id: "valley", alt: "A valley, a place in it, and the two steps from there.", x: [-1.5, 1.5],
        y: [-1.5, 1.5], equal: true, height: 0.9, xlabel: "x₁", ylabel: "x₂" },
      { id: "ratio", alt: "Decrease by SignGD over that by GD, promised and true, against the gradient's direction.",
        x: [0, 180], xticks: [0, 45, 90, 135, 180], height: 0.9, xlabel: "direction of g, degrees",
        ylabel: "decrease: SignGD over GD" },
    ],
    compute(v) {
      const H = hessian(v.kappa, v.tilt);
      const [[a, b], [, d]] = H;
      const L = { SGD: Math.max(1, v.kappa), SignSGD: a + d + 2 * Math.abs(b) };
      const all = DIRECTIONS.map((degrees) => compare(H, L, degrees));
      return { H, L, all, now: all[v.direction[0]] };
    },
    say({ L, now }, v) {
      const f = Play.format;
      const said = Object.entries(now.steps).map(([name, z]) =>
        `${NAMES[name]} promises to remove ${f(z.promised)} and removes ${f(z.kept)}`);
      return `Gradient at ${v.direction[0]}°, valley tilted by ${v.tilt}°: L₂ = ${f(L.SGD)}, L∞ = ${f(L.SignSGD)}, ` +
        `density ${f(now.density)}. Of a loss of 1, ${said.join("; ")}. ` +
        `The promises have the ratio ${f(now.promised)}, the decreases ${f(now.kept)}.`;
    },
    draw({ H, all, now }, v, { valley, ratio }) {
      valley.contours((a, b) => loss(H, [a, b]), [0.02, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16]);
      valley.text(0, 0, "★", { anchor: "middle", dy: 5 });
      valley.dots([now.x[0]], [now.x[1]], { radius: 5 });
      for (const [colour, { end }] of Object.entries(now.steps)) {
        valley.arrow(...now.x, ...end, { colour, dash: "", width: 3, label: NAMES[colour] });
      }
      const high = Math.max(...all.map((z) => Math.max(z.promised, z.kept)));
      ratio.range([0, 180], [0, 1.1 * high]);
      ratio.hline(1);
      ratio.vline(v.direction[0]);
      ratio.line(DIRECTIONS, all.map((z) => z.promised), { colour: 0, label: "promised" });
      ratio.line(DIRECTIONS, all.map((z) => z.kept), { colour: 3, dash: "5 3", label: "true" });
    },
  });
})();
