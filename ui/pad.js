// A pad to draw a digit on: strokes go to Python as text (see symeq_core/strokes.py), pictures of them come back.
const pads = new WeakMap();
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const STEPS = 512, SIZE = 400, PEN = 0.085;
const TEMPLATE = `
  <canvas class="draw" width="${SIZE}" height="${SIZE}" role="img" aria-label="Draw a digit here"></canvas>
  <div class="seen"></div>
  <div class="side"><div class="hint"></div>
    <div class="tools"><button class="clear">Clear</button><button class="undo">Undo stroke</button></div></div>`;

function simplified(points, tolerance = 0.006) { // Ramer, Douglas, Peucker
  if (points.length < 3) return points;
  const [a, b] = [points[0], points.at(-1)], [dx, dy] = [b[0] - a[0], b[1] - a[1]], length = Math.hypot(dx, dy);
  let worst = 0, far = 0;
  points.forEach(([x, y], i) => {
    const d = length < 1e-9 ? Math.hypot(x - a[0], y - a[1]) : Math.abs(dy * (x - a[0]) - dx * (y - a[1])) / length;
    if (d > far) [far, worst] = [d, i];
  });
  if (far <= tolerance) return [a, b];
  return [...simplified(points.slice(0, worst + 1), tolerance).slice(0, -1), ...simplified(points.slice(worst), tolerance)];
}

function encode(strokes) {
  return strokes.map((stroke) => stroke.map(([x, y]) => {
    const [i, j] = [x, y].map((v) => Math.min(STEPS - 1, Math.max(0, Math.round(v * (STEPS - 1)))));
    const n = i * STEPS + j;
    return ALPHABET[n >> 12] + ALPHABET[(n >> 6) & 63] + ALPHABET[n & 63];
  }).join("")).join(".");
}

function decode(code) {
  return code.split(".").filter(Boolean).map((part) => {
    const points = [];
    for (let at = 0; at + 3 <= part.length; at += 3) {
      const n = [0, 1, 2].reduce((sum, i) => sum * 64 + Math.max(0, ALPHABET.indexOf(part[at + i])), 0);
      points.push([Math.floor(n / STEPS) / (STEPS - 1), (n % STEPS) / (STEPS - 1)]);
    }
    return points;
  });
}

class Pad {
  constructor(root) {
    root.innerHTML = TEMPLATE;
    this.root = root;
    this.canvas = root.querySelector(".draw");
    this.strokes = [];
    this.code = "";
    this.canvas.onpointerdown = (e) => {
      this.canvas.setPointerCapture(e.pointerId);
      this.current = [this.place(e)];
      this.draw();
      e.preventDefault();
    };
    this.canvas.onpointermove = (e) => {
      if (!this.current) return;
      for (const p of e.getCoalescedEvents?.() ?? [e]) this.current.push(this.place(p));
      this.draw();
    };
    this.canvas.onpointerup = this.canvas.onpointercancel = () => {
      if (!this.current) return;
      this.strokes.push(simplified(this.current));
      this.current = null;
      this.send();
    };
    root.querySelector(".clear").onclick = () => { this.strokes = []; this.send(); };
    root.querySelector(".undo").onclick = () => { this.strokes.pop(); this.send(); };
  }

  place(e) {
    const box = this.canvas.getBoundingClientRect();
    const inside = (v) => Math.min(1, Math.max(0, v));
    return [inside((e.clientX - box.left) / box.width), inside((e.clientY - box.top) / box.height)];
  }

  send() { this.code = encode(this.strokes); this.draw(); this.report(this.code); }

  update(data, report) {
    this.report = report;
    if (this.first === undefined || (data.code !== this.code && !this.current && data.code !== this.old)) {
      this.strokes = decode(data.code);
      this.code = data.code;
    }
    this.first = false;
    this.old = data.code;
    this.root.querySelector(".hint").textContent = data.hint;
    this.seen(data.seen);
    this.draw();
  }

  seen(pictures) {
    const box = this.root.querySelector(".seen");
    box.replaceChildren(...pictures.map(({ png, side, text }) => {
      const figure = document.createElement("figure"), canvas = document.createElement("canvas");
      const caption = document.createElement("figcaption"), image = new Image();
      canvas.width = canvas.height = side;
      image.onload = () => canvas.getContext("2d").drawImage(image, 0, 0);
      image.src = "data:image/png;base64," + png;
      caption.textContent = text;
      figure.append(canvas, caption);
      return figure;
    }));
  }

  draw() {
    const c = this.canvas.getContext("2d");
    c.clearRect(0, 0, SIZE, SIZE);
    c.lineWidth = PEN * SIZE;
    c.lineCap = c.lineJoin = "round";
    c.strokeStyle = "#fff";
    for (const stroke of [...this.strokes, ...(this.current ? [this.current] : [])]) {
      if (!stroke.length) continue;
      c.beginPath();
      c.moveTo(stroke[0][0] * SIZE, stroke[0][1] * SIZE);
      for (const [x, y] of stroke) c.lineTo(x * SIZE + 0.01, y * SIZE);
      c.stroke();
    }
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".pad");
  if (!pads.has(root)) pads.set(root, new Pad(root));
  pads.get(root).update(data, (code) => setStateValue("code", code));
}
