// The page: which streams there are, how they are, and what happened.

import { pause, request, setToken, token, Unauthorised } from "./api.js";
import { drawShapes } from "./shapes.js";
import { number, seconds, Tile } from "./tile.js";
import { prepareUpload } from "./upload.js";

const byId = (id) => document.getElementById(id);
/** Between two looks at the figures, ms. */
const EVERY = 1000;
/** How long the server may take to answer, ms. */
const PATIENCE = 10000;
/** Alerts that are kept on the page. */
const ALERTS = 100;

const tiles = new Map();
/** Of each stream when it was last looked at. */
const before = new Map();
let reachable = true;

function alertOf(text) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  const now = new Date();
  [time.dateTime, time.textContent] = [now.toISOString(), now.toLocaleTimeString([], { hour12: false })];
  item.append(time, " ", text);
  const list = byId("alerts");
  list.prepend(item);
  while (list.children.length > ALERTS) list.lastElementChild.remove();
  byId("no-alerts").hidden = true;
}

/** What a person should hear of. Drops are told of together, every ten seconds at most. */
function compare(stream) {
  const { name, state } = stream;
  const last = before.get(name);
  const drops = Object.values(stream.frames?.dropped ?? {}).reduce((sum, n) => sum + n, 0);
  const told = last?.told ?? { drops, at: 0 };
  if (last && last.state !== state) {
    const words = {
      outage: "outage",
      failed: `failed: ${stream.error ?? "no reason given"}`,
      ended: "ended",
      up: last.state === "outage" ? `up again after ${seconds(last.since)}` : "up",
    };
    if (words[state]) alertOf(`${name}: ${words[state]}`);
  }
  if (drops > told.drops && performance.now() - told.at > 10000) {
    alertOf(`${name}: ${number(drops - told.drops)} frames dropped`);
    Object.assign(told, { drops, at: performance.now() });
  }
  before.set(name, { state, since: stream.since_s ?? 0, told });
}

function show(streams) {
  const names = new Set(streams.map((stream) => stream.name));
  for (const [name, tile] of tiles) {
    if (names.has(name)) continue;
    tile.remove();
    tiles.delete(name);
    before.delete(name);
    alertOf(`${name}: removed`);
  }
  const list = byId("tiles");
  for (const [place, stream] of streams.entries()) {
    compare(stream);
    let tile = tiles.get(stream.name);
    if (!tile) {
      tile = new Tile(stream.name, drawShapes);
      tiles.set(stream.name, tile);
      // One that plays is not moved: it would begin anew.
      list.insertBefore(tile.element, list.children[place] ?? null);
    }
    tile.update(stream);
  }
  list.dataset.count = streams.length;
  byId("streams").hidden = !streams.length;
  byId("empty").hidden = streams.length > 0;
  const up = streams.filter((stream) => stream.state === "up").length;
  summary(streams.length ? `${up} of ${streams.length} ${streams.length === 1 ? "stream" : "streams"} up` : "ready");
}

function summary(text) {
  if (byId("summary").textContent !== text) byId("summary").textContent = text;
}

/** Asks for the token, and returns once one was given. */
function askForToken() {
  const form = byId("token");
  byId("token-problem").textContent = token() ? "The server does not know this token." : "";
  form.hidden = false;
  summary("a token is needed");
  byId("token-value").focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      setToken(byId("token-value").value.trim());
      byId("token-value").value = "";
      form.hidden = true;
      resolve();
    }, { once: true });
  });
}

let asking = null;
const unauthorised = () => (asking ??= askForToken().finally(() => { asking = null; }));

async function look() {
  try {
    const answer = await (await request("/v1/streams", { signal: AbortSignal.timeout(PATIENCE) })).json();
    if (!reachable) alertOf("the server is there again");
    reachable = true;
    show(answer.streams ?? []);
  } catch (error) {
    if (error instanceof Unauthorised) return unauthorised();
    if (reachable) alertOf(`the server does not answer: ${error.message}`);
    reachable = false;
    summary("the server does not answer");
    for (const tile of tiles.values()) tile.unknown();
  } finally {
    byId("others").hidden = false;
  }
}

for (const host of document.querySelectorAll(".host")) host.textContent = location.host;
prepareUpload(unauthorised);
for (;;) {
  await look();
  await pause(EVERY);
}
