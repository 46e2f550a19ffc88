// Lines and zones drawn on a frame of a stream, as keys of its table in the configuration, or as the file that --zones reads.

import { path, request } from "./api.js";

const byId = (id) => document.getElementById(id);
const dialog = byId("shapes");
const canvas = byId("shape-canvas");
const context = canvas.getContext("2d");
/** As long as names may be: they are drawn in the frame. */
const LONGEST_NAME = 60;
let frame = null;
let shapes = [];
let points = [];
/** Where the keyboard's cross is, 0 to 1. */
let cross = [0.5, 0.5];
let fetching = null;

export async function drawShapes(name) {
  [frame, shapes, points, cross] = [null, [], [], [0.5, 0.5]];
  byId("shapes-title").textContent = `Lines and zones of ${name}`;
  say("Fetching a frame …");
  dialog.showModal();
  show();
  suggest();
  fetching?.abort();
  const { signal } = (fetching = new AbortController());
  try {
    const response = await request(path(name, "/snapshot.jpg"), { signal });
    const image = await createImageBitmap(await response.blob());
    if (signal.aborted) return;
    frame = image;
    [canvas.width, canvas.height] = [frame.width, frame.height];
    say("");
  } catch (error) {
    if (signal.aborted) return;
    say(error.message);
  }
  show();
}

function say(text) {
  byId("shape-state").textContent = text;
}

const kind = () => byId("shape-kind").value;

function suggest() {
  let n = 1;
  while (shapes.some(({ name }) => name === `${kind()}${n}`)) n += 1;
  byId("shape-name").value = `${kind()}${n}`;
}

function set(point) {
  if (!frame) return;
  if (kind() === "line" && points.length === 2) points = [];
  // As precise as it is written.
  points.push(point.map((value) => Number(Math.min(1, Math.max(0, value)).toFixed(4))));
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
  const shape = drawn();
  const wrong = problem(shape);
  if (wrong) return say(wrong);
  shapes.push(shape);
  points = [];
  say(`${shape.name} added`);
  suggest();
  show();
}

/** What the points make so far. */
const drawn = () => ({ kind: kind(), name: byId("shape-name").value.trim(), points });

/** Why the program would not take it. */
function problem({ kind, name, points }) {
  const least = kind === "line" ? 2 : 3;
  if (points.length < least) return `a ${kind} has ${least} points${least === 3 ? " or more" : ""}`;
  if (!name) return "give it a name";
  if ([...name].length > LONGEST_NAME || name.includes("=")) return `a name has ${LONGEST_NAME} characters at most, and no “=”`;
  if (shapes.some((shape) => shape.name === name)) return `${name} is taken; names differ`;
  if (kind === "line") return same(...points) ? "a line's ends differ" : "";
  return meetsItself(points) ? "the zone's border meets itself: set the corners in the order in which one walks around it" : "";
}

const same = ([ax, ay], [bx, by]) => ax === bx && ay === by;
/** Above 0 where `p` is on the right of who walks from `a` to `b`, y downwards. */
const turn = ([ax, ay], [bx, by], [px, py]) => (bx - ax) * (py - ay) - (by - ay) * (px - ax);

function meetsItself(points) {
  const count = points.length;
  const edge = (n) => [points[n % count], points[(n + 1) % count]];
  const within = ([a, b], p) => turn(a, b, p) === 0 && [0, 1].every((i) => Math.min(a[i], b[i]) <= p[i] && p[i] <= Math.max(a[i], b[i]));
  const crosses = ([a, b], [c, d]) => turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0;
  for (let n = 0; n < count; n++) {
    const own = edge(n);
    if (same(...own)) return true;
    for (let other = 0; other < count; other++) {
      if (other !== n && other !== (n + 1) % count && within(own, points[other])) return true;
      if (other > n && crosses(own, edge(other))) return true;
    }
  }
  return false;
}

/** What is drawn, as it is to be pasted; the shape that is not added yet as well, where it is whole. */
function toml() {
  const text = (value) => JSON.stringify(value);
  const numbers = (point) => point.map((value) => value.toFixed(4));
  const all = problem(drawn()) ? shapes : [...shapes, drawn()];
  if (byId("shape-form").value === "file") {
    const table = ({ kind, name, points }) =>
      `[[${kind}]]\nname = ${text(name)}\npoints = [${points.map((point) => `[${numbers(point).join(", ")}]`).join(", ")}]\n`;
    return all.map(table).join("\n");
  }
  const key = (name, wanted) => {
    const values = all.filter(({ kind }) => kind === wanted).map(({ name, points }) => `  ${text(`${name}=${points.flatMap(numbers).join(",")}`)},\n`);
    return values.length ? `${name} = [\n${values.join("")}]\n` : "";
  };
  return key("count-line", "line") + key("zone", "zone");
}

function show() {
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  if (frame) context.drawImage(frame, 0, 0);
  const thick = Math.max(2, width / 400);
  const trace = ({ kind, points }, closed) => {
    const shape = points.map(([x, y]) => [x * width, y * height]);
    context.beginPath();
    shape.forEach((point, n) => context[n ? "lineTo" : "moveTo"](...point));
    if (closed) context.closePath();
    if (kind === "line" && points.length === 2) arrow(...shape, width / 25);
    // Light within dark: seen on any frame.
    for (const [colour, line] of [["#000", thick * 2], ["#ffd34d", thick]]) {
      [context.strokeStyle, context.lineWidth] = [colour, line];
      context.stroke();
    }
  };
  for (const shape of shapes) trace(shape, shape.kind === "zone");
  trace(drawn(), false);
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

/** Where “in” leads, as in the frames of who counts. */
function arrow([ax, ay], [bx, by], long) {
  const length = Math.hypot(bx - ax, by - ay) || 1;
  const [dx, dy] = [(bx - ax) / length, (by - ay) / length];
  const [x, y] = [(ax + bx) / 2, (ay + by) / 2];
  const tip = [x - dy * long, y + dx * long];
  context.moveTo(x, y);
  context.lineTo(...tip);
  for (const side of [-1, 1]) {
    context.moveTo(...tip);
    context.lineTo(tip[0] + (dy + side * dx) * long / 3, tip[1] + (side * dy - dx) * long / 3);
  }
}

for (const [id, event] of [["shape-name", "input"], ["shape-form", "change"]]) byId(id).addEventListener(event, show);
byId("shape-kind").addEventListener("change", () => { points = []; suggest(); show(); });
byId("shape-add").addEventListener("click", add);
byId("shape-undo").addEventListener("click", undo);
byId("shape-clear").addEventListener("click", () => { [shapes, points] = [[], []]; suggest(); show(); });
byId("shape-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => fetching?.abort());
byId("shape-copy").addEventListener("click", async () => {
  if (!toml()) return say(`nothing to copy yet: ${problem(drawn())}`);
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
