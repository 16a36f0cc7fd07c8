// Plays and scrubs the chains of A and B, locked together, from one sprite sheet each: row = step, column = chain.
const views = new WeakMap();
const SECONDS = 6; // from k = 0 to the end, at speed 1
const PACE = 38; // milliseconds between two pictures, at least: more of them would take the processor from all else
const COLUMNS = [
  [0, 1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000],
  [0, 1, 2, 3, 5, 7, 10, 20, 30, 50, 100, 200, 300, 500, 1000],
  [0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000],
  [0, 1, 3, 10, 30, 100, 300, 1000],
];
const UNSURE = 0.7; // a class that the classifier gives less than this is marked
const CELL = 33; // pixels, at least
const icon = (path) => `<svg width="14" height="14" viewBox="0 0 12 12" fill="currentColor"><path d="${path}"/></svg>`;
const PLAY = icon("M2 1v10l9-5z"), PAUSE = icon("M2 1h3v10H2z M7 1h3v10H7z");
const TEMPLATE = `
  <div class="bar">
    <button class="play" title="Play or pause (space)"></button>
    <button class="back" title="One frame back (left arrow)" aria-label="One frame back">${icon("M10 2v8L3 6z M1 2h2v8H1z")}</button>
    <button class="forth" title="One frame on (right arrow)" aria-label="One frame on">${icon("M2 2v8l7-4z M9 2h2v8H9z")}</button>
    <div class="k" role="status"></div>
    <div class="scrub"><input type="range" min="0" max="1000" step="1" value="0"
      aria-label="Round trips k, logarithmic"><div class="ticks"></div></div>
    <select aria-label="Speed" title="Speed"><option value="0.25">¼ ×</option><option value="0.5">½ ×</option>
      <option value="1" selected>1 ×</option><option value="2">2 ×</option><option value="4">4 ×</option></select>
    <div class="toggle" title="What is shown; the chain itself always goes on from the sample">
      <button data-show="mean">Mean</button><button data-show="sample">Sample</button></div>
  </div>
  <div class="told"><span class="wait"></span><span class="said"></span></div>
  <div class="sides"></div>`;
const SAID = {
  mean: "Shown: the mean of the pixels. The chain itself goes on from the sample, always.",
  sample: "Shown: the sample, from which the chain goes on.",
};
const SIDE = `
  <div class="head"><span class="letter"></span><span class="title"></span><span class="distance"></span><span class="count"></span></div>
  <div class="gauge"><div class="far"></div><div class="real"></div></div>
  <canvas class="now" role="img"></canvas><canvas class="strip" role="img"></canvas>`;

// while it plays, most animation frames change nothing but the slider: writing what is there would lay out the page anew
const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const mark = (element, name, value) => { if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value); };

class View {
  constructor(root) {
    this.root = root;
    root.innerHTML = TEMPLATE;
    const $ = (q) => root.querySelector(q);
    this.ui = { play: $(".play"), k: $(".k"), range: $("input"), ticks: $(".ticks"), speed: $("select"), wait: $(".wait"), said: $(".said"), shows: root.querySelectorAll(".toggle button") };
    this.position = 0; // 0 ... 1 along the logarithmic axis
    this.playing = false;
    this.own = true; // whether to play anew when other chains come: nobody chose a step by hand
    this.sides = [];
    this.decoded = new Map(); // pictures by their source
    this.turns = this.turn = 0; // updates that came, and the one that is shown
    this.version = 0; // of what is drawn from
    this.width = root.clientWidth;
    this.ui.play.onclick = () => this.toggle();
    $(".back").onclick = () => this.step(-1);
    $(".forth").onclick = () => this.step(1);
    this.ui.range.oninput = () => { this.pause(); this.own = false; this.go(this.ui.range.value / 1000); };
    this.ui.range.onchange = () => this.tell();
    this.ui.speed.onchange = () => this.tell();
    root.onkeydown = (e) => this.key(e);
    for (const b of this.ui.shows) {
      b.onclick = () => { this.show = b.dataset.show; this.draw(); this.tell(); };
    }
    new ResizeObserver(() => { this.width = root.clientWidth; if (this.data) this.ticks(); this.draw(); }).observe(root);
  }

  async update(data, report, ask) { // what is shown stays until all pictures of what comes are there
    this.report = report;
    this.coming = data;
    const turn = ++this.turns;
    const have = `${data.id} ${data.pairs.map((p) => p.reached).join(" ")}`;
    if (data.pairs.some((p) => p.frames < data.ks.length) && this.asked !== have) ask((this.asked = have));
    await Promise.all(this.sources(data).map((source) => this.picture(source)));
    if (turn < this.turn) return; // something newer is shown by now
    this.turn = turn;
    this.change(data);
    const needed = [...this.sources(data), ...this.sources(this.coming)];
    for (const known of this.decoded.keys()) if (!needed.includes(known)) this.decoded.delete(known);
  }

