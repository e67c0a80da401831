"use strict";
// The stage of playable figures: axes and curves, controls, draggable points, and the element that
// joins them. What a figure is made of stands in figure.js.

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const MARGIN = { left: 50, right: 12, top: 10, bottom: 40 };

  // ---------------------------------------------------------------- colours

  const PALETTE = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9"];
  const MAPS = {
    sequential: ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"],
    diverging: ["#2166ac", "#92c5de", "#f7f7f7", "#f4a582", "#b2182b"],
  };
  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const STOPS = Object.fromEntries(Object.entries(MAPS).map(([k, v]) => [k, v.map(channels)]));

  // A rule's own colour and dashes, those of the book's figures; a number counts the palette, a
  // colour of CSS is itself, and a rule of the reader's own gets one of the palette by its name.
  const look = (name = "currentColor") => {
    if (name in Play.looks) return Play.looks[name];
    if (typeof name === "string" && CSS.supports("color", name)) return { colour: name, dash: "" };
    const number = [...String(name)].reduce((sum, c) => sum + c.charCodeAt(0), 0);
    return { colour: PALETTE[(typeof name === "number" ? name : number) % PALETTE.length], dash: "" };
  };
  const mix = (map, share) => {
    const stops = STOPS[map];
    if (Number.isNaN(share)) return [128, 128, 128];
    const at = Play.clamp(share, 0, 1) * (stops.length - 1);
    const i = Math.min(stops.length - 2, Math.floor(at));
    return stops[i].map((z, k) => Math.round(z + (at - i) * (stops[i + 1][k] - z)));
  };

  // ---------------------------------------------------------------- axes

  const ticks = ([low, high], log, count = 5) => {
    if (log) {
      const from = Math.ceil(Math.log10(low) - 1e-9);
      const to = Math.floor(Math.log10(high) + 1e-9);
      const every = Math.max(1, Math.ceil((to - from) / count));
      const found = [];
      for (let k = from; k <= to; k += every) found.push(10 ** k);
      if (found.length > 1) return found;
    }
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((z) => z * power >= rough * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; ++k) {
      found.push(Number((k * step).toPrecision(12)));
    }
    return found;
  };
  const SUPER = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷" };
  Object.assign(SUPER, { 8: "⁸", 9: "⁹" });
  const tickText = (z, log) => {
    const size = Math.abs(z);
    if (size && (size >= 1e4 || size < 1e-3 || (log && (size >= 1e3 || size < 0.01)))) {
      const power = Math.floor(Math.log10(size) + 1e-9);
      const lead = Number((z / 10 ** power).toPrecision(3));
      const digits = String(power).replace(/./g, (c) => SUPER[c]);
      return (lead === 1 ? "" : `${lead}·`) + `10${digits}`;
    }
    return String(Number(z.toPrecision(6))).replace("-", "−");
  };
  const escape = (text) =>
    String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  // One pair of axes. Everything is drawn anew at each change, by strings of SVG.
  class Panel {
    constructor(spec, root) {
      this.spec = spec;
      this.box = document.createElement("div");
      this.box.className = spec.wide ? "play-panel play-wide" : "play-panel";
      this.box.innerHTML = `${spec.title ? `<div class="play-title">${escape(spec.title)}</div>` : ""}
        <div class="play-plot"><canvas aria-hidden="true"></canvas></div>
        <div class="play-legend"></div>`;
      this.canvas = this.box.querySelector("canvas");
      this.legendBox = this.box.querySelector(".play-legend");
      this.svg = document.createElementNS(SVG, "svg");
      this.svg.setAttribute("role", spec.handles ? "group" : "img");
      this.svg.setAttribute("aria-label", spec.alt);
      this.axes = document.createElementNS(SVG, "g");
      this.marks = document.createElementNS(SVG, "g");
      this.handles = document.createElementNS(SVG, "g");
      this.clip = `play-clip-${(Panel.count = (Panel.count || 0) + 1)}`;
      this.svg.append(this.axes, this.marks, this.handles);
      this.box.querySelector(".play-plot").append(this.svg);
      root.append(this.box);
    }

    begin() {
      const spec = this.spec;
      this.width = Math.max(200, this.box.clientWidth);
      this.height = Math.max(150, Math.round(this.width * (spec.height || 0.62)));
      this.inner = {
        x0: spec.bare ? 4 : MARGIN.left,
        x1: this.width - (spec.bare ? 4 : MARGIN.right),
        y0: this.height - (spec.bare ? 4 : MARGIN.bottom),
        y1: spec.bare ? 4 : MARGIN.top,
      };
      this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      this.svg.style.height = `${this.height}px`;
      this.out = [];
      this.keys = [];
      this.scaleBar = "";
      this.range(spec.x || [0, 1], spec.y || [0, 1]);
      this.canvas.width = 0;
    }

    // Set the ends of the axes; `equal` panels widen one so that circles are round.
    range(x, y) {
      this.x = x.slice();
      this.y = y.slice();
      if (!this.spec.equal) return;
      const { x0, x1, y0, y1 } = this.inner;
      const unit = Math.max((x[1] - x[0]) / (x1 - x0), (y[1] - y[0]) / (y0 - y1));
      const [cx, cy] = [(x[0] + x[1]) / 2, (y[0] + y[1]) / 2];
      this.x = [cx - (unit * (x1 - x0)) / 2, cx + (unit * (x1 - x0)) / 2];
      this.y = [cy - (unit * (y0 - y1)) / 2, cy + (unit * (y0 - y1)) / 2];
    }

    // From data to pixels and back.
    px(x) {
      const { x0, x1 } = this.inner;
      return x0 + (x1 - x0) * Panel.share(x, this.x, this.spec.xlog);
    }
    py(y) {
      const { y0, y1 } = this.inner;
      return y0 + (y1 - y0) * Panel.share(y, this.y, this.spec.ylog);
    }
    at(px, py) {
      const { x0, x1, y0, y1 } = this.inner;
      return [
        Panel.value((px - x0) / (x1 - x0), this.x, this.spec.xlog),
        Panel.value((py - y0) / (y1 - y0), this.y, this.spec.ylog),
      ];
    }
    static share(z, [a, b], log) {
      return log ? Math.log(z / a) / Math.log(b / a) : (z - a) / (b - a);
    }
    static value(share, [a, b], log) {
      const s = Play.clamp(share, 0, 1);
      return log ? a * (b / a) ** s : a + s * (b - a);
    }

    style(o) {
      const from = look(o.colour);
      const dash = o.dash === undefined ? from.dash : o.dash;
      return `stroke="${from.colour}" stroke-width="${o.width || 2}" fill="none"` +
        `${dash ? ` stroke-dasharray="${dash}"` : ""} opacity="${o.alpha === undefined ? 1 : o.alpha}"`;
    }
    key(o, shape) {
      if (!o.label || this.keys.some((k) => k.label === o.label)) return;
      this.keys.push({ label: o.label, shape, ...look(o.colour), ...(o.dash ? { dash: o.dash } : {}) });
    }
    // A path through points; what is not finite, or far outside, breaks it.
    path(xs, ys) {
      let text = "";
      let pen = false;
      for (let i = 0; i < xs.length; ++i) {
        const [a, b] = [this.px(xs[i]), this.py(ys[i])];
        if (!(Math.abs(a) < 1e5 && Math.abs(b) < 1e5)) {
          pen = false;
          continue;
        }
        text += `${pen ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`;
        pen = true;
      }
      return text;
    }

    line(xs, ys, o = {}) {
      this.key(o, "line");
      this.out.push(`<path d="${this.path(xs, ys)}" ${this.style(o)} stroke-linejoin="round"/>`);
    }
    dots(xs, ys, o = {}) {
      this.key(o, "dot");
      // One path for all: strokes of no length, with round ends.
      let d = "";
      for (let i = 0; i < xs.length; ++i) {
        const [a, b] = [this.px(xs[i]), this.py(ys[i])];
        if (Math.abs(a) < 1e4 && Math.abs(b) < 1e4) d += `M${a.toFixed(1)} ${b.toFixed(1)}h0`;
      }
      const width = 2 * (o.radius || 2.5);
      this.out.push(`<path d="${d}" ${this.style({ ...o, width, dash: "" })} stroke-linecap="round"/>`);
    }
    // An iterate's way in the plane: a line with a dot a step, and a large dot at its end.
    way(points, o = {}) {
      const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
      this.line(xs, ys, { width: 1.5, ...o });
      this.dots(xs, ys, { ...o, label: "", radius: 2 });
      this.dots(xs.slice(-1), ys.slice(-1), { ...o, label: "", radius: 5 });
    }
    // A polygon, filled.
    area(xs, ys, o = {}) {
      this.key(o, "area");
      const { colour } = look(o.colour);
      this.out.push(`<path d="${this.path(xs, ys)}Z" fill="${colour}" opacity="${o.alpha || 0.2}"/>`);
    }
    band(xs, low, high, o = {}) {
      this.area([...xs, ...[...xs].reverse()], [...low, ...[...high].reverse()], o);
    }
    bars(xs, heights, width, o = {}) {
      this.key(o, "area");
      const { colour } = look(o.colour);
      const zero = this.py(Play.clamp(0, ...this.y));
      for (let i = 0; i < xs.length; ++i) {
        const [a, b, top] = [this.px(xs[i] - width / 2), this.px(xs[i] + width / 2), this.py(heights[i])];
        this.out.push(`<rect x="${a}" y="${Math.min(top, zero)}" width="${Math.max(0, b - a)}"
          height="${Math.abs(top - zero) || 0}" fill="${colour}" opacity="${o.alpha || 0.85}"/>`);
      }
    }
    arrow(x0, y0, x1, y1, o = {}) {
      this.key(o, "line");
      const [a, b, c, d] = [this.px(x0), this.py(y0), this.px(x1), this.py(y1)];
      const angle = Math.atan2(d - b, c - a);
      const tip = (turn) => `${c - 9 * Math.cos(angle + turn)} ${d - 9 * Math.sin(angle + turn)}`;
      this.out.push(`<path d="M${a} ${b}L${c} ${d}M${tip(0.45)}L${c} ${d}L${tip(-0.45)}" ${this.style(o)}/>`);
    }
    hline(y, o = {}) {
      this.line(this.x, [y, y], { width: 1, dash: "4 3", ...o });
    }
    vline(x, o = {}) {
      this.line([x, x], this.y, { width: 1, dash: "4 3", ...o });
    }
    // Words at a point; `halo` sets them off from a picture behind them.
    text(x, y, words, o = {}) {
      this.out.push(`<text x="${this.px(x) + (o.dx || 0)}" y="${this.py(y) + (o.dy || 0)}"
        text-anchor="${o.anchor || "start"}" class="${o.halo ? "play-halo" : ""}" fill="${look(o.colour).colour}">${escape(words)}</text>`);
    }

    // Level lines of f(x, y), by marching squares on a grid of pixels.
    contours(f, levels, o = {}) {
      const n = o.grid || 60;
      const { x0, x1, y0, y1 } = this.inner;
      const X = Array.from({ length: n + 1 }, (_, i) => x0 + ((x1 - x0) * i) / n);
      const Y = Array.from({ length: n + 1 }, (_, j) => y0 + ((y1 - y0) * j) / n);
      const z = Y.map((py) => X.map((px) => f(...this.at(px, py))));
      let d = "";
      const corners = [[0, 0], [1, 0], [1, 1], [0, 1]];
      for (let j = 0; j < n; ++j) for (let i = 0; i < n; ++i) {
        const at = [z[j][i], z[j][i + 1], z[j + 1][i + 1], z[j + 1][i]];
        const [low, high] = [Math.min(...at), Math.max(...at)];
        for (const level of levels) {
          if (!(low < level && level <= high)) continue;
          const cut = [];
          for (let e = 0; e < 4; ++e) {
            const [u, w] = [at[e] - level, at[(e + 1) % 4] - level];
            if (u < 0 === w < 0) continue;
            const [[a, b], [p, q]] = [corners[e], corners[(e + 1) % 4]];
            const s = u / (u - w);
            const [x, y] = [i + a + s * (p - a), j + b + s * (q - b)];
            cut.push(`${(x0 + (x * (x1 - x0)) / n).toFixed(1)} ${(y0 + (y * (y1 - y0)) / n).toFixed(1)}`);
          }
          for (let k = 0; k + 1 < cut.length; k += 2) d += `M${cut[k]}L${cut[k + 1]}`;
        }
      }
      this.out.push(`<path d="${d}" ${this.style({ width: 1, alpha: 0.35, ...o })}/>`);
    }
    // A picture of a matrix: rows from the top if `o.down`, else from the bottom, over the axes.
    heat(rows, o = {}) {
      const map = o.map || "sequential";
      const flat = rows.flatMap((row) => [...row]).filter(Number.isFinite);
      const [low, high] = o.range || [Math.min(...flat), Math.max(...flat)];
      const small = document.createElement("canvas");
      [small.width, small.height] = [rows[0].length, rows.length];
      const pen = small.getContext("2d");
      const image = pen.createImageData(small.width, small.height);
      rows.forEach((row, j) => row.forEach((z, i) => {
        const at = 4 * ((o.down ? j : rows.length - 1 - j) * small.width + i);
        image.data.set([...mix(map, (z - low) / (high - low || 1)), 255], at);
      }));
      pen.putImageData(image, 0, 0);
      const density = window.devicePixelRatio || 1;
      [this.canvas.width, this.canvas.height] = [this.width * density, this.height * density];
      const { x0, x1, y0, y1 } = this.inner;
      const ink = this.canvas.getContext("2d");
      ink.imageSmoothingEnabled = false;
      ink.drawImage(small, x0 * density, y1 * density, (x1 - x0) * density, (y0 - y1) * density);
      if (o.label) {
        this.scaleBar = `<span class="play-bar"><span>${escape(o.label)}:</span> ${escape(Play.format(low, 2))}
          <i style="background:linear-gradient(to right, ${MAPS[map].join(", ")})"></i>
          ${escape(Play.format(high, 2))}</span>`;
      }
    }

    end() {
      const { x0, x1, y0, y1 } = this.inner;
      const s = this.spec;
      const lines = [`<clipPath id="${this.clip}"><rect x="${x0}" y="${y1}" width="${x1 - x0}"
        height="${y0 - y1}"/></clipPath>`];
      if (!s.bare) {
        for (const z of s.xticks || ticks(this.x, s.xlog, this.width < 400 ? 4 : 6)) {
          const a = this.px(z).toFixed(1);
          lines.push(`<path class="play-grid" d="M${a} ${y0}V${y1}"/>
            <text x="${a}" y="${y0 + 15}" text-anchor="middle">${tickText(z, s.xlog)}</text>`);
        }
        for (const z of s.yticks || ticks(this.y, s.ylog)) {
          const b = this.py(z).toFixed(1);
          lines.push(`<path class="play-grid" d="M${x0} ${b}H${x1}"/>
            <text x="${x0 - 5}" y="${Number(b) + 4}" text-anchor="end">${tickText(z, s.ylog)}</text>`);
        }
        const middle = (y0 + y1) / 2;
        lines.push(`<text x="${(x0 + x1) / 2}" y="${y0 + 33}" text-anchor="middle">${escape(s.xlabel || "")}</text>
          <text transform="translate(13 ${middle}) rotate(-90)" text-anchor="middle">${escape(s.ylabel || "")}</text>
          <path class="play-frame" d="M${x0} ${y1}V${y0}H${x1}"/>`);
      }
      this.axes.innerHTML = lines.join("");
      this.marks.setAttribute("clip-path", `url(#${this.clip})`);
      this.marks.innerHTML = this.out.join("");
      this.legendBox.innerHTML = this.scaleBar + this.keys.map((k) => `<span>${Panel.symbol(k)}
        ${escape(k.label)}</span>`).join(" ");
    }
    static symbol({ shape, colour, dash }) {
      const inside = {
        line: `<path d="M0 6H24" stroke="${colour}" stroke-width="2.5" stroke-dasharray="${dash || ""}"/>`,
        dot: `<circle cx="12" cy="6" r="4" fill="${colour}"/>`,
        area: `<rect width="24" height="12" fill="${colour}" opacity="0.5"/>`,
      }[shape];
      return `<svg width="24" height="12" aria-hidden="true">${inside}</svg>`;
    }
  }

  // ---------------------------------------------------------------- controls

  let ids = 0;
  const RESOLUTION = 200; // positions of a slider on a scale of its own

  // Value of a slider's position, and position of a value: the same; its logarithm; or, finer and
  // finer towards one, as a decay rate needs it.
  const scale = (c) => {
    const ratio = c.max / c.min;
    if (c.log) {
      return [(z) => Number((c.min * ratio ** (z / RESOLUTION)).toPrecision(3)),
        (v) => (RESOLUTION * Math.log(v / c.min)) / Math.log(ratio)];
    }
    if (!c.toOne) return [Number, (v) => v];
    const off = (z) => Number(((1 - z / RESOLUTION) ** 4).toPrecision(2)); // 1 - value
    return [(z) => Number((1 - off(z)).toFixed(12)), (v) => RESOLUTION * (1 - (1 - v) ** 0.25)];
  };

  const choices = (c) => (typeof c.options === "function" ? c.options() : c.options);

  const buttonOf = (words, action) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words;
    button.addEventListener("click", action);
    return button;
  };

  // A labelled native control; `read` and `write` turn its position into the value and back.
  const control = (c, change) => {
    const box = document.createElement("div");
    box.className = "play-control";
    const id = `play-${++ids}`;
    if (c.button) {
      box.append(buttonOf(c.label, () => change(c.button)));
      return { box, row: "buttons", write() {} };
    }
    if (c.options) {
      const options = choices(c).map((o) => `<option>${escape(o)}</option>`).join("");
      box.innerHTML = `<label for="${id}">${escape(c.label)}</label><select id="${id}">${options}</select>`;
      const select = box.querySelector("select");
      const also = c.also || (() => ({}));
      select.addEventListener("change", () => change({ [c.id]: select.value, ...also(select.value) }));
      return { box, write: (v) => (select.value = v) };
    }
    if (typeof c.value === "boolean") {
      box.innerHTML = `<input type="checkbox" id="${id}"><label for="${id}">${escape(c.label)}</label>`;
      const input = box.querySelector("input");
      input.addEventListener("change", () => change({ [c.id]: input.checked }));
      return { box, group: c.group, write: (v) => (input.checked = v) };
    }
    box.innerHTML = `<label for="${id}">${escape(c.label)}</label><output for="${id}"></output>
      <input type="range" id="${id}">`;
    const [input, output] = [box.querySelector("input"), box.querySelector("output")];
    const [read, place] = scale(c);
    Object.assign(input, c.log || c.toOne
      ? { min: 0, max: Math.round(place(c.max)), step: 1 }
      : { min: c.min, max: c.max, step: c.step || (c.max - c.min) / RESOLUTION });
    input.addEventListener("input", () => change({ [c.id]: read(input.value) }));
    const digits = (v) => c.digits || (c.toOne ? Play.digitsToOne(v) : 3);
    const words = c.words || ((v) => Play.format(v, digits(v)) + (c.unit || ""));
    const write = (v, max) => {
      if (max !== undefined) input.max = max;
      input.value = place(v);
      output.textContent = words(v);
      input.setAttribute("aria-valuetext", words(v));
    };
    return { box, write };
  };

  // A point that can be dragged, and moved by the arrow keys.
  class Handle {
    constructor(point, panel, change) {
      this.point = point;
      this.panel = panel;
      this.node = document.createElementNS(SVG, "circle");
      const given = { r: 9, class: "play-handle", tabindex: 0, role: "slider" };
      for (const [key, value] of Object.entries(given)) this.node.setAttribute(key, value);
      this.node.setAttribute("aria-label", point.label);
      panel.handles.append(this.node);
      this.move = (x, y) => this.put(this.inside(x, y));
      this.put = (value) => change(point.of
        ? { [point.of[0]]: value[0], [point.of[1]]: value[1] }
        : { [point.id]: value });
      this.node.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
        const way = step[event.key];
        if (!way) return;
        event.preventDefault();
        if (point.keys) return void this.put(point.keys(this.value, ...way, event.shiftKey));
        const size = event.shiftKey ? 20 : 4;
        this.move(...panel.at(panel.px(this.value[0]) + size * way[0], panel.py(this.value[1]) - size * way[1]));
      });
    }
    inside(x, y) {
      const [a, b] = [this.point.x || this.panel.x, this.point.y || this.panel.y];
      const within = (z, [low, high]) => Number(Play.clamp(z, low, high).toPrecision(4));
      const snap = this.point.snap || ((p) => p);
      return snap([within(x, a), within(y, b)]);
    }
    write(value) {
      this.value = value;
      const [x, y] = value;
      this.node.setAttribute("cx", this.panel.px(x));
      this.node.setAttribute("cy", this.panel.py(y));
      const words = `${Play.format(x)}, ${Play.format(y)}`;
      const [low, high] = this.point.x || this.panel.x;
      const said = { "aria-valuenow": x, "aria-valuetext": words };
      Object.assign(said, { "aria-valuemin": Math.min(low, x), "aria-valuemax": Math.max(high, x) });
      for (const [key, z] of Object.entries(said)) this.node.setAttribute(key, z);
    }
  }

  // A press on a panel moves its nearest point there; a drag goes on moving it. A finger beside all
  // points may be about to scroll the page: it moves one only if it was a tap.
  const FINGER = 30;
  const pointer = (panel, handles, press) => {
    let held = null;
    let tap = null;
    const place = (event) => {
      const box = panel.svg.getBoundingClientRect(); // a deck of slides scales what it shows
      const scale = panel.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    };
    const far = (h, [a, b]) => Math.hypot(panel.px(h.value[0]) - a, panel.py(h.value[1]) - b);
    const move = (event) => held && held.move(...panel.at(...place(event)));
    const take = (at) => {
      if (press) press(...panel.at(...at));
      held = handles.slice().sort((g, h) => far(g, at) - far(h, at))[0] || null;
      if (held) held.node.focus({ preventScroll: true });
    };
    const release = () => (held = tap = null);
    panel.svg.addEventListener("pointerdown", (event) => {
      const at = place(event);
      const beside = handles.every((h) => far(h, at) > FINGER);
      if (event.pointerType === "touch" && beside) return void (tap = at);
      take(at);
      if (held) panel.svg.setPointerCapture(event.pointerId);
      move(event);
    });
    panel.svg.addEventListener("pointermove", move);
    panel.svg.addEventListener("pointercancel", release);
    panel.svg.addEventListener("pointerup", (event) => {
      const at = place(event);
      if (tap && Math.hypot(at[0] - tap[0], at[1] - tap[1]) < FINGER / 2) {
        take(at);
        move(event);
      }
      release();
    });
  };

  // ---------------------------------------------------------------- links

  const encode = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  const decode = (text, like) => {
    if (typeof like === "number") return text === "Infinity" ? Infinity : Number(text);
    if (typeof like === "boolean") return text === "true";
    return typeof like === "string" ? text : JSON.parse(text);
  };
  // Values of a figure in the address of the page, `#play-name?lr=0.1&…`; broken ones do not count.
  const linked = (name, figure) => {
    const query = location.hash.slice(`#play-${name}?`.length);
    const usual = Play.values(figure);
    const given = {};
    for (const [key, text] of new URLSearchParams(query)) {
      try {
        const value = allowed(key, decode(text, usual[key]), usual[key], figure);
        if (value !== undefined) given[key] = value;
      } catch (error) {
        continue;
      }
    }
    return given;
  };
  // A value that a control could have given: anybody can write a link.
  const allowed = (key, value, usual, figure) => {
    const c = (figure.controls || []).find((z) => z.id === key) || {};
    if (c.options) return choices(c).includes(value) ? value : undefined;
    if (typeof usual === "number") {
      if (Number.isNaN(value)) return undefined;
      return c.max === undefined ? value : Play.clamp(value, c.min, c.max);
    }
    if (!Array.isArray(usual)) return usual === undefined ? undefined : value;
    const fits = Array.isArray(value) && value.length === usual.length;
    return fits && value.every(Number.isFinite) ? value : undefined;
  };

  // ---------------------------------------------------------------- the element

  const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const SECONDS = 6; // that playing all steps takes

  class PlayFigure extends HTMLElement {
    // In a notebook that has shown a figure before, an element is there before its script has run.
    connectedCallback(waits = 20) {
      if (this.ready) return;
      this.name = this.getAttribute("name");
      this.figure = Play.figures[this.name];
      if (this.figure) return this.begin();
      if (waits) setTimeout(() => this.connectedCallback(waits - 1), 100);
      else console.error(`there is no playable figure ${this.name}`);
    }

    begin() {
      this.ready = true;
      Object.assign(Play.rules, globalThis.PlayRules); // those of the page's own
      const script = this.querySelector("script[type='application/json']");
      this.data = script ? JSON.parse(script.textContent) : {};
      try {
        this.start = Play.values(this.figure, JSON.parse(this.getAttribute("values") || "{}"));
        this.values = { ...this.start };
        this.build();
        this.redraw(); // at once: what follows on the page keeps its place
      } catch (error) {
        console.error(`${this.name}: ${error.message}`);
        if (this.stage) this.stage.remove(); // the picture stays
        return;
      }
      this.takePlace();
      const resized = () => this.panelBox.clientWidth !== this.drawn && this.later();
      new ResizeObserver(resized).observe(this.panelBox);
      new IntersectionObserver(([entry]) => entry.isIntersecting || this.pause()).observe(this);
      document.addEventListener("visibilitychange", () => document.hidden && this.pause());
      window.addEventListener("hashchange", () => this.follow());
      this.follow();
    }

    // Take the settings of a link to this figure, and show it.
    follow() {
      if (!location.hash.startsWith(`#play-${this.name}?`)) return;
      this.change({ ...this.start, ...linked(this.name, this.figure) });
      this.scrollIntoView();
    }

    // Stand where the static picture is: inside this element, or in the figure named by `of`.
    takePlace() {
      for (const node of this.children) {
        if (node !== this.stage) node.classList.add("play-static");
      }
      const of = this.getAttribute("of");
      const home = of && document.getElementById(of);
      if (!home) return;
      for (const node of home.children) {
        if (node.tagName !== "FIGCAPTION") node.classList.add("play-static");
      }
      home.classList.add("play-home");
      home.prepend(this);
    }

    build() {
      const figure = this.figure;
      this.stage = document.createElement("div");
      this.stage.className = "play-stage";
      this.stage.setAttribute("role", "group");
      this.stage.setAttribute("aria-label", figure.title);
      this.stage.innerHTML = `<div class="play-panels"></div><p class="play-say" role="status"></p>
        <div class="play-run"></div><div class="play-controls"></div><div class="play-buttons"></div>`;
      this.append(this.stage);
      const find = (part) => this.stage.querySelector(`.play-${part}`);
      [this.panelBox, this.say] = [find("panels"), find("say")];
      const change = (changes) => this.change(changes);
      this.panels = {};
      this.handles = [];
      for (const spec of figure.panels) {
        const points = (figure.points || []).filter((p) => p.panel === spec.id);
        const press = (figure.press || {})[spec.id];
        const panel = new Panel({ ...spec, handles: points.length || press }, this.panelBox);
        const own = points.map((p) => new Handle(p, panel, change));
        this.panels[spec.id] = panel;
        this.handles.push(...own);
        if (own.length || press) {
          panel.svg.classList.add("play-live");
          pointer(panel, own, press && ((x, y) => change(press(x, y, this.values))));
        }
      }
      this.controls = (figure.controls || []).map((c) => [c.id, control(c, change)]);
      if (figure.steps) this.buildRun(find("run"));
      for (const [, c] of this.controls) {
        const home = find(c.row || "controls");
        (c.group ? this.group(c.group, home) : home).append(c.box);
      }
      this.buildEnd(find("buttons"));
    }

    // Checkboxes of one group stand side by side, under the group's name.
    group(name, home) {
      this.groups = this.groups || {};
      if (!this.groups[name]) {
        this.groups[name] = document.createElement("fieldset");
        this.groups[name].className = "play-group";
        this.groups[name].innerHTML = `<legend>${escape(name)}</legend>`;
        home.append(this.groups[name]);
      }
      return this.groups[name];
    }

    buildRun(box) {
      this.playButton = buttonOf("Play", () => (this.timer ? this.pause() : this.play()));
      const step = buttonOf("Step", () => this.change({ step: this.values.step + 1 }));
      const back = buttonOf("To the start", () => this.change({ step: 0 }));
      const slider = { id: "step", label: "step", min: 0, max: 1, step: 1, words: String };
      this.slider = control(slider, (changes) => this.change(changes));
      box.append(this.playButton, step, back, this.slider.box);
    }

    buildEnd(box) {
      const reset = { id: "reset", label: "Reset", button: () => this.start };
      const link = { id: "link", label: "Copy link", button: () => this.copyLink() };
      for (const c of [reset, link]) box.append(control(c, (changes) => this.change(changes)).box);
    }

    // Take new values, from anyone: a control, a point, a test.
    change(changes) {
      if (typeof changes === "function") changes = changes(this.values);
      if (!changes) return;
      this.pause();
      this.set(changes);
      this.later();
    }
    set(changes) {
      const kept = Object.keys(changes).every((key) => key === "step");
      if (!kept) this.result = null;
      const many = this.figure.steps;
      const atEnd = many && this.values.step >= many(this.values);
      Object.assign(this.values, changes);
      if (!many) return;
      const last = many(this.values);
      if (atEnd && !("step" in changes)) this.values.step = last;
      this.values.step = Play.clamp(this.values.step, 0, last);
    }
    later() {
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        this.redraw();
      });
    }
    redraw() {
      const [figure, v] = [this.figure, this.values];
      const began = performance.now();
      this.drawn = this.panelBox.clientWidth;
      if (!this.result) this.result = figure.compute(v, this.data);
      const panels = Object.values(this.panels);
      for (const panel of panels) panel.begin();
      figure.draw(this.result, v, this.panels);
      for (const panel of panels) panel.end();
      for (const handle of this.handles) {
        const { id, at, of } = handle.point;
        handle.write(at ? at(this.result, v) : of ? of.map((key) => v[key]) : v[id]);
      }
      for (const [id, c] of this.controls) c.write(v[id]);
      if (figure.steps) this.slider.write(v.step, figure.steps(v));
      this.say.textContent = figure.say(this.result, v);
      this.dataset.took = (performance.now() - began).toFixed(1); // milliseconds, for measurements
    }

    play() {
      const last = this.figure.steps(this.values);
      if (calm()) return this.change({ step: this.values.step < last ? last : 0 });
      if (this.values.step >= last) this.values.step = 0;
      const [from, began] = [this.values.step, performance.now()];
      this.playButton.textContent = "Pause";
      this.say.setAttribute("aria-live", "off"); // not a sentence a frame
      const frame = (now) => {
        const step = Math.min(last, from + Math.floor((last * (now - began)) / 1000 / SECONDS));
        if (step !== this.values.step) {
          this.values.step = step;
          this.redraw();
        }
        if (step < last) this.timer = requestAnimationFrame(frame);
        else this.pause();
      };
      this.timer = requestAnimationFrame(frame);
    }
    pause() {
      if (!this.timer) return;
      cancelAnimationFrame(this.timer);
      this.timer = 0;
      this.playButton.textContent = "Play";
      this.say.removeAttribute("aria-live");
    }

    // Put the settings that differ from the start into the address, and that on the clipboard.
    copyLink() {
      const query = new URLSearchParams();
      for (const [key, value] of Object.entries(this.values)) {
        if (encode(value) !== encode(this.start[key])) query.set(key, encode(value));
      }
      const link = `${location.href.split("#")[0]}#play-${this.name}?${query}`;
      const done = () => (this.say.textContent = "The link is on the clipboard.");
      const failed = () => (this.say.textContent = link);
      if (navigator.clipboard) navigator.clipboard.writeText(link).then(done, failed);
      else failed();
    }
  }

  if (typeof customElements !== "undefined" && !customElements.get("play-figure")) {
    // After every script of the page has defined its figures.
    const begin = () => customElements.define("play-figure", PlayFigure);
    if (document.readyState === "complete") setTimeout(begin);
    else document.addEventListener("DOMContentLoaded", begin);
  }
})();
