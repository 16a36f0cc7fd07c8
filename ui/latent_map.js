// Two maps locked together: one view, one hover, one selection; the sample image at the pointer. No server round trip
// but for what is selected and, once it rests, the view.

const SHEETS = (window.symeqSheets ??= new Map()); // sheets of test images by content, brought by another component

class Maps {
  constructor(root) {
    this.root = root;
    root.innerHTML = "";
    this.box = element("div", "latent", root);
    this.bar = element("div", "bar", this.box);
    this.panes = element("div", "panes", this.box);
    this.legend = element("div", "legend", this.box);
    this.card = element("div", "card", this.box);
    this.card.hidden = true;
    this.view = { x: 0, y: 0, k: 1 };
    this.chosen = new Set();
    this.hover = -1;
    this.on = { images: false, plane: true, ellipses: true };
    this.tool = "move";
    this.list = [];
    this.tools();
    this.observer = new ResizeObserver(() => this.redraw(true));
    this.observer.observe(this.panes);
    this.sheetCame = () => this.redraw();
    window.addEventListener("symeq-sheet", this.sheetCame);
    this.escape = (e) => e.key === "Escape" && this.chosen.size && this.hasFocus() && this.select([]);
    window.addEventListener("keydown", this.escape);
    this.box.decode = (letter, z) => Array.from(this.list.find((p) => p.spec.letter === letter).decode(z));
    this.box.place = (letter, number) => this.place(letter, number);
    this.box.frameTime = () => this.frameTime();
  }

  tools() {
    const button = (name, text, title, action) => {
      const b = element("button", "tool", this.bar, text);
      b.title = title, b.dataset.tool = name, (b.onclick = action);
      return b;
    };
    this.buttons = {
      move: button("move", "✥ Move", "Drag to move, scroll to zoom, both maps at once; click a point to see its image", () => this.use("move")),
      lasso: button("lasso", "◯ Lasso", "Draw around points to select them (or hold Shift and draw)", () => this.use("lasso")),
      images: button("images", "▦ Images", "Draw images in place of points, as many as there is room for", () => this.flip("images")),
      plane: button("plane", "▩ Decoded plane", "What the decoder makes of each place of the plane, computed here in your browser", () => this.flip("plane")),
      ellipses: button("ellipses", "○ Ellipses", "One standard deviation of q(z|x) around each mean", () => this.flip("ellipses")),
      reset: button("reset", "⤢ See all", "The whole map again (or double click)", () => this.look({ x: 0, y: 0, k: 1 })),
      clear: button("clear", "✕ Clear", "Select nothing (or press Escape)", () => this.select([])),
    };
    this.count = element("span", "count", this.bar);
  }
  // Whether keys are meant for the maps: the focus is in them, or on nothing but what holds them.
  hasFocus() {
    const at = document.activeElement, host = this.root.getRootNode().host || this.root;
    return !at || at.contains(host) || host.contains(at);
  }
  use(tool) {
    this.tool = tool, this.redraw();
  }
  flip(what) {
    this.on[what] = !this.on[what], this.redraw();
    this.send("drawn", { ...this.on });
  }

  // Data anew: the view, the tools and the selection stay.
  update(bytes, send) {
    this.send = send;
    const [header, arrays] = unpack(bytes);
    if (header.id === this.id) return;
    const before = this.header, kept = before ? [...this.chosen].map((i) => this.numbers[i]) : header.start.selected;
    this.id = header.id, this.header = header, this.numbers = arrays.numbers, this.labels = arrays.labels;
    while (this.list.length > header.panes.length) this.list.pop().box.remove();
    while (this.list.length < header.panes.length) this.list.push(this.newPane());
    this.where = new Map(Array.from(this.numbers, (n, i) => [n, i]));
    header.panes.forEach((spec, k) => {
      const get = (name) => (spec[name] ? arrays[spec[name]] : null), d = { spec, k: header.k, shape: header.shape };
      for (const name of ["position", "value", "near", "further", "sd"]) d[name] = get(name);
      d.decode = null;
      if (spec.decoder) {
        const parts = Array.from({ length: spec.layers }, (_, i) => ({ w: arrays[`${spec.decoder}w${i}`], b: arrays[`${spec.decoder}b${i}`] }));
        d.decode = makeDecoder(parts, spec.activation, spec.output);
      }
      this.list[k].set(d);
    });
    if (!before) Object.assign(this.on, header.start.drawn);
    if (before && before.kind !== header.kind) this.look({ x: 0, y: 0, k: 1 });
    if (!this.begun && !header.waiting) { // what a link says of the zoom is not of the map that stands in meanwhile
      this.begun = true;
      const [x, y, k] = header.start.view ?? [0, 0, 1];
      if (before) this.look({ x, y, k }); else this.view = { x, y, k };
    }
    this.chosen = new Set(kept.map((n) => this.where.get(n)).filter((i) => i !== undefined));
    this.hover = -1, this.card.hidden = true, this.dark = null;
    this.redraw(true);
    this.box.dataset.ready = header.id;
  }

