// Snapshots of several pairs, scrubbed, played, alternated and subtracted on a canvas; the server is told the view
// (for the URL) and asked nothing. The data: uint32 length of a JSON header, the header, then its PNG boards.

const GAP = 2, BETWEEN = 6, BLOCKS = 20, HEAD = 24, NUMBER = 24, TALL = 600;
const PLAY_MS = 280, FLICKER_MS = 650, TELL_MS = 500;
const VIEWS = ["side", "flicker", "difference"], GAINS = ["1", "0.5", "0.25"], REFS = ["a", "data"];
const scrubbers = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  let s = scrubbers.get(parentElement);
  if (!s) scrubbers.set(parentElement, (s = new Scrubber(parentElement)));
  s.tell = setStateValue;
  s.load(data);
  return () => setTimeout(() => {
    if (!s.root.isConnected) {
      s.close();
      scrubbers.delete(parentElement);
    }
  });
}

function unpack(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  header.blobs = header.sizes.map((n) => bytes.slice(at, (at += n)));
  return header;
}

const decode = (bytes) => createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none" });
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const said = (n) => n.toLocaleString("en-US");

class Scrubber {
  constructor(parent) {
    this.root = parent.querySelector(".scrub");
    this.find = (q) => this.root.querySelector(q);
    this.stage = this.find(".stage");
    this.board = this.find(".board");
    this.strip = this.find(".film canvas");
    this.timers = {};
    this.stop = new AbortController();
    this.fromUrl();
    this.listen();
  }

  // --- the view and the URL ---

  fromUrl() {
    const q = new URLSearchParams(location.search);
    this.wrong = []; // what the link says that can't be, told until the view is changed
    const told = (name, why) => this.wrong.push(`${name}=${q.get(name).slice(0, 20)} in the link is ${why}.`);
    const one = (name, among, or) => {
      if (!q.has(name) || among.includes(q.get(name))) return q.get(name) ?? or;
      told(name, `none of ${among.join(", ")}: ${or} is shown`);
      return or;
    };
    const number = (name, or, low, high) => {
      const text = q.get(name), n = Number(text);
      if (text === null) return or;
      if (!text.trim() || !Number.isFinite(n)) return told(name, "not a number, so it is passed over"), or;
      const near = Math.min(high, Math.max(low, n));
      if (near !== n) told(name, `outside ${low} to ${high}, so ${near} is shown`);
      return near;
    };
    this.wanted = number("t", Infinity, 0, 1e12); // a training step
    this.view = one("view", VIEWS, "side");
    this.gain = one("gain", GAINS, "1");
    this.ref = one("ref", REFS, "a");
    this.size = number("size", 56, 8, 280);
    this.everything = one("all", ["1", "0"], "0") === "1";
    const pin = q.get("pin") || "0", sound = /^\d{1,6}(\.\d{1,6})?$/.test(pin);
    if (!sound) told("pin", "not the index of an image, so the first one is followed");
    this.pin = (sound ? pin : "0").split(".").map(Number);
  }

  changed() {
    clearTimeout(this.timers.tell);
    if (this.timers.play) return;
    this.timers.tell = setTimeout(() => {
      const last = this.at === this.h.steps.length - 1;
      this.tell("view", {
        t: last ? "" : String(this.h.steps[this.at]), view: this.view === "side" ? "" : this.view,
        gain: this.gain === "1" ? "" : this.gain, ref: this.ref === "a" ? "" : this.ref,
        size: this.size === 56 ? "" : String(this.size), all: this.everything ? "1" : "",
        pin: this.pin[0] || this.pin[1] ? this.pin.filter((k) => k !== undefined).join(".") : "",
      });
    }, TELL_MS);
  }

  // --- data ---

  async load(bytes) {
    this.theme();
    const header = unpack(bytes);
    if (this.h && this.h.stamp === header.stamp) return this.draw();
    const mine = (this.loading = header.stamp);
    const at = this.place(header);
    const films = header.pairs.map((p) => ({ ...p, bitmaps: new Array(p.count), pixels: new Array(p.count) }));
    const data = await Promise.all(header.data.map(async (d) => ({ ...d, bitmap: await decode(header.blobs[d.blob]) })));
    await Promise.all(films.map((f, k) => this.ready(header, f, header.shown[at][k])));
    if (this.loading !== mine) return;
    Object.assign(this, { h: header, films, data, at, drawnAt: undefined });
    this.controls();
    this.draw();
    this.prefetch(header, films);
  }

