// One map in three layers: beneath the points the decoded plane, rings and ellipses; above them words and marks. Knows
// the view it is given, no events.

class Pane {
  constructor(parent) {
    this.box = element("div", "pane", parent);
    this.title = element("div", "title", this.box);
    const stage = (this.stage = element("div", "stage", this.box));
    this.under = element("canvas", "under", stage);
    this.points = element("canvas", "points", stage);
    this.over = element("canvas", "over", stage);
    this.tiles = new Map();
  }

  // d: {position, value, near, further, sd, colours (Uint32 [n]), spec}
  set(d) {
    if (d.spec.decoder !== this.decoderKey) this.tiles.clear();
    this.decoderKey = d.spec.decoder;
    Object.assign(this, d);
    this.title.replaceChildren();
    const name = element("b", "", this.title, d.spec.letter);
    name.style.color = d.spec.colour;
    element("span", "of", this.title, d.spec.title);
    if (d.spec.facts) element("span", "facts", this.title, d.spec.facts);
  }

  resize() {
    const { width, height } = this.stage.getBoundingClientRect(), r = window.devicePixelRatio || 1;
    this.w = Math.max(1, Math.round(width)), this.h = Math.max(1, Math.round(height)), this.r = r;
    for (const c of [this.under, this.points, this.over]) {
      const w = Math.round(this.w * r), h = Math.round(this.h * r);
      if (c.width !== w || c.height !== h) c.width = w, c.height = h, (this.image = null);
    }
  }

