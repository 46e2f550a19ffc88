// Lines and zones drawn on a frame of a stream, as the configuration that --zones FILE reads.

import { path, request } from "./api.js";

const byId = (id) => document.getElementById(id);
const dialog = byId("shapes");
const canvas = byId("shape-canvas");
const context = canvas.getContext("2d");
let frame = null;
let shapes = [];
let points = [];
/** Where the keyboard's cross is, 0 to 1. */
let cross = [0.5, 0.5];

export async function drawShapes(name) {
  [shapes, points, cross] = [[], [], [0.5, 0.5]];
  byId("shapes-title").textContent = `Lines and zones of ${name}`;
  say("Fetching a frame …");
  dialog.showModal();
  show();
  try {
    const response = await request(path(name, "/snapshot.jpg"));
    frame = await createImageBitmap(await response.blob());
    [canvas.width, canvas.height] = [frame.width, frame.height];
    say("");
  } catch (error) {
    frame = null;
    say(error.message);
  }
  suggest();
  show();
}

function say(text) {
  byId("shape-state").textContent = text;
}

const kind = () => byId("shape-kind").value;

function suggest() {
  const taken = shapes.filter((shape) => shape.kind === kind()).length;
  byId("shape-name").value = `${kind()}${taken + 1}`;
}

function set(point) {
  if (!frame) return;
  if (kind() === "line" && points.length === 2) points = [];
  points.push(point.map((value) => Math.min(1, Math.max(0, value))));
  say(`${points.length} ${points.length === 1 ? "point" : "points"}`);
  show();
}

canvas.addEventListener("click", (event) => {
  const box = canvas.getBoundingClientRect();
  cross = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  set(cross);
});
canvas.addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 0.05 : 0.01;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  const move = moves[event.key];
  if (move) {
    cross = cross.map((value, axis) => Math.min(1, Math.max(0, value + move[axis])));
    show();
  } else if (event.key === " " || event.key === "Enter") {
    set([...cross]);
  } else if (event.key === "Backspace") {
    undo();
  } else {
    return;
  }
  event.preventDefault();
});
canvas.addEventListener("focus", show);
canvas.addEventListener("blur", show);

function undo() {
  points.pop();
  show();
}

function add() {
  const name = byId("shape-name").value.trim();
  const least = kind() === "line" ? 2 : 3;
  if (points.length < least) return say(`a ${kind()} has ${least} points${least === 3 ? " or more" : ""}`);
  if (!name) return say("give it a name");
  if (shapes.some((shape) => shape.name === name)) return say(`${name} is taken; names differ`);
  shapes.push({ kind: kind(), name, points });
  points = [];
  say(`${name} added`);
  suggest();
  show();
}

function toml() {
  const text = (value) => JSON.stringify(value);
  const pair = (point) => `[${point.map((value) => value.toFixed(4)).join(", ")}]`;
  return shapes.map(({ kind, name, points }) => `[[${kind}]]\nname = ${text(name)}\npoints = [${points.map(pair).join(", ")}]\n`).join("\n");
}

function show() {
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  if (frame) context.drawImage(frame, 0, 0);
  const thick = Math.max(2, width / 400);
  const trace = (shape, closed) => {
    context.beginPath();
    shape.forEach(([x, y], n) => context[n ? "lineTo" : "moveTo"](x * width, y * height));
    if (closed) context.closePath();
    // Light within dark: seen on any frame.
    for (const [colour, line] of [["#000", thick * 2], ["#ffd34d", thick]]) {
      [context.strokeStyle, context.lineWidth] = [colour, line];
      context.stroke();
    }
  };
  for (const shape of shapes) trace(shape.points, shape.kind === "zone");
  trace(points, false);
  for (const [x, y] of points) {
    context.fillStyle = "#ffd34d";
    context.beginPath();
    context.arc(x * width, y * height, thick * 2, 0, 7);
    context.fill();
  }
  if (document.activeElement === canvas) {
    const [x, y] = [cross[0] * width, cross[1] * height];
    const arm = width / 40;
    for (const [colour, line] of [["#000", thick * 2], ["#fff", thick]]) {
      [context.strokeStyle, context.lineWidth] = [colour, line];
      context.beginPath();
      for (const [dx, dy] of [[arm, 0], [0, arm]]) {
        context.moveTo(x - dx, y - dy);
        context.lineTo(x + dx, y + dy);
      }
      context.stroke();
    }
  }
  byId("shape-toml").textContent = toml() || "# what you draw stands here";
}

byId("shape-kind").addEventListener("change", () => { points = []; suggest(); show(); });
byId("shape-add").addEventListener("click", add);
byId("shape-undo").addEventListener("click", undo);
byId("shape-clear").addEventListener("click", () => { [shapes, points] = [[], []]; suggest(); show(); });
byId("shape-close").addEventListener("click", () => dialog.close());
byId("shape-copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(toml());
    say("copied");
  } catch {
    // Clipboards are for pages by HTTPS or from this machine.
    const range = document.createRange();
    range.selectNodeContents(byId("shape-toml"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    say("selected; copy it with Ctrl+C");
  }
});