  place(h) { // the position of the wanted step, or the nearest earlier one
    let at = 0;
    h.steps.forEach((s, i) => { if (s <= this.wanted) at = i; });
    return at;
  }

  async ready(h, film, k) {
    if (k === null || film.bitmaps[k]) return;
    try { film.bitmaps[k] = await decode(h.blobs[film.first + k]); } catch { film.bitmaps[k] = null; }
  }

  async prefetch(h, films) {
    for (let k = 0; k < Math.max(...films.map((f) => f.count)); k++) {
      for (const f of films) if (k < f.count) await this.ready(h, f, k);
      if (this.h !== h) return;
    }
    this.root.dataset.ready = h.stamp;
    this.drawStrip();
  }

  pixels(film, k) { // of a whole board
    if (!film.pixels[k]) {
      const b = film.bitmaps[k], c = new OffscreenCanvas(b.width, b.height), x = c.getContext("2d");
      x.drawImage(b, 0, 0);
      film.pixels[k] = x.getImageData(0, 0, b.width, b.height);
    }
    return film.pixels[k];
  }

  dataPixels(d) {
    if (!d.pixels) d.pixels = this.pixels({ bitmaps: [d.bitmap], pixels: [] }, 0);
    return d.pixels;
  }

  theme() {
    const style = getComputedStyle(this.root), get = (name, or) => style.getPropertyValue(name).trim() || or;
    const hex = (v, or) => (/^#[0-9a-f]{6}$/i.test(v) ? v : or);
    this.ground = hex(get("--st-background-color"), "#ffffff");
    this.ink = hex(get("--st-text-color"), "#1c2230");
    const [ink, ground] = [rgb(this.ink), rgb(this.ground)];
    this.frame = `rgb(${ground.map((v, e) => Math.round(v + (ink[e] - v) * 0.35))})`; // opaque, as it is drawn time and again
    this.font = get("--st-font", "sans-serif");
  }

  // --- control ---

  listen() {
    const on = (what, event, act) => what.addEventListener(event, act, { signal: this.stop.signal });
    const click = (q, act) => on(this.find(q), "click", act);
    click(".play", () => this.play());
    on(this.find(".time"), "input", (e) => this.go(Number(e.target.value)));
    click(".hold", () => this.hold());
    click(".all", () => { this.everything = !this.everything; this.again(); });
    click(".smaller", () => this.resize(-1));
    click(".larger", () => this.resize(1));
    for (const name of ["view", "gain", "ref"]) {
      for (const b of this.root.querySelectorAll(`[data-${name}]`)) {
        on(b, "click", () => { this[name] = b.dataset[name]; this.again(); });
      }
    }
    on(this.board, "pointermove", (e) => this.magnify(e));
    on(this.board, "pointerleave", () => { this.find(".lens").hidden = true; });
    on(this.board, "click", (e) => {
      const hit = this.under(e);
      if (hit) { this.pin = hit.tile ? [hit.i, hit.tile] : [hit.i]; this.again(); }
    });
    on(this.strip, "click", (e) => this.go(this.columnAt(e)));
    on(document, "keydown", (e) => this.key(e));
    this.observer = new ResizeObserver(() => this.h && this.stage.clientWidth !== this.width && this.draw());
    this.observer.observe(this.stage);
  }

  key(e) {
    const inside = e.composedPath().includes(this.root);
    if (e.ctrlKey || e.metaKey || e.altKey || !this.h || !(inside || (e.target === document.body && this.seen()))) return;
    const button = inside && e.composedPath()[0].tagName === "BUTTON";
    const act = {
      ArrowLeft: () => this.go(this.at - 1), ArrowRight: () => this.go(this.at + 1),
      Home: () => this.go(0), End: () => this.go(this.h.steps.length - 1),
      " ": button ? null : () => this.play(), f: () => this.hold(),
    }[e.key];
    if (!act) return;
    e.preventDefault();
    e.stopPropagation();
    act();
  }

  seen() {
    const r = this.stage.getBoundingClientRect();
    return r.bottom > 60 && r.top < innerHeight - 60;
  }

  go(at, playing = false) {
    if (!playing) this.pause();
    at = Math.min(this.h.steps.length - 1, Math.max(0, at));
    if (at === this.at) return;
    this.at = at;
    this.wrong = [];
    this.wanted = at === this.h.steps.length - 1 ? Infinity : this.h.steps[at];
    this.draw();
    this.changed();
  }

  play() {
    if (this.timers.play) return this.pause();
    if (this.at === this.h.steps.length - 1) this.go(0);
    this.timers.play = setInterval(() => {
      this.go(this.at + 1, true);
      if (this.at === this.h.steps.length - 1) this.pause();
    }, PLAY_MS);
    this.controls();
  }

  pause() {
    if (!this.timers.play) return;
    clearInterval(this.timers.play);
    this.timers.play = 0;
    this.controls();
    this.changed();
  }

  hold() { // stop alternating; while stopped, each press shows the next
    if (this.view !== "flicker") return;
    if (this.held) this.front = (this.front + 1) % this.films.length;
    else this.held = true;
    this.controls();
    this.draw();
  }

  again() {
    this.wrong = [];
    if (this.view !== "flicker") this.held = false;
    this.controls();
    this.draw();
    this.changed();
  }

  resize(by) {
    const step = Math.max(...this.films.map((f) => f.native[1])), least = Math.max(step, 16);
    this.size = Math.min(280, Math.max(least, Math.round(this.size / step + by * Math.max(1, Math.round(14 / step))) * step));
    this.again();
  }

  controls() {
    const h = this.h, last = h.steps.length - 1, slider = this.find(".time");
    slider.max = last;
    slider.disabled = !last;
    this.find(".play").disabled = !last;
    this.find(".play").textContent = this.timers.play ? "❚❚" : "▶";
    this.find(".play").setAttribute("aria-label", this.timers.play ? "Pause" : "Play training");
    const canDiff = this.films.length > 1 && h.comparable, canData = h.kind === "reconstructions" && this.data.length === 1;
    if (!canData) this.ref = "a";
    if ((this.view === "difference" && !canDiff) || (this.view !== "side" && this.films.length < 2)) this.view = "side";
    this.root.querySelectorAll("[data-view]").forEach((b) => {
      b.disabled = b.dataset.view === "difference" ? !canDiff : b.dataset.view === "flicker" && this.films.length < 2;
    });
    for (const name of ["view", "gain", "ref"]) {
      for (const b of this.root.querySelectorAll(`[data-${name}]`)) {
        b.setAttribute("aria-checked", String(b.dataset[name] === this[name]));
      }
    }
    this.find(".refs").hidden = !canData;
    this.find(".only-flicker").hidden = this.view !== "flicker";
    this.find(".only-difference").hidden = this.view !== "difference";
    this.find(".hold").setAttribute("aria-pressed", String(Boolean(this.held)));
    this.find(".hold").textContent = this.held ? "Next" : "Hold";
    const [neg, pos] = this.poles(1);
    const [less, more] = this.ref === "data" ? ["darker than the data", "brighter"] : ["A brighter", this.films.length > 2 ? "the other, in its colour" : "B"];
    this.find(".neg").textContent = `${less} −${this.gain}`;
    this.find(".pos").textContent = `+${this.gain} ${more}`;
    this.find(".scale i").style.background = `linear-gradient(90deg, ${neg}, ${this.ground}, ${pos})`;
    clearInterval(this.timers.flicker);
    this.front = Math.min(this.front || 0, this.films.length - 1);
    if (this.view === "flicker" && !this.held && !this.still()) {
      this.timers.flicker = setInterval(() => {
        this.front = (this.front + 1) % this.films.length;
        this.draw();
      }, FLICKER_MS);
    }
  }

  still() { // no motion unless asked for: the Hold button then shows the next
    return matchMedia("(prefers-reduced-motion: reduce)").matches && (this.held = true);
  }

  poles(k) { // colours of what is less and more in film k
    return this.ref === "data" ? ["#7b52c7", "#2e9e5b"] : [this.films[0].colour, this.films[k] ? this.films[k].colour : this.ink];
  }

  // --- geometry: groups of tiles of one index, side by side or, where long ones don't fit, under one another ---

  groups() {
    const films = this.films.map((_, k) => ({ film: k })), found = [];
    const data = (k) => this.data.length > k && found.push({ data: k });
    data(0);
    if (this.view === "flicker") return [...found, { film: this.front }];
    if (this.view === "side") {
      films.forEach((g, k) => { if (k) data(k); found.push(g); });
      return found;
    }
    if (this.ref === "data") return [...found, ...films.flatMap((g) => [g, { film: g.film, minus: "data" }])];
    const others = films.slice(1).map((g) => ({ film: g.film, minus: "a" }));
    return [...found, ...films, ...others];
  }

  measure() {
    const h = this.h, native = this.films.map((f) => f.native), length = h.sequence.length || 1;
    const groups = this.groups(), tilesOf = (g) => ("data" in g ? this.data[g.data].rows[0].length : length);
    const room = Math.max(240, this.stage.clientWidth);
    const sizes = (target) => native.map(([w, n]) => [w, n].map((v) => v * Math.max(1, Math.round(target / n))));
    let target = this.size, slot, stacked, width;
    const lay = () => {
      const all = sizes(target);
      slot = [Math.max(...all.map((s) => s[0])), Math.max(...all.map((s) => s[1]))];
      const wide = (g) => tilesOf(g) * (slot[0] + GAP) - GAP;
      const sum = NUMBER + groups.reduce((t, g) => t + wide(g) + BETWEEN, 0);
      stacked = length > 1 && sum > room;
      const data = groups.filter((g) => "data" in g), rest = groups.filter((g) => !("data" in g));
      width = stacked
        ? NUMBER + data.slice(0, 1).reduce((t, g) => t + wide(g) + BETWEEN, 0) + 30 + Math.max(...rest.map(wide)) : sum;
      return width <= room;
    };
    while (!lay() && target > Math.max(...native.map((s) => s[1]))) target -= 4;
    const across = Math.max(1, Math.floor((room + BLOCKS) / (width + BLOCKS)));
    const lines = stacked ? groups.filter((g) => !("data" in g)).length : 1;
    const tall = lines * (slot[1] + GAP) + (stacked ? 8 : 0);
    const n = Math.max(...this.films.map((f) => f.boxes.length)), most = across * Math.max(2, Math.floor(TALL / tall));
    const count = this.everything ? n : Math.min(n, most);
    const rows = Math.ceil(count / across);
    return { groups, tilesOf, slot, stacked, width, across, tall, n, count, rows, most, room, height: HEAD + rows * tall };
  }

  cells(m) { // every tile on the board: {x, y, i, tile, g}
    const found = [];
    for (let i = 0; i < m.count; i++) {
      const left = Math.floor(i / m.rows) * (m.width + BLOCKS), top = HEAD + (i % m.rows) * m.tall;
      let x = left + NUMBER, line = 0, after = 0;
      for (const g of m.groups) {
        const isData = "data" in g, tiles = m.tilesOf(g);
        if (m.stacked && isData && g.data > 0) continue;
        const start = m.stacked && !isData ? left + NUMBER + after + 30 : x;
        const y = top + (m.stacked && !isData ? line++ * (m.slot[1] + GAP) : 0);
        for (let t = 0; t < tiles; t++) found.push({ x: start + t * (m.slot[0] + GAP), y, i, tile: t, g, first: i % m.rows === 0 });
        x += tiles * (m.slot[0] + GAP) - GAP + BETWEEN;
        if (isData) after = x - left - NUMBER;
      }
    }
    return found;
  }

  // --- drawing ---

  draw() {
    const h = this.h, at = this.at, shown = h.shown[at];
    const missing = this.films.filter((f, k) => shown[k] !== null && f.bitmaps[shown[k]] === undefined);
    if (missing.length) { // decoded in a moment; what is drawn stays till then
      Promise.all(this.films.map((f, k) => this.ready(h, f, shown[k]))).then(() => this.h === h && this.at === at && this.draw());
      return;
    }
    const m = (this.m = this.measure());
    this.width = this.stage.clientWidth;
    const ctx = this.canvas(this.board, m.across * (m.width + BLOCKS) - BLOCKS, m.height);
    this.spots = this.cells(m);
    for (const c of this.spots) this.paint(ctx, c, c.x, c.y, m.slot);
    this.labels(ctx, m);
    this.tellView(m);
    this.drawStrip();
  }

  canvas(canvas, width, height) {
    const dpr = window.devicePixelRatio || 1;
    const [w, h] = [Math.ceil(width * dpr), Math.ceil(height * dpr)];
    if (canvas.width !== w || canvas.height !== h) {
      Object.assign(canvas, { width: w, height: h });
      Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    const ctx = canvas.getContext("2d");
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.imageSmoothingEnabled = false;
    ctx.fillStyle = this.ground;
    ctx.fillRect(0, 0, width, height);
    return ctx;
  }

  paint(ctx, { i, tile, g }, x, y, [w, h], at = this.at) {
    const empty = () => { ctx.strokeStyle = this.ink + "33"; ctx.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1); };
    ctx.strokeStyle = this.frame; // outside the image: white strokes that reach its edge end there on a white page too
    ctx.lineWidth = 1;
    ctx.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
    if ("data" in g) {
      const d = this.data[g.data], k = d.rows[i] && d.rows[i][tile] % d.count;
      return k === undefined ? empty() : ctx.drawImage(d.bitmap, k * d.tile[0], 0, ...d.tile, x, y, w, h);
    }
    const f = this.films[g.film], k = this.h.shown[at][g.film], bitmap = k === null ? null : f.bitmaps[k];
    const box = f.boxes[i] && f.boxes[i][tile];
    if (!bitmap || !box) return empty();
    const source = g.minus ? this.difference(g, i, tile, at) : bitmap;
    if (!source) return empty();
    return g.minus ? ctx.drawImage(source, 0, 0, box[2], box[3], x, y, w, h) : ctx.drawImage(source, ...box, x, y, w, h);
  }

  values(g, i, tile, at = this.at) { // signed differences in [-1, 1] of one tile, mean over colours
    const f = this.films[g.film], a = this.films[0], k = this.h.shown[at][g.film], j = this.h.shown[at][0];
    const d = this.data[0], row = d && d.rows[i];
    if (k === null || !f.bitmaps[k] || !f.boxes[i] || (g.minus === "a" && (j === null || !a.bitmaps[j] || !a.boxes[i]))) return null;
    const one = this.pixels(f, k), [x, y, w, h] = f.boxes[i][tile];
    const two = g.minus === "a" ? this.pixels(a, j) : this.dataPixels(d);
    const [u, v] = g.minus === "a" ? a.boxes[i][tile] : [(row[0] % d.count) * d.tile[0], 0];
    const found = new Float32Array(w * h);
    for (let r = 0; r < h; r++) {
      for (let c = 0; c < w; c++) {
        const p = 4 * ((y + r) * one.width + x + c), q = 4 * ((v + r) * two.width + u + c);
        let s = 0;
        for (let e = 0; e < 3; e++) s += one.data[p + e] - two.data[q + e];
        found[r * w + c] = s / 765;
      }
    }
    return found;
  }

  difference(g, i, tile, at) {
    const v = this.values(g, i, tile, at);
    if (!v) return null;
    const [, , w, h] = this.films[g.film].boxes[i][tile], [neg, pos] = this.poles(g.film).map(rgb), ground = rgb(this.ground);
    const image = new ImageData(w, h), gain = Number(this.gain);
    v.forEach((value, p) => {
      const t = Math.min(1, Math.abs(value) / gain), pole = value < 0 ? neg : pos;
      for (let e = 0; e < 3; e++) image.data[4 * p + e] = ground[e] + (pole[e] - ground[e]) * t;
      image.data[4 * p + 3] = 255;
    });
    const c = (this.scratch ||= new OffscreenCanvas(1, 1));
    Object.assign(c, { width: w, height: h });
    c.getContext("2d").putImageData(image, 0, 0);
    return c;
  }

  title(g) {
    if ("data" in g) return this.data.length > 1 ? `data ${this.films[g.data].letter}` : "data";
    const letter = this.films[g.film].letter;
    return g.minus ? `${letter} − ${g.minus === "data" ? "data" : this.films[0].letter}` : letter;
  }

  labels(ctx, m) {
    ctx.textBaseline = "middle";
    for (const c of this.spots) {
      if (c.tile) continue;
      const isData = "data" in c.g, wide = m.tilesOf(c.g) * (m.slot[0] + GAP) - GAP, text = this.title(c.g);
      if (c.g === m.groups[0] && c.i % (m.rows > 30 ? 2 : 1) === 0) this.text(ctx, String(c.i), c.x - 6, c.y + m.slot[1] / 2, "right", this.ink + "99", 11);
      if (c.i === this.pin[0]) { ctx.fillStyle = this.ink; if (c.g === m.groups[0]) ctx.fillRect(c.x - 4, c.y, 2, m.slot[1]); }
      if (m.stacked && !isData) this.text(ctx, text, c.x - 7, c.y + m.slot[1] / 2, "right", this.colour(c.g), 12, true);
      else if (c.first) {
        if (!isData) { ctx.fillStyle = this.colour(c.g); ctx.fillRect(c.x, HEAD - 4, wide, 3); }
        const first = !isData && this.h.sequence.length && m.slot[0] >= 36; // the pair's letter, then what its first image is
        const at = first ? c.x + m.slot[0] / 2 : c.x + wide / 2, name = first ? `${text}: ${this.h.sequence[0]}` : text;
        this.text(ctx, name, at, HEAD - 13, "center", isData ? this.ink + "aa" : this.colour(c.g), 12, !isData);
      }
    }
    this.sequence(ctx, m);
  }

  sequence(ctx, m) { // what the images of a sequence are, above the first line
    if (!this.h.sequence.length || m.slot[0] < 36) return;
    const top = this.spots.find((c) => !("data" in c.g)).y;
    for (const c of this.spots) {
      if ("data" in c.g || c.y !== top || (!m.stacked && !c.tile)) continue;
      this.text(ctx, this.h.sequence[c.tile], c.x + m.slot[0] / 2, HEAD - 13, "center", this.ink + "88", 10);
    }
  }

  colour(g) { return g.minus ? this.ink : this.films[g.film].colour; }

  text(ctx, text, x, y, align, colour, size, bold = false) {
    ctx.font = `${bold ? 700 : 400} ${size}px ${this.font}`;
    ctx.textAlign = align;
    ctx.fillStyle = colour;
    ctx.fillText(text, x, y);
  }

  drawStrip() { // one index along training
    const h = this.h, n = h.steps.length, film = this.find(".film");
    film.hidden = n < 2;
    if (n < 2) return;
    const most = Math.max(...this.films.map((f) => f.boxes.length));
    const i = Math.min(this.pin[0], most - 1), tile = Math.min(this.pin[1] || 0, (h.sequence.length || 1) - 1);
    const native = Math.max(...this.films.map((f) => f.native[1]));
    const room = Math.max(240, this.stage.clientWidth) - NUMBER, wide = Math.floor(Math.min(this.size, room / n - GAP));
    const side = Math.max(8, wide >= native ? Math.floor(wide / native) * native : wide);
    this.column = side + GAP;
    const ctx = this.canvas(this.strip, NUMBER + n * this.column, 16 + this.films.length * (side + GAP));
    ctx.imageSmoothingEnabled = side < native;
    ctx.textBaseline = "middle";
    const every = Math.ceil(46 / this.column);
    h.steps.forEach((s, at) => {
      const x = NUMBER + at * this.column;
      if (at % every === 0 || at === this.at) {
        const near = at !== this.at && Math.abs(at - this.at) * this.column < 40;
        if (!near) this.text(ctx, s >= 10000 ? `${s / 1000}k` : said(s), x + side / 2, 7, "center", at === this.at ? this.ink : this.ink + "88", 10, at === this.at);
      }
      this.films.forEach((f, k) => this.paint(ctx, { i, tile, g: { film: k } }, x, 16 + k * (side + GAP), [side, side], at));
      if (at === this.at) {
        ctx.strokeStyle = this.ink;
        ctx.lineWidth = 2;
        ctx.strokeRect(x - 1, 15, side + 2, this.films.length * (side + GAP));
      }
    });
    this.films.forEach((f, k) => this.text(ctx, f.letter, NUMBER - 8, 16 + k * (side + GAP) + side / 2, "right", f.colour, 12, true));
    const what = h.sequence.length ? `${i}, ${h.sequence[tile]},` : `${i}`;
    this.find(".about").textContent = `Index ${what} along training: click an image above to follow another, or a column here to go there.`;
    this.strip.setAttribute("aria-label", `Index ${what} at each of ${n} snapshots`);
  }

  columnAt(e) { return Math.floor((e.offsetX - NUMBER) / this.column); }

  tellView(m) {
    const h = this.h, step = h.steps[this.at], shown = h.shown[this.at];
    this.find(".time").value = this.at;
    this.find(".time").setAttribute("aria-valuetext", `iteration ${said(step)}`);
    this.find(".step").textContent = this.films.every((f) => f.still) ? "present weights" : `iteration ${said(step)}`;
    const notes = this.films.map((f, k) => {
      if (shown[k] === null) return `${f.letter} has no snapshot yet`;
      if (f.bitmaps[shown[k]] === null) return `${f.letter}'s snapshot is damaged`;
      if (f.still) return `${f.letter} shows its present weights at every step, as it has no snapshots of its training`;
      const own = f.steps[shown[k]];
      return own === step ? "" : `${f.letter} shows iteration ${said(own)}, ${shown[k] === f.count - 1 ? "its last" : "its nearest earlier snapshot"}`;
    }).filter(Boolean);
    this.find(".note").textContent = [...this.wrong, ...(notes.length ? [`${notes.join("; ")}.`] : [])].join(" ");
    const all = this.find(".all");
    all.hidden = m.n <= m.most;
    all.textContent = this.everything ? "Show fewer" : `Show all ${m.n}`;
    const f = this.films[this.front];
    this.find(".now").innerHTML = "";
    if (this.view === "flicker") {
      const b = document.createElement("b");
      b.textContent = f.letter;
      b.style.background = f.colour;
      this.find(".now").append(b, f.name);
    }
    const names = this.films.map((x) => `${x.letter}: ${x.name}`).join("; ");
    this.board.setAttribute("aria-label", `${h.title} at iteration ${said(step)}, ${m.count} of ${m.n}; ${names}`);
    Object.assign(this.root.dataset, { step, view: this.view, front: f.letter, stamp: h.stamp, at: performance.now() });
  }

  // --- under the pointer ---

  under(e) {
    const m = this.m;
    return this.spots.find((c) => e.offsetX >= c.x && e.offsetX < c.x + m.slot[0] && e.offsetY >= c.y && e.offsetY < c.y + m.slot[1]);
  }

  magnify(e) {
    const hit = this.h && this.under(e), lens = this.find(".lens");
    lens.hidden = !hit;
    if (!hit) return;
    const isSequence = this.h.sequence.length > 0, isData = "data" in hit.g;
    const groups = this.groups().filter((g) => !isSequence || isData === "data" in g);
    if (this.view === "flicker") groups.splice(-1, 1, ...this.films.map((_, k) => ({ film: k })));
    const native = Math.max(...this.films.map((f) => f.native[1])), side = native * Math.max(1, Math.round(148 / native));
    const spots = isSequence && isData ? [hit.g] : groups;
    const ctx = this.canvas(lens.querySelector("canvas"), spots.length * (side + 8) - 8, side + 18);
    ctx.textBaseline = "middle";
    spots.forEach((g, k) => {
      this.text(ctx, this.title(g), k * (side + 8) + side / 2, 8, "center", "data" in g ? this.ink : this.colour(g), 12, true);
      this.paint(ctx, { ...hit, g }, k * (side + 8), 18, [side, side]);
    });
    lens.querySelector("p").textContent = this.sentence(hit, isSequence);
    const left = Math.min(e.offsetX + 18, this.stage.clientWidth - lens.offsetWidth - 2);
    const below = e.clientY + lens.offsetHeight + 24 < innerHeight;
    lens.style.left = `${Math.max(0, left)}px`;
    lens.style.top = `${below ? e.offsetY + 18 : e.offsetY - lens.offsetHeight - 14}px`;
  }

  sentence(hit, isSequence) {
    const where = `index ${hit.i}${isSequence && !("data" in hit.g) ? `, ${this.h.sequence[hit.tile]}` : ""}`;
    if (!this.h.comparable || ("data" in hit.g && isSequence)) return where;
    const mean = (g) => {
      const v = this.values(g, hit.i, isSequence ? hit.tile : 0);
      return v ? (v.reduce((s, x) => s + Math.abs(x), 0) / v.length).toFixed(3) : "–";
    };
    const parts = this.films.slice(1).map((f, k) => `|${f.letter} − A| ${mean({ film: k + 1, minus: "a" })}`);
    if (this.h.kind === "reconstructions" && this.data.length === 1) {
      parts.push(...this.films.map((f, k) => `|${f.letter} − data| ${mean({ film: k, minus: "data" })}`));
    }
    return `${where}; mean over pixels: ${parts.join(", ")}`;
  }

  close() {
    this.stop.abort();
    this.observer.disconnect();
    clearInterval(this.timers.play);
    clearInterval(this.timers.flicker);
    clearTimeout(this.timers.tell);
  }
}