  // View {x, y, k} is in units of the frame: the frame's unit square fills the shorter side at k = 1.
  unit(view) {
    return (view.k * Math.min(this.w, this.h)) / 2;
  }
  toScreen(view, px, py) {
    const [cx, cy, r] = this.spec.frame, u = this.unit(view);
    return [this.w / 2 + ((px - cx) / r - view.x) * u, this.h / 2 - ((py - cy) / r - view.y) * u];
  }
  toMap(view, sx, sy) {
    const [cx, cy, r] = this.spec.frame, u = this.unit(view);
    return [cx + r * (view.x + (sx - this.w / 2) / u), cy + r * (view.y - (sy - this.h / 2) / u)];
  }
  // Where a point of the map is in the pair's own latent space (they differ where B was turned onto A).
  toLatent([x, y]) {
    const m = this.spec.back;
    return m ? [m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]] : [x, y];
  }

  screen(view) {
    const n = this.position.length / 2, out = this.at && this.at.length === 2 * n ? this.at : new Float32Array(2 * n);
    const [cx, cy, r] = this.spec.frame, u = this.unit(view);
    const ax = u / r, bx = this.w / 2 - (cx / r + view.x) * u, by = this.h / 2 + (cy / r + view.y) * u;
    for (let i = 0; i < n; i++) {
      out[2 * i] = bx + ax * this.position[2 * i];
      out[2 * i + 1] = by - ax * this.position[2 * i + 1];
    }
    return (this.at = out);
  }

  nearest(x, y, reach) {
    let best = -1, least = reach * reach;
    for (let i = 0, at = this.at; i < at.length / 2; i++) {
      const dx = at[2 * i] - x, dy = at[2 * i + 1] - y, d = dx * dx + dy * dy;
      if (d < least) (least = d), (best = i);
    }
    return best;
  }

  drawUnder(view, look) {
    const g = this.under.getContext("2d");
    g.setTransform(this.r, 0, 0, this.r, 0, 0);
    g.clearRect(0, 0, this.w, this.h);
    if (this.decode && look.plane) this.drawPlane(g, view, look);
    if (this.spec.prior) this.drawRings(g, view, look);
    if (this.sd && look.ellipses) this.drawEllipses(g, view, look);
    if (this.further) this.drawFurther(g, view, look);
  }

  // The decoded plane: one tile for each place of a lattice whose pitch is a power of two.
  drawPlane(g, view, look) {
    const r = this.spec.frame[2], u = this.unit(view) / r, pitch = 2 ** Math.round(Math.log2(44 / u));
    const [left, top] = this.toMap(view, 0, 0), [right, bottom] = this.toMap(view, this.w, this.h);
    g.imageSmoothingEnabled = false;
    g.globalAlpha = look.dark ? 0.2 : 0.17; // so that the points stand out
    if (this.tiles.size > 3000) this.tiles.clear();
    for (let i = Math.floor(left / pitch); i <= right / pitch + 1; i++)
      for (let j = Math.floor(bottom / pitch); j <= top / pitch + 1; j++) {
        const [x, y] = this.toScreen(view, i * pitch, j * pitch), s = Math.round(0.76 * pitch * u); // a gap between digits
        g.drawImage(this.tile(i * pitch, j * pitch, look.ink), Math.round(x - s / 2), Math.round(y - s / 2), s, s);
      }
    g.globalAlpha = 1;
  }
  tile(x, y, ink) {
    const key = `${x},${y},${ink}`;
    let c = this.tiles.get(key);
    if (!c) this.tiles.set(key, (c = picture(this.decode(this.toLatent([x, y])), this.shape, ink)));
    return c;
  }

  // One and two standard deviations of the prior.
  drawRings(g, view, look) {
    const [x, y] = this.toScreen(view, ...this.spec.prior), u = this.unit(view) / this.spec.frame[2];
    for (const [colour, width, dash] of [[look.ground, 4, []], [look.text, 1.5, [5, 4]]]) {
      g.strokeStyle = colour, g.lineWidth = width, g.setLineDash(dash);
      for (const sd of [1, 2]) g.beginPath(), g.arc(x, y, sd * u, 0, 2 * Math.PI), g.stroke();
    }
    g.setLineDash([]);
  }

  // The axes' numbers and the rings' names, above the points.
  drawWords(g, view, look) {
    const u = this.unit(view) / this.spec.frame[2], step = [0.1, 0.25, 0.5, 1, 2, 5].find((s) => s * u > 48) || 10;
    const [left, top] = this.toMap(view, 0, 0), [right, bottom] = this.toMap(view, this.w, this.h);
    g.font = "11px sans-serif", g.textBaseline = "middle";
    for (let i = Math.ceil(left / step); i <= right / step; i++) {
      const x = this.toScreen(view, i * step, 0)[0];
      if (x > 40 && x < this.w - 14) plate(g, +(i * step).toFixed(2) + "", x, this.h - 11, look);
    }
    for (let i = Math.ceil(bottom / step); i <= top / step; i++) {
      const y = this.toScreen(view, 0, i * step)[1];
      if (y > 10 && y < this.h - 30) plate(g, +(i * step).toFixed(2) + "", 16, y, look);
    }
    if (!this.spec.prior) return;
    const [x, y] = this.toScreen(view, ...this.spec.prior);
    for (const sd of [1, 2]) plate(g, `${sd} s.d.`, x, y - sd * u, look);
  }

  // One path for all ellipses of a colour: a stroke of its own for each would take ten times as long.
  drawEllipses(g, view, look) {
    const u = this.unit(view) / this.spec.frame[2], at = this.at, n = at.length / 2, m = this.spec.turn || [1, 0, 0, 1];
    const angle = Math.atan2(-m[1], m[0]), paths = new Map();
    for (let i = 0, drawn = 0; i < n && drawn < 1500; i++) {
      const x = at[2 * i], y = at[2 * i + 1];
      if (x < -20 || y < -20 || x > this.w + 20 || y > this.h + 20) continue;
      drawn++;
      let path = paths.get(this.colours[i]);
      if (!path) paths.set(this.colours[i], (path = new Path2D()));
      const a = this.sd[2 * i] * u, b = this.sd[2 * i + 1] * u;
      path.moveTo(x + a * Math.cos(angle), y + a * Math.sin(angle));
      path.ellipse(x, y, a, b, angle, 0, 2 * Math.PI);
    }
    g.globalAlpha = look.dim ? 0.18 : 0.45, g.lineWidth = 1;
    for (const [colour, path] of paths) (g.strokeStyle = css(colour)), g.stroke(path);
    g.globalAlpha = 1;
  }

  // Points straight into pixels: 10,000 take a few milliseconds without a graphics card. Returns how many are in sight.
  drawPoints(view, look, chosen) {
    const g = this.points.getContext("2d"), W = this.points.width, H = this.points.height;
    if (!this.image) this.image = g.createImageData(W, H);
    const buffer = new Uint32Array(this.image.data.buffer), at = this.at, n = at.length / 2;
    buffer.fill(0);
    const size = (n > 4000 ? 1.7 : n > 1000 ? 2.3 : 3.6) * Math.min(2.2, view.k ** 0.35) * this.r, disc = makeDisc(size);
    const rim = look.plane && this.decode && makeDisc(size + 1.3 * this.r), [red, green, blue] = rgb(look.ground), ground = (blue << 16) | (green << 8) | red;
    const dim = chosen.size > 0;
    let seen = 0;
    for (let i = 0; i < n; i++) {
      const x = Math.round(at[2 * i] * this.r), y = Math.round(at[2 * i + 1] * this.r);
      if (x < 0 || y < 0 || x >= W || y >= H) continue;
      seen++;
      if (look.images || (dim && chosen.has(i))) continue;
      if (rim) stamp(buffer, W, H, x, y, ground, rim, dim ? 0.3 : 0.8); // parts it from the digits beneath
      stamp(buffer, W, H, x, y, this.colours[i], disc, dim ? 0.3 : 0.9);
    }
    if (dim && !look.images)
      for (const i of chosen) {
        const x = Math.round(at[2 * i] * this.r), y = Math.round(at[2 * i + 1] * this.r);
        if (x >= 0 && y >= 0 && x < W && y < H) stamp(buffer, W, H, x, y, this.colours[i], disc, 1);
      }
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.putImageData(this.image, 0, 0);
    g.setTransform(this.r, 0, 0, this.r, 0, 0);
    if (look.images) this.drawThumbnails(g, look, chosen);
    return seen;
  }

  drawThumbnails(g, look, chosen) {
    const s = look.sheet, side = Math.max(22, Math.min(56, s.w * 2)), taken = new Set(), at = this.at;
    g.imageSmoothingEnabled = false, g.lineWidth = 2;
    const draw = (i) => {
      const x = at[2 * i], y = at[2 * i + 1];
      if (x < 0 || y < 0 || x > this.w || y > this.h) return;
      const key = Math.floor(x / (side + 5)) + "," + Math.floor(y / (side + 5));
      if (taken.has(key)) return;
      taken.add(key);
      const cx = (Math.floor(x / (side + 5)) + 0.5) * (side + 5) - side / 2, cy = (Math.floor(y / (side + 5)) + 0.5) * (side + 5) - side / 2;
      s.draw(g, i, cx, cy, side);
      g.strokeStyle = css(this.colours[i]), g.strokeRect(cx - 1, cy - 1, side + 2, side + 2);
    };
    chosen.forEach(draw);
    for (let i = 0; i < at.length / 2; i++) draw(i);
  }

  drawFurther(g, view, look) {
    g.strokeStyle = look.text, g.globalAlpha = 0.55, g.lineWidth = 1;
    g.beginPath();
    for (let i = 0; i < this.further.length / 2; i++) {
      const [x, y] = this.toScreen(view, this.further[2 * i], this.further[2 * i + 1]);
      g.moveTo(x - 3, y), g.lineTo(x + 3, y), g.moveTo(x, y - 3), g.lineTo(x, y + 3);
    }
    g.stroke(), (g.globalAlpha = 1);
  }

  ring(g, i, colour, radius = 7) {
    g.strokeStyle = colour, g.lineWidth = 2;
    g.beginPath(), g.arc(this.at[2 * i], this.at[2 * i + 1], radius, 0, 2 * Math.PI), g.stroke();
  }

  // The point, and lines to its nearest neighbours in the latent space itself.
  mark(g, i, look) {
    if (this.near) {
      g.strokeStyle = look.text, g.lineWidth = 1, g.globalAlpha = 0.6, g.beginPath();
      for (let j = 0; j < this.k; j++) {
        const other = this.near[i * this.k + j];
        g.moveTo(this.at[2 * i], this.at[2 * i + 1]), g.lineTo(this.at[2 * other], this.at[2 * other + 1]);
      }
      g.stroke(), (g.globalAlpha = 1);
    }
    this.ring(g, i, look.text);
  }
}