  sources(data) { return data.pairs.flatMap((p) => [p.mean, p.sample]); }

  picture(source) {
    if (!this.decoded.has(source)) {
      const image = new Image();
      image.there = new Promise((done) => { image.onload = done; });
      image.src = "data:image/png;base64," + source;
      this.decoded.set(source, image);
    }
    return this.decoded.get(source).there;
  }

  change(data) {
    this.version += 1;
    this.data = data;
    this.last = Math.log1p(data.ks.at(-1));
    this.show ??= data.show;
    this.build();
    if (this.id !== data.id) {
      const first = this.id === undefined;
      if (first) this.ui.speed.value = data.speed;
      this.id = data.id;
      if (first && data.k !== null) { this.own = false; this.position = this.at(data.k); }
      else if (data.anew) this.own = true;
      const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (this.own && !still) { this.position = 0; this.play(); }
    }
    this.ticks();
    this.draw();
    this.root.dataset.id = this.id; // whose pictures are shown
  }

  build() {
    const box = this.root.querySelector(".sides");
    while (box.children.length > this.data.pairs.length) box.lastChild.remove();
    this.data.pairs.forEach((pair, i) => {
      let side = box.children[i];
      if (!side) {
        side = document.createElement("section");
        side.className = "side";
        side.innerHTML = SIDE;
        box.append(side);
        this.sides[i] = { element: side };
        const strip = side.querySelector(".strip");
        strip.onclick = (e) => this.click(this.sides[i], e);
        strip.onmousemove = (e) => this.hover(this.sides[i], e);
      }
      side.dataset.name = pair.name;
      side.style.setProperty("--own", pair.colour);
      side.querySelector(".letter").textContent = pair.name;
      side.querySelector(".title").textContent = pair.title;
      side.querySelector(".title").title = pair.title;
      this.sides[i].pair = pair;
    });
  }

  // --- time ---
  at(k) { return Math.log1p(k) / this.last; }

  nearest(frames, position) { // the place of the frame nearest to a position on the logarithmic axis
    const far = frames.map((frame) => Math.abs(this.at(this.data.ks[frame]) - position));
    return far.indexOf(Math.min(...far));
  }

  frame() { return this.nearest(this.data.ks.map((_, i) => i), this.position); }

  loaded() { return Math.min(...this.data.pairs.map((p) => p.frames)) - 1; }

  go(position) { this.position = Math.min(1, Math.max(0, position)); this.draw(); }

  step(by) {
    this.pause();
    this.own = false;
    const i = Math.min(this.data.ks.length - 1, Math.max(0, this.frame() + by));
    this.go(this.at(this.data.ks[i]));
    this.tell();
  }