  newPane() {
    const pane = new Pane(this.panes), c = pane.over;
    const point = (e) => { const b = c.getBoundingClientRect(); return [e.clientX - b.left, e.clientY - b.top]; };
    c.addEventListener("pointermove", (e) => this.moved(pane, point(e)));
    c.addEventListener("pointerleave", () => this.drag || this.leave());
    c.addEventListener("pointerdown", (e) => {
      if (e.button) return;
      c.setPointerCapture(e.pointerId);
      const lasso = this.tool === "lasso" || e.shiftKey;
      this.drag = { at: point(e), view: { ...this.view }, far: false, path: lasso ? [point(e)] : null, pane };
    });
    c.addEventListener("pointerup", (e) => this.released(pane, point(e)));
    c.addEventListener("pointercancel", () => (this.drag = null));
    c.addEventListener("dblclick", () => this.look({ x: 0, y: 0, k: 1 }));
    c.addEventListener("wheel", (e) => {
      e.preventDefault();
      const [x, y] = point(e), k2 = Math.min(200, Math.max(0.5, this.view.k * Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0015))));
      const u = pane.unit(this.view), v = pane.unit({ k: k2 }), dx = x - pane.w / 2, dy = y - pane.h / 2;
      this.look({ x: this.view.x + dx / u - dx / v, y: this.view.y - dy / u + dy / v, k: k2 });
    }, { passive: false });
    return pane;
  }

  moved(pane, [x, y]) {
    const d = this.drag;
    if (d) {
      if (Math.hypot(x - d.at[0], y - d.at[1]) > 4) d.far = true;
      if (!d.far) return;
      if (d.path) d.path.push([x, y]);
      else {
        const u = pane.unit(this.view);
        this.look({ x: d.view.x - (x - d.at[0]) / u, y: d.view.y + (y - d.at[1]) / u, k: this.view.k });
      }
      this.card.hidden = true;
      return this.redraw();
    }
    const began = performance.now();
    this.hover = pane.nearest(x, y, this.on.images ? 22 : 12);
    this.pointer = { pane, x, y };
    this.showCard(pane, x, y);
    this.marks();
    this.box.dataset.hoverMs = (performance.now() - began).toFixed(2);
  }
  leave() {
    this.hover = -1, this.pointer = null, this.card.hidden = true, this.marks();
  }

  released(pane, [x, y]) {
    const d = this.drag;
    this.drag = null;
    if (!d) return;
    if (d.path && d.far) {
      const points = thin(d.path).map(([a, b]) => pane.toMap(this.view, a, b));
      this.enclose(pane, points);
    } else if (!d.far) {
      const i = pane.nearest(x, y, this.on.images ? 22 : 12);
      if (i >= 0) this.select([i]);
    }
    this.redraw();
  }
  enclose(pane, points) {
    const found = [];
    for (let i = 0; i < pane.position.length / 2; i++)
      if (inside(points, pane.position[2 * i], pane.position[2 * i + 1])) found.push(i);
    this.select(found);
  }
  select(indices) {
    this.chosen = new Set(indices);
    this.send("selected", indices.map((i) => this.numbers[i]));
    this.redraw();
  }

  look(view) {
    this.view = view;
    this.redraw();
    clearTimeout(this.resting);
    const told = [view.x, view.y, view.k].map((v) => +v.toPrecision(4));
    this.resting = setTimeout(() => this.send("view", told), 900);
  }

  colours() {
    const style = getComputedStyle(this.box), get = (n, d) => style.getPropertyValue(n).trim() || d;
    const ground = get("--st-background-color", "#ffffff"), dark = rgb(ground)[0] < 128;
    const look = { ground, dark, text: get("--st-text-color", "#222222"), };
    look.ink = dark ? "#e8ecf4" : "#1c2230";
    if (this.dark !== dark) {
      this.dark = dark;
      this.list.forEach((pane) => (pane.colours = this.paint(pane, dark)));
      this.drawLegend(dark);
    }
    return look;
  }
  paint(pane, dark) {
    const { colour } = this.header, n = this.numbers.length, out = new Uint32Array(n);
    const pack = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
    const labels = colour.kind === "label" ? colour.palette.map((c) => pack(rgb(c))) : null;
    for (let i = 0; i < n; i++)
      if (labels) out[i] = labels[this.labels[i] % labels.length];
      else {
        const t = (pane.value[i] - colour.lo) / (colour.hi - colour.lo || 1);
        out[i] = pack(Number.isFinite(t) ? ramp(t, dark) : [128, 128, 128]);
      }
    return out;
  }
  drawLegend(dark) {
    const { colour, classes, notes } = this.header;
    this.legend.replaceChildren();
    element("span", "name", this.legend, colour.title);
    if (colour.kind === "label")
      classes.forEach((name, c) => {
        const item = element("span", "key", this.legend), dot = element("i", "", item);
        dot.style.background = colour.palette[c % colour.palette.length];
        item.append(name);
      });
    else {
      element("span", "", this.legend, number(colour.lo));
      const bar = element("span", "ramp", this.legend);
      bar.style.background = `linear-gradient(90deg, ${(dark ? RAMP_DARK : RAMP).map((c) => `rgb(${c})`).join(",")})`;
      element("span", "", this.legend, `${number(colour.hi)} ${colour.unit}`);
    }
    for (const note of notes) element("span", "key", this.legend, note);
  }

  redraw(resized) {
    if (resized) this.stale = true;
    if (this.frame || !this.header) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }
  draw() {
    const look = this.lookNow = this.colours(), sheet = this.sheet();
    Object.assign(look, this.on, { sheet, images: this.on.images && !!sheet, dim: this.chosen.size > 0 });
    let seen = 0;
    this.list.forEach((pane) => {
      if (this.stale) pane.resize();
      pane.screen(this.view);
      pane.drawUnder(this.view, look);
      seen = Math.max(seen, pane.drawPoints(this.view, look, this.chosen));
    });
    this.stale = false;
    const planes = this.list.some((p) => p.decode), sds = this.list.some((p) => p.sd), n = this.numbers.length;
    for (const [name, b] of Object.entries(this.buttons)) {
      b.classList.toggle("on", name === this.tool || this.on[name] === true);
      b.hidden = (name === "plane" && !planes) || (name === "ellipses" && !sds) || (name === "clear" && !this.chosen.size);
    }
    const of = (v) => v.toLocaleString("en"), more = seen < n ? `${of(seen)} in sight, ` : "";
    const picked = this.chosen.size ? `${of(this.chosen.size)} selected, ` : "";
    this.count.textContent = `${picked}${more}${of(n)} of ${of(this.header.total)} ${this.header.noun}`;
    this.panes.classList.toggle("lasso", this.tool === "lasso");
    this.marks();
  }

  marks() {
    const look = this.lookNow;
    if (!look) return;
    this.list.forEach((pane) => {
      const g = pane.over.getContext("2d");
      g.setTransform(pane.r, 0, 0, pane.r, 0, 0);
      g.clearRect(0, 0, pane.w, pane.h);
      if (pane.spec.native) pane.drawWords(g, this.view, look);
      if (this.chosen.size && this.chosen.size < 40) for (const i of this.chosen) pane.ring(g, i, look.text, 6);
      if (this.hover >= 0) pane.mark(g, this.hover, look);
      const path = this.drag?.pane === pane && this.drag.path;
      if (path) {
        g.strokeStyle = look.text, g.lineWidth = 1.5, g.setLineDash([5, 4]), g.beginPath();
        path.forEach(([x, y], j) => (j ? g.lineTo(x, y) : g.moveTo(x, y)));
        g.stroke(), g.setLineDash([]);
      }
    });
  }

  sheet() {
    const { sheet } = this.header, image = SHEETS.get(sheet.id);
    if (!image) return null;
    const { columns, w, h } = sheet;
    return { w, draw: (g, i, x, y, s) => g.drawImage(image, (i % columns) * w, Math.floor(i / columns) * h, w, h, x, y, s, (s * h) / w) };
  }

  showCard(pane, x, y) {
    const native = this.list.filter((p) => p.decode);
    this.card.hidden = this.hover < 0 && !native.length;
    if (this.card.hidden) return;
    this.card.replaceChildren();
    const sheet = this.sheet(), i = this.hover;
    if (i >= 0) {
      const head = element("div", "head", this.card), text = element("div", "", null);
      if (sheet) head.append(this.thumb(sheet, i, 72));
      head.append(text);
      element("b", "", text, `Image ${this.numbers[i]}`);
      if (this.labels) element("div", "", text, `label ${this.header.classes[this.labels[i]]}`);
      const { colour } = this.header;
      if (colour.kind === "value")
        this.list.forEach((p) => element("div", "", text, `${colour.shared ? "" : p.spec.letter + ": "}${number(p.value[i])} ${colour.unit}`));
      if (sheet) this.nearest(sheet, i);
      this.card.dataset.image = this.numbers[i];
    } else delete this.card.dataset.image;
    if (native.length) this.decodings(native, pane.toMap(this.view, x, y));
    this.putCard(pane, x, y);
  }
  thumb(sheet, i, side) {
    const c = document.createElement("canvas"), { w, h } = this.header.sheet;
    c.width = w, c.height = h, c.style.width = side + "px", c.style.height = (side * h) / w + "px";
    sheet.draw(c.getContext("2d"), i, 0, 0, w);
    return c;
  }
  nearest(sheet, i) {
    const sets = this.list.map((p) => new Set(p.near ? p.near.subarray(i * p.k, (i + 1) * p.k) : []));
    this.list.forEach((p, k) => {
      if (!p.near) return;
      const row = element("div", "near", this.card), name = element("b", "", row, p.spec.letter);
      name.style.color = p.spec.colour;
      for (const j of sets[k]) {
        const c = this.thumb(sheet, j, 24);
        if (sets.length > 1 && sets[1 - k].has(j)) c.className = "both";
        row.append(c);
      }
    });
    const shared = sets.length > 1 ? [...sets[0]].filter((j) => sets[1].has(j)).length : 0;
    element("div", "small", this.card, sets.length > 1 ? `nearest in latent space, ${shared} of ${this.header.k} in both` : "nearest in latent space");
  }
  decodings(panes, at) {
    const row = element("div", "head", this.card);
    panes.forEach((p) => {
      const z = p.toLatent(at), c = picture(p.decode(z), p.shape, null), one = element("div", "decoded", row);
      c.dataset.letter = p.spec.letter, c.dataset.z = JSON.stringify(z);
      c.style.width = c.style.height = "64px";
      one.append(c);
      const name = element("b", "", one, p.spec.letter);
      name.style.color = p.spec.colour;
      element("div", "small", one, `z = (${z.map((v) => v.toFixed(2)).join(", ")})`);
    });
    element("div", "small", this.card, "decoded at the pointer");
  }
  putCard(pane, x, y) {
    const a = pane.stage.getBoundingClientRect(), b = this.box.getBoundingClientRect();
    const w = this.card.offsetWidth, h = this.card.offsetHeight, px = a.left - b.left + x, py = a.top - b.top + y;
    this.card.style.left = Math.max(0, px + 18 + w > b.width ? px - w - 18 : px + 18) + "px";
    this.card.style.top = Math.max(0, Math.min(py - 30, b.height - h)) + "px";
  }

  // For tests and benchmarks: where an image's point is on the page, and how long one redrawing of both maps takes.
  place(letter, n) {
    const pane = this.list.find((p) => p.spec.letter === letter), i = this.where.get(n), b = pane.over.getBoundingClientRect();
    return [b.left + pane.at[2 * i], b.top + pane.at[2 * i + 1]];
  }
  frameTime() {
    const began = performance.now();
    for (let i = 0; i < 10; i++) this.draw();
    return (performance.now() - began) / 10;
  }

  destroy() {
    this.observer.disconnect();
    clearTimeout(this.resting);
    window.removeEventListener("symeq-sheet", this.sheetCame);
    window.removeEventListener("keydown", this.escape);
  }
}

function number(v) {
  return Math.abs(v) >= 100 ? v.toFixed(0) : Math.abs(v) >= 10 ? v.toFixed(1) : v.toFixed(2);
}
function thin(path, most = 40) {
  const step = Math.max(1, path.length / most);
  return Array.from({ length: Math.min(most, path.length) }, (_, i) => path[Math.floor(i * step)]);
}

export default function ({ data, parentElement, setStateValue }) {
  const maps = (parentElement.symeqMaps ??= new Maps(parentElement.querySelector(".root")));
  maps.update(data, setStateValue);
  return () => setTimeout(() => { // called for an update that was overtaken, too: then the maps go on
    if (maps.root.isConnected) return;
    maps.destroy();
    if (parentElement.symeqMaps === maps) parentElement.symeqMaps = null;
  });
}