// Words on a plate of the ground's colour, which can be read whatever lies beneath.
function plate(g, text, x, y, look) {
  const w = g.measureText(text).width + 8;
  g.fillStyle = look.ground, g.globalAlpha = 0.85;
  g.beginPath(), g.roundRect(x - w / 2, y - 8, w, 16, 4), g.fill();
  g.fillStyle = look.text, g.globalAlpha = 1, g.textAlign = "center";
  g.fillText(text, x, y + 0.5);
}
const css = (c) => `rgb(${c & 255},${(c >> 8) & 255},${(c >> 16) & 255})`;

function makeDisc(radius) {
  const found = [], reach = Math.ceil(radius);
  for (let dy = -reach; dy <= reach; dy++)
    for (let dx = -reach; dx <= reach; dx++) {
      const a = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx, dy)));
      if (a > 0.05) found.push(dx, dy, a);
    }
  return found;
}
function stamp(buffer, W, H, x, y, colour, disc, strength) {
  const r = colour & 255, g = (colour >> 8) & 255, b = (colour >> 16) & 255;
  for (let k = 0; k < disc.length; k += 3) {
    const px = x + disc[k], py = y + disc[k + 1];
    if (px < 0 || py < 0 || px >= W || py >= H) continue;
    const at = py * W + px, a = disc[k + 2] * strength, old = buffer[at];
    if (old === 0) {
      buffer[at] = ((a * 255) << 24) | (colour & 0xffffff);
      continue;
    }
    const oa = (old >>> 24) / 255, out = a + oa * (1 - a), t = a / out, s = 1 - t;
    buffer[at] =
      ((out * 255) << 24) |
      ((b * t + ((old >> 16) & 255) * s) << 16) |
      ((g * t + ((old >> 8) & 255) * s) << 8) |
      (r * t + (old & 255) * s);
  }
}

// An image [c * h * w] in [0, 1] as a small canvas: grey as ink whose strength is the value, or, without ink, as it is.
function picture(values, [c, h, w], ink) {
  const canvas = document.createElement("canvas");
  canvas.width = w, canvas.height = h;
  const g = canvas.getContext("2d"), image = g.createImageData(w, h), size = w * h;
  const [r, gr, b] = ink ? rgb(ink) : [255, 255, 255];
  for (let i = 0; i < size; i++) {
    const v = values[i], at = 4 * i;
    if (c === 3) {
      for (let k = 0; k < 3; k++) image.data[at + k] = Math.round(255 * values[k * size + i]);
      image.data[at + 3] = 255;
    } else if (ink) {
      image.data[at] = r, image.data[at + 1] = gr, image.data[at + 2] = b;
      image.data[at + 3] = Math.round(255 * v);
    } else {
      image.data[at] = image.data[at + 1] = image.data[at + 2] = Math.round(255 * v);
      image.data[at + 3] = 255;
    }
  }
  g.putImageData(image, 0, 0);
  return canvas;
}
