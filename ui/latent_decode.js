// A pair's decoder in the browser: the perceptron z -> pixels, as torch computes it but for the order of additions.

const ACTIVATIONS = {
  tanh: Math.tanh,
  relu: (v) => Math.max(0, v),
  elu: (v) => (v > 0 ? v : Math.expm1(v)),
  silu: (v) => v / (1 + Math.exp(-v)),
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
  none: (v) => v,
};

// layers: [{w: Float32Array [out * in], b: Float32Array [out]}]; returns z -> E[x | z], Float32Array.
function makeDecoder(layers, activation, output) {
  const act = ACTIVATIONS[activation], last = ACTIVATIONS[output];
  const buffers = layers.map((l) => new Float32Array(l.b.length));
  return (z) => {
    let input = z;
    layers.forEach((layer, k) => {
      const { w, b } = layer, out = buffers[k], f = k === layers.length - 1 ? last : act, n = input.length;
      for (let i = 0, at = 0; i < b.length; i++, at += n) {
        let sum = b[i];
        for (let j = 0; j < n; j++) sum += w[at + j] * input[j];
        out[i] = f(sum);
      }
      input = out;
    });
    return input;
  };
}

// The payload: uint32 length of the header, the header (JSON), then the arrays it names, each [type, offset, length].
const TYPES = { f4: Float32Array, u2: Uint16Array, u1: Uint8Array, i4: Int32Array };
function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const arrays = {};
  for (const [name, [type, offset, length]] of Object.entries(header.arrays)) {
    const part = bytes.slice(offset, offset + length * TYPES[type].BYTES_PER_ELEMENT);
    arrays[name] = new TYPES[type](part.buffer);
  }
  return [header, arrays];
}

// Colours of numbers, light to dark in light themes and dark to light in dark ones.
const RAMP = ["#f7d27c", "#f09a53", "#d65a66", "#8f3388", "#3d1a78"].map(rgb);
const RAMP_DARK = ["#4a3a9c", "#9a3f9a", "#e0606a", "#f5a25a", "#fbe7a1"].map(rgb);
function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}
function ramp(t, dark) {
  const stops = dark ? RAMP_DARK : RAMP, at = Math.min(0.9999, Math.max(0, t)) * (stops.length - 1);
  const i = Math.floor(at), u = at - i;
  return stops[i].map((v, c) => Math.round(v + (stops[i + 1][c] - v) * u));
}

function inside(polygon, x, y) {
  let found = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [a, b] = polygon[i], [c, d] = polygon[j];
    if (b > y !== d > y && x < ((c - a) * (y - b)) / (d - b) + a) found = !found;
  }
  return found;
}

function element(tag, className, parent, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  if (parent) parent.appendChild(e);
  return e;
}