  toggle() {
    if (this.playing) { this.pause(); this.own = false; this.tell(); return; }
    if (this.position >= 1) this.position = 0;
    this.play();
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    let before = performance.now();
    const tick = (now) => {
      if (!this.playing || !this.root.isConnected) return;
      if (now - before >= PACE) {
        const limit = this.at(this.data.ks[this.loaded()]);
        const next = this.position + ((now - before) / 1000 / SECONDS) * this.ui.speed.value;
        before = now;
        this.position = Math.min(next, limit);
        this.draw();
        if (this.position >= 1) { this.pause(); this.own = true; this.tell(); return; }
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    this.draw();
  }

  pause() { this.playing = false; this.label(); }

  tell() { this.report({ k: this.data.ks[this.frame()], show: this.show, speed: this.ui.speed.value, own: this.own, id: this.id }); }

  key(e) {
    if (e.target.tagName === "SELECT") return;
    if (e.key === " " && e.target.tagName !== "BUTTON") { this.toggle(); e.preventDefault(); }
    if (e.key === "ArrowLeft") { this.step(-1); e.preventDefault(); }
    if (e.key === "ArrowRight") { this.step(1); e.preventDefault(); }
  }

  // --- pictures ---
  label() {
    const text = this.playing ? `${PAUSE} Pause` : `${PLAY} Play`;
    if (this.said !== text) this.ui.play.innerHTML = this.said = text;
  }

  ticks() { // as many as there is room for, the last one first
    const width = this.ui.ticks.clientWidth, key = `${this.last} ${width}`;
    if (this.ui.ticks.dataset.key === key) return;
    this.ui.ticks.dataset.key = key;
    const ks = [];
    for (const k of [this.data.ks.at(-1), 0, 10, 100, 1, 2, 5, 20, 50, 200, 500]) {
      const here = this.at(k) * width;
      if (k <= this.data.ks.at(-1) && ks.every((m) => Math.abs(this.at(m) * width - here) > (m >= 500 || k >= 500 ? 44 : 26))) ks.push(k);
    }
    this.ui.ticks.innerHTML = ks.sort((a, b) => a - b)
      .map((k) => `<span style="left:${100 * this.at(k)}%">${k.toLocaleString("en")}</span>`).join("");
  }

  draw() {
    if (!this.data) return;
    const wanted = this.frame(), f = Math.min(wanted, this.loaded()), k = this.data.ks[f];
    this.label();
    write(this.ui.k, `k = ${k.toLocaleString("en")}${this.playing || f === wanted ? "" : " …"}`); // on its way
    write(this.ui.said, SAID[this.show]);
    this.ui.range.value = Math.round(1000 * this.position);
    mark(this.root, "data-k", k);
    mark(this.root, "data-frames", this.loaded() + 1);
    for (const b of this.ui.shows) mark(b, "aria-pressed", b.dataset.show === this.show);
    const done = this.loaded() + 1 === this.data.ks.length;
    write(this.ui.wait, done ? this.measured() : `Computing round trips: ${this.data.ks[this.loaded()].toLocaleString("en")} of ${this.data.ks.at(-1).toLocaleString("en")} …`);
    for (const side of this.sides.slice(0, this.data.pairs.length)) this.paint(side, f);
  }

  paint(side, f) { // only what has changed: while it plays, most animation frames move the slider alone
    const now = [f, this.show, this.version, this.width].join();
    if (side.painted === now) return;
    side.painted = now;
    this.count(side, f);
    this.now(side, f);
    const here = this.nearest(this.layout(side).frames, this.at(this.data.ks[f]));
    const strip = [here, this.show, this.version, this.width].join();
    if (side.strip !== strip) this.strip(side, here);
    side.strip = strip;
  }

  count(side, f) {
    const { seen, origin, n } = side.pair, out = side.element.querySelector(".count");
    const now = seen[f] ?? [];
    this.distance(side, f);
    if (!now.length) out.textContent = `${n} chains`;
    else if (origin) {
      const kept = now.filter(([c], i) => c === origin[i]).length;
      out.innerHTML = `<b>${kept}</b> of ${n} still what they <span class="wide">began as</span><span class="narrow">were</span>`;
      side.element.dataset.kept = kept;
    } else {
      out.innerHTML = `<b>${new Set(now.map(([c]) => c)).size}</b> classes among ${n} chains`;
    }
  }

  measured() { // what the large numbers are of
    const n = new Set(this.data.pairs.flatMap((p) => (p.frechet ? [p.frechet.n.toLocaleString("en")] : [])));
    return n.size ? `Large numbers: Fréchet distance of ${[...n].join(" and ")} such chains; mark: of real images among themselves.` : "";
  }

  distance(side, f) { // of 1,000 such chains from the data, at the last measured step so far
    const $ = (q) => side.element.querySelector(q), found = side.pair.frechet;
    side.element.classList.toggle("measured", Boolean(found));
    this.root.classList.toggle("any", this.data.pairs.some((p) => p.frechet));
    if (!found) { $(".distance").textContent = ""; return; }
    const i = found.ks.findLastIndex((k) => k <= this.data.ks[f]), value = found.value[i];
    if (i < 0) { $(".distance").textContent = ""; $(".far").style.width = 0; return; } // nothing is decoded yet
    $(".distance").innerHTML = `<b>${value < 10 ? value.toFixed(1) : Math.round(value)}</b> from real images`;
    $(".distance").title = $(".gauge").title = found.meaning;
    const most = Math.max(...this.data.pairs.flatMap((p) => p.frechet?.value ?? []));
    $(".far").style.width = `${(100 * value) / most}%`;
    $(".real").style.left = `${(100 * found.floor) / most}%`;
  }

  canvas(element, height) { // sized to its place, in device pixels
    const width = element.clientWidth, ratio = window.devicePixelRatio || 1;
    if (element.width !== Math.round(width * ratio) || element.height !== Math.round(height * ratio)) {
      element.width = Math.round(width * ratio);
      element.height = Math.round(height * ratio);
      element.style.height = `${height}px`;
    }
    const c = element.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    c.imageSmoothingEnabled = false;
    return c;
  }

  colours(side) {
    const style = getComputedStyle(this.root);
    return { own: side.pair.colour, text: style.color, font: style.fontFamily, line: style.getPropertyValue("--st-border-color") };
  }

  tile(c, side, f, i, x, y, size) {
    const { w, h, frames } = side.pair;
    if (f < frames) c.drawImage(this.decoded.get(side.pair[this.show]), i * w, f * h, w, h, x, y, size, (size * h) / w);
  }

  kept(side, f, i) { // true, false, or null where that isn't defined
    const seen = side.pair.seen[f]?.[i];
    return seen && side.pair.origin ? seen[0] === side.pair.origin[i] : null;
  }

  now(side, f) {
    const element = side.element.querySelector(".now"), { n, seen, classes } = side.pair;
    const columns = Math.min(5, n), rows = Math.ceil(n / columns);
    const gap = 8, foot = this.data.pairs.some((p) => p.seen[0]?.length) ? 24 : 4;
    const size = Math.max(20, Math.min(150, (element.clientWidth - gap * (columns - 1) - 6) / columns));
    const c = this.canvas(element, rows * (size + foot + 6) + 4), ink = this.colours(side);
    for (let i = 0; i < n; i++) {
      const x = 3 + (i % columns) * (size + gap), y = 3 + Math.floor(i / columns) * (size + foot + 6);
      this.tile(c, side, f, i, x, y, size);
      const kept = this.kept(side, f, i), found = seen[f]?.[i];
      c.lineWidth = 1;
      c.strokeStyle = ink.line;
      c.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
      if (!found) continue;
      const name = (classes[found[0]] ?? String(found[0])) + (found[1] < UNSURE ? "?" : "");
      this.badge(c, x + size / 2, y + size + 5, name, kept, ink);
    }
    element.setAttribute("aria-label", `${side.pair.name}: ${n} chains after ${this.data.ks[f]} round trips`);
  }

  badge(c, x, y, text, kept, ink) {
    c.font = `600 12px ${ink.font}`;
    c.textAlign = "center";
    c.textBaseline = "middle";
    const width = Math.max(24, c.measureText(text).width + 14);
    c.beginPath();
    c.roundRect(x - width / 2, y, width, 17, 8.5);
    c.lineWidth = 1;
    if (kept) { c.fillStyle = ink.own; c.fill(); } else { c.strokeStyle = ink.line; c.stroke(); }
    c.fillStyle = kept ? "#fff" : ink.text;
    c.fillText(text, x, y + 9);
  }

  layout(side) {
    const element = side.element.querySelector(".strip"), width = element.clientWidth;
    const fits = COLUMNS.map((list) => list.filter((k) => k <= this.data.ks.at(-1)));
    const ks = fits.find((list) => width / list.length >= CELL + 2) ?? fits.at(-1);
    const frames = [...new Set(ks.map((k) => this.data.ks.findLastIndex((m) => m <= k)))];
    return { element, frames, cell: Math.min(60, width / frames.length), head: 18 };
  }

  strip(side, here) {
    const { element, frames, cell, head } = this.layout(side), ink = this.colours(side);
    const c = this.canvas(element, head + side.pair.n * cell + 2);
    c.textAlign = "center";
    c.textBaseline = "middle";
    frames.forEach((frame, j) => {
      c.font = `${j === here ? 700 : 400} 11px ${ink.font}`;
      c.fillStyle = j === here ? ink.own : ink.text;
      const k = this.data.ks[frame];
      c.fillText(k < 1000 ? k : "1k", (j + 0.5) * cell, head / 2);
      for (let i = 0; i < side.pair.n; i++) {
        const x = j * cell + 2, y = head + i * cell + 2, size = cell - 4;
        if (frame >= side.pair.frames) { c.strokeStyle = ink.line; c.lineWidth = 1; c.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1); continue; }
        this.tile(c, side, frame, i, x, y, size);
        if (!this.kept(side, frame, i)) continue;
        c.strokeStyle = ink.own;
        c.lineWidth = 2;
        c.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
      }
    });
    c.strokeStyle = ink.text;
    c.globalAlpha = 0.55;
    c.lineWidth = 1.5;
    c.strokeRect(here * cell + 0.75, 0.75, cell - 1.5, head + side.pair.n * cell);
    c.globalAlpha = 1;
    element.setAttribute("aria-label", `${side.pair.name}: every chain in a row, after ${frames.map((i) => this.data.ks[i]).join(", ")} round trips`);
  }

  hit(side, e) {
    const { element, frames, cell, head } = this.layout(side), box = element.getBoundingClientRect();
    const j = Math.floor((e.clientX - box.left) / cell), i = Math.floor((e.clientY - box.top - head) / cell);
    return { element, frame: frames[Math.min(frames.length - 1, Math.max(0, j))], i };
  }

  click(side, e) {
    this.pause();
    this.own = false;
    this.go(this.at(this.data.ks[this.hit(side, e).frame]));
    this.tell();
  }

  hover(side, e) {
    const { element, frame, i } = this.hit(side, e), seen = side.pair.seen[frame]?.[i];
    const what = seen ? `, seen as ${side.pair.classes[seen[0]] ?? seen[0]} (${Math.round(100 * seen[1])}%)` : "";
    element.title = `${side.pair.name}, chain ${i + 1}, k = ${this.data.ks[frame]}${what}`;
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".film");
  if (!views.has(root)) views.set(root, new View(root));
  views.get(root).update(data, (view) => setStateValue("view", view), (have) => setStateValue("asked", have));
}
