// One stream: its live view and its figures.

import { events } from "./api.js";
import { Live } from "./live.js";

const template = document.getElementById("tile");
/** Whose events are followed: one stream's at a time, since a browser opens six connections to a server. */
let following = null;
/** Newest events of a stream that are shown. */
const EVENTS = 5;

export const seconds = (s) => {
  if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(s % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
};
export const number = (n) => Number(n ?? 0).toLocaleString("en").replaceAll(",", " ");
const ms = (value) => (value == null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
const listed = (counts) =>
  Object.entries(counts ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]).map(([name, n]) => `${name} ${number(n)}`).join(", ");
const total = (counts) => Object.values(counts ?? {}).reduce((sum, n) => sum + n, 0);

/** Only what differs is written: a screen reader is not told the same again. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Tile {
  constructor(name, onDraw) {
    this.name = name;
    this.element = template.content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    const title = find("h3");
    title.textContent = name;
    title.id = `stream-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    this.element.setAttribute("aria-labelledby", title.id);
    Object.assign(this, { video: find("video"), still: find(".still"), cover: find(".cover"), state: find(".state") });
    this.video.setAttribute("aria-label", `${name}, live`);
    this.still.alt = `${name}, live`;
    find("summary").setAttribute("aria-label", `More figures of ${name}`);
    find(".draw").addEventListener("click", () => onDraw(name));
    find("details").addEventListener("toggle", ({ target }) => this.follow(target.open));
    this.watched = new IntersectionObserver(([entry]) => { this.visible = entry.isIntersecting; this.turn(); }, { rootMargin: "200px" });
    this.watched.observe(this.element);
    this.onVisibility = () => this.turn();
    document.addEventListener("visibilitychange", this.onVisibility);
    this.visible = false;
    [this.way, this.problem] = ["", ""];
  }

  /** Shows the stream while it can be seen, and there is one. */
  turn() {
    // While nothing is known of it, what is shown stays: it may go on.
    const runs = this.figures ? ["up", "outage", "starting"].includes(this.figures.state) : !!this.live;
    const wanted = this.visible && !document.hidden && runs;
    if (wanted && !this.live) {
      const live = new Live(this.name, this.video, this.still, (way, problem) => {
        [this.way, this.problem] = [way, problem];
        this.show();
      });
      this.live = live;
      // Once there is another token, the next look at the figures begins anew.
      live.ended.then(() => { if (this.live === live) this.live = null; });
    } else if (!wanted && this.live) {
      this.live.stop();
      this.live = null;
      [this.way, this.problem] = ["", ""];
    }
  }

  remove() {
    this.watched.disconnect();
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.follow(false);
    this.live?.stop();
    this.element.remove();
  }

  update(figures) {
    this.figures = figures;
    this.turn();
    this.show();
  }

  /** Nothing is known of it: the server does not answer. */
  unknown() {
    say(this.state, "unknown");
    this.state.dataset.state = "unknown";
    say(this.cover, "The server does not answer");
    this.figures = null;
  }

  show() {
    const s = this.figures;
    if (!s) return;
    const find = (selector) => this.element.querySelector(selector);
    const figure = (name, text) => say(find(`[data-figure=${name}]`), text || "–");
    const since = s.since_s == null ? "" : ` for ${seconds(s.since_s)}`;
    const words = { starting: s.error ? `no connection${since}` : "starting", outage: `outage${since}` };
    say(this.state, words[s.state] ?? s.state);
    this.state.dataset.state = s.state;
    if (s.width && s.height) find(".screen").style.setProperty("aspect-ratio", `${s.width} / ${s.height}`);
    const size = s.width ? ` · ${s.width}×${s.height}` : "";
    say(find(".source"), `${s.source ?? ""}${size}`);
    const covers = { outage: `No frames${since}${s.error ? `\n${s.error}` : ""}`, ended: "The stream has ended", failed: s.error ?? "The stream failed", starting: s.error ? `No connection yet\n${s.error}` : "Starting …" };
    say(this.cover, covers[s.state] ?? (this.way ? "" : this.problem || "Connecting …"));
    const latency = s.latency_ms?.end_to_end;
    const behind = s.latency_ms?.behind_live;
    figure("fps", s.fps == null ? "" : `${number(s.fps)} /s`);
    figure("p50", latency && ms(latency.p50));
    figure("p99", latency && ms(latency.p99));
    figure("dropped", s.frames && number(total(s.frames.dropped)));
    figure("frames", s.frames && `${number(s.frames.received)} received, ${number(s.frames.processed)} processed, ${number(s.frames.inferred)} inferred`);
    figure("behind", behind && `${ms(behind.p50)}, ${ms(behind.p99)}`);
    figure("reasons", listed(s.frames?.dropped));
    figure("objects", listed(s.objects));
    figure("shapes", [...crossed(s.lines), ...inside(s.zones)].join("; "));
    const outages = (s.outages ?? []).slice(-5).map((outage) => `${seconds(outage.length_s)} at ${seconds(outage.from_s)}`);
    figure("outages", outages.length ? `${number(s.outages.length)}: ${outages.join(", ")}` : "none");
    figure("way", [this.way, s.viewers ? `${number(s.viewers)} watching` : ""].filter(Boolean).join(", "));
    say(find(".now"), s.state === "up" ? listed(s.now) || "nothing in the frame" : "");
  }

  /** Follows the stream's events while its figures are open. */
  async follow(open) {
    this.events?.abort();
    this.events = null;
    if (!open) return;
    following?.abort();
    const own = (following = this.events = new AbortController());
    const list = this.element.querySelector(".events");
    for await (const line of events(this.name, own.signal)) {
      for (const text of told(line)) {
        const item = document.createElement("li");
        item.textContent = text;
        list.prepend(item);
        while (list.children.length > EVENTS) list.lastElementChild.remove();
      }
    }
  }
}

function told(line) {
  const at = line.pts_ns == null ? "" : `${seconds(line.pts_ns / 1e9)}: `;
  if (line.event) return [`${at}${line.event}`];
  return (line.events ?? []).map((event) => {
    const who = `${event.class ?? "object"} ${event.track_id ?? ""}`.trim();
    return event.kind === "line" ? `${at}${who} ${event.direction} at ${event.name}` : `${at}${who} ${event.what} ${event.name}`;
  });
}

const count = (value) => (typeof value === "number" ? value : value?.total ?? 0);
const crossed = (lines) => Object.entries(lines ?? {}).map(([name, line]) => `${name}: in ${number(count(line.in))}, out ${number(count(line.out))}`);
const inside = (zones) => Object.entries(zones ?? {}).map(([name, zone]) => `${name}: ${number(count(zone.now))} inside`);
