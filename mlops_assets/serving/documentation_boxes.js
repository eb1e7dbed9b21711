const { kind, type, limit } = byId("drop").dataset;
const palette = ["#ff6b35", "#2ec4b6", "#ffd166", "#9b5de5", "#4ea8de", "#ef476f", "#80b918", "#c08552"];
const colours = new Map();
const colour = (name) => { if (!colours.has(name)) colours.set(name, palette[colours.size % palette.length]); return colours.get(name); };
const columns = kind === "image"
  ? [["class", (b) => b.class], ["score", (b) => b.score.toFixed(3)], ["left", (b) => b.box[0].toFixed(1)], ["top", (b) => b.box[1].toFixed(1)], ["right", (b) => b.box[2].toFixed(1)], ["bottom", (b) => b.box[3].toFixed(1)]]
  : [["class", (b) => b.class], ["score", (b) => b.score.toFixed(3)], ["x m", (b) => b.center[0].toFixed(2)], ["y m", (b) => b.center[1].toFixed(2)], ["z m", (b) => b.center[2].toFixed(2)], ["length", (b) => b.size[0].toFixed(2)], ["width", (b) => b.size[1].toFixed(2)], ["height", (b) => b.size[2].toFixed(2)], ["yaw rad", (b) => b.yaw.toFixed(2)]];
// Which file was given last: the answer to an earlier one may come later.
let turn = 0;
// Paints the latest answer again, because lines and letters are as large as the screen needs them.
let paint = () => {};

