"use strict";
// A playable figure says what it computes (no DOM there), what it says of it, and what it draws:
//
//   Play.define("name", {
//     title: "…",                         // what a screen reader calls the figure
//     controls: [
//       { id: "lr", label: "step size α", min: 0.001, max: 1, value: 0.1, log: true },
//       { id: "beta2", label: "β₂", min: 0, max: 0.9999, value: 0.9, toOne: true },  // finer there
//       { id: "n", label: "terms n", min: 2, max: 50, step: 1, value: 10, unit: "" },
//       { id: "rule", label: "rule", options: ["Adam", "ADOPT"], value: "Adam",
//         also: (name) => ({ … }) },                        // values that the choice brings along
//       { id: "clip", label: "clip", value: true, group: "…" },  // a checkbox, with others or not
//       { id: "draw", label: "New draws", button: (v) => ({ seed: v.seed + 1 }) },
//     ],
//     values: { seed: 0 },                // values without a control
//     points: [{ id: "start", panel: "plane", label: "start", value: [-4, 1] }],
//     // a point may say where it is drawn, such as on a curve: at: (r, v) => [x, y]
//     // or be two values that have controls too, of: ["lr", "n"]; and say what the arrow keys make
//     // of it, keys: ([lr, n], right, up, shift) => [lr, n]
//     steps: (v) => 60,                   // adds play, step, reset and a slider: v.step
//     panels: [{ id: "plane", alt: "…", x: [-5, 3], y: [-2, 2], xlabel: "x₁", ylabel: "x₂",
//                height: 0.6, wide: true }],              // wide: a row of its own
//     press: { plane: (x, y, v) => ({ … }) },                // a click changes values
//     compute(v, data) { return r; },     // from all values but v.step; data is the cell's
//     say(r, v) { return "After …"; },    // the state in words, with its numbers
//     draw(r, v, panels) { panels.plane.line(xs, ys, { colour: "Adam" }); },
//   });

(() => {
  const figures = (Play.figures = Play.figures || {});

  Play.define = (name, figure) => {
    figures[name] = figure;
  };

  // Numbers in words: three significant digits, or as many as are asked for.
  Play.format = (x, digits = 3) => {
    if (!Number.isFinite(x)) return Number.isNaN(x) ? "not a number" : x > 0 ? "∞" : "−∞";
    const size = Math.abs(x);
    const text =
      size !== 0 && (size < 1e-4 || size >= 1e6)
        ? x.toExponential(digits - 1).replace("e+", "e")
        : String(Number(x.toPrecision(digits)));
    return text.replace(/-/g, "−");
  };

  // Digits that tell a number below one from one, for Play.format.
  Play.digitsToOne = (x) => Math.max(3, x < 1 ? 2 - Math.ceil(Math.log10(1 - x) - 1e-6) : 3);

  // The value of a figure before anybody has touched it, over it those that a cell or a link gives.
  Play.values = (figure, given = {}) => {
    const values = { ...(figure.values || {}) };
    for (const c of figure.controls || []) {
      if (c.id in values) throw new Error(`two values are called ${c.id}`);
      if (!c.button) values[c.id] = c.value;
    }
    for (const p of figure.points || []) if (!p.of) values[p.id] = p.value.slice();
    if (figure.steps) values.step = Infinity;
    for (const [key, value] of Object.entries(given)) {
      if (!(key in values)) throw new Error(`no value is called ${key}`);
      values[key] = value;
    }
    if (figure.steps) values.step = Math.min(values.step, figure.steps(values));
    return values;
  };
})();
