// Brings the sheet of test images, once: 16 characters of its id, then a PNG.
export default function ({ data }) {
  const id = new TextDecoder().decode(data.subarray(0, 16)), sheets = (window.symeqSheets ??= new Map());
  if (sheets.has(id)) return;
  createImageBitmap(new Blob([data.subarray(16)], { type: "image/png" })).then((image) => {
    sheets.set(id, image);
    while (sheets.size > 4) sheets.delete(sheets.keys().next().value);
    window.dispatchEvent(new Event("symeq-sheet"));
  });
}