function cell(tag, text, number) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (number) made.className = "number";
  return made;
}
function list(boxes) {
  byId("head").replaceChildren(...columns.map(([name], i) => cell("th", name, i > 0)));
  byId("boxes").replaceChildren(...boxes.map((box) => {
    const row = document.createElement("tr");
    columns.forEach(([, text], i) => row.append(cell("td", text(box), i > 0)));
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.style.background = colour(box.class);
    row.firstChild.prepend(chip);
    return row;
  }));
  byId("found").hidden = boxes.length === 0;
}
// Makes the canvas `across` by `down` of its own units; the canvas, how many pixels a unit has, and how many a pixel of the page.
function shown(across, down, least) {
  const canvas = byId("picture");
  canvas.hidden = false;
  const page = canvas.clientWidth;
  canvas.width = Math.max(least, Math.round(page * devicePixelRatio));
  canvas.height = Math.round(canvas.width * down / across);
  return [canvas.getContext("2d"), canvas.width / across, canvas.width / page];
}
function outline(context, points, width, stroke) {
  for (const [style, wide] of [["rgba(0,0,0,.65)", width * 2], [stroke, width]]) {
    context.beginPath();
    points.forEach(([x, y], i) => i ? context.lineTo(x, y) : context.moveTo(x, y));
    context.closePath();
    context.lineWidth = wide;
    context.strokeStyle = style;
    context.stroke();
  }
}
function caption(context, box, x, y, size) {
  const text = `${box.class} ${box.score.toFixed(2)}`;
  context.font = `600 ${size}px system-ui, sans-serif`;
  const wide = context.measureText(text).width + size * .6;
  const left = Math.max(0, Math.min(x, context.canvas.width - wide)), top = Math.max(0, y - size * 1.35);
  context.fillStyle = colour(box.class);
  context.fillRect(left, top, wide, size * 1.35);
  context.fillStyle = "#000";
  context.fillText(text, left + size * .3, top + size);
}
// A JPEG without its metadata: browsers turn a picture as EXIF says, boxes are in pixels as they are stored.
function asStored(bytes) {
  const view = new DataView(bytes), parts = [];
  if (bytes.byteLength < 4 || view.getUint16(0) !== 0xffd8) return new Blob([bytes]);
  let at = 2;
  while (at + 4 <= bytes.byteLength && view.getUint16(at) > 0xff00 && view.getUint16(at) !== 0xffda) {
    const end = at + 2 + view.getUint16(at + 2);
    if (view.getUint16(at) !== 0xffe1) parts.push(bytes.slice(at, end));
    at = end;
  }
  return new Blob([bytes.slice(0, 2), ...parts, bytes.slice(at)]);
}
async function pictureOf(file, boxes) {
  const picture = await createImageBitmap(asStored(await file.arrayBuffer()));
  return () => {
    const [context, scale, pixel] = shown(picture.width, picture.height, picture.width);
    context.drawImage(picture, 0, 0, context.canvas.width, context.canvas.height);
    for (const box of [...boxes].reverse()) {
      const [l, t, r, b] = box.box.map((side) => side * scale);
      outline(context, [[l, t], [r, t], [r, b], [l, b]], 1.5 * pixel, colour(box.class));
      if (boxes.length <= 40) caption(context, box, l, t, 11 * pixel);
    }
  };
}
async function viewOf(file, boxes) {
  const bytes = await file.arrayBuffer();
  const points = new Float32Array(bytes.slice(0, bytes.byteLength - bytes.byteLength % 16));
  // Seen from above, the vehicle drives to the right: x to the right, y upwards. Every box is in view.
  const most = (numbers, start) => numbers.reduce((a, b) => Math.max(a, b), start);
  const reach = (axis, sign, start) => sign * most(boxes.map((box) => sign * box.center[axis] + 5), start);
  const [x0, x1, y0, y1] = [reach(0, -1, 5), reach(0, 1, 75), reach(1, -1, 40), reach(1, 1, 40)];
  return () => {
    const [context, scale, pixel] = shown(x1 - x0, y1 - y0, 0);
    const style = getComputedStyle(document.documentElement), soft = style.getPropertyValue("--soft");
    const at = (x, y) => [(x - x0) * scale, (y1 - y) * scale];
    context.strokeStyle = soft;
    context.globalAlpha = .3;
    context.lineWidth = pixel;
    for (let far = 20; far < Math.hypot(x1, y1); far += 20) {
      context.beginPath();
      context.arc(...at(0, 0), far * scale, 0, 2 * Math.PI);
      context.stroke();
    }
    context.globalAlpha = 1;
    context.fillStyle = soft;
    const dot = 1.25 * pixel;
    for (let i = 0; i < points.length; i += 4) {
      if (points[i] < x0 || points[i] > x1 || points[i + 1] < y0 || points[i + 1] > y1) continue;
      const [x, y] = at(points[i], points[i + 1]);
      context.fillRect(x, y, dot, dot);
    }
    context.fillStyle = style.getPropertyValue("--accent");
    context.beginPath();
    const [x, y] = at(0, 0);
    context.moveTo(x + 7 * pixel, y);
    context.lineTo(x - 5 * pixel, y - 5 * pixel);
    context.lineTo(x - 5 * pixel, y + 5 * pixel);
    context.fill();
    for (const box of [...boxes].reverse()) {
      const [c, s] = [Math.cos(box.yaw), Math.sin(box.yaw)], [l, w] = [box.size[0] / 2, box.size[1] / 2];
      const corner = (u, v) => at(box.center[0] + u * l * c - v * w * s, box.center[1] + u * l * s + v * w * c);
      outline(context, [corner(1, 1), corner(1, -1), corner(-1, -1), corner(-1, 1)], 1.5 * pixel, colour(box.class));
      outline(context, [corner(0, 0), corner(1, 0)], pixel, colour(box.class));
      if (boxes.length <= 12) caption(context, box, ...corner(-1, 1), 11 * pixel);
    }
  };
}
function clear() {
  paint = () => {};
  byId("picture").hidden = byId("view").hidden = true;
  list([]);
}
async function show(file, boxes, own) {
  try {
    const painted = await (kind === "image" ? pictureOf : viewOf)(file, boxes);
    if (own !== turn) return;
    paint = painted;
    paint();
    byId("picture").setAttribute("aria-label", `${file.name} with ${boxes.length} boxes; the table below lists them`);
    byId("view").hidden = kind === "image";
  } catch (error) {
    byId("status").textContent += `; this browser cannot show the file (${error.message})`;
  }
}
function refusal(status, content) {
  const problem = content.error.problems[0];
  return `refused (${status}): ${problem.message}` + (problem.given === undefined ? "" : `; given: ${problem.given}`) + (problem.allowed ? `; allowed: ${problem.allowed}` : "");
}
async function send(file) {
  const own = ++turn, started = performance.now();
  clear();
  byId("raw").open = false;
  if (file.size > Number(limit)) {
    tell(`${file.name}: ${(file.size / 2 ** 20).toFixed(1)} MiB; allowed: at most ${limit / 2 ** 20} MiB`, true);
    return;
  }
  tell(`${file.name}: waiting`, false);
  let reply, text;
  try {
    const sent = kind === "image" && ["image/png", "image/jpeg"].includes(file.type) ? file.type : type;
    reply = await fetch("invocations", { method: "POST", headers: { "content-type": sent }, body: file });
    text = await reply.text();
  } catch (error) {
    if (own === turn) tell(`${file.name}: no answer (${error.message})`, true);
    return;
  }
  if (own !== turn) return;
  const took = (performance.now() - started).toFixed(1);
  let content;
  try { content = JSON.parse(text); } catch { content = null; }
  byId("what").textContent = "Answer as JSON";
  byId("answer").textContent = content === null ? text : JSON.stringify(content, null, 2);
  byId("raw").open = !reply.ok;
  if (!reply.ok) {
    tell(`${file.name}: ` + (content?.error?.problems ? refusal(reply.status, content) : `refused (${reply.status})`), true);
    return;
  }
  const boxes = content.predictions[0].boxes, counted = ["nothing found", "1 box"][boxes.length] ?? `${boxes.length} boxes`;
  tell(`${file.name}: ${counted}, answered in ${took} ms`, false);
  list(boxes);
  await show(file, boxes, own);
}
// Without this the same file could not be chosen twice.
byId("file").addEventListener("click", () => { byId("file").value = ""; });
byId("file").addEventListener("change", () => { if (byId("file").files.length) send(byId("file").files[0]); });
// On the whole page: a browser opens a file that is dropped beside the mark.
for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  addEventListener(event, (given) => {
    given.preventDefault();
    byId("drop").classList.toggle("over", over);
    if (event !== "drop" || !given.dataTransfer.files.length) return;
    byId("file").files = given.dataTransfer.files;
    send(given.dataTransfer.files[0]);
  });
}
addEventListener("resize", () => paint());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint());
