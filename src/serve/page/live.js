// A stream on the screen: by WebRTC (WHEP), else as JPEGs. What breaks off is begun again.

import { path, pause, request, Unauthorised } from "./api.js";

/** How long WebRTC may take to connect before JPEGs are shown: some browsers take no media from this machine itself. */
const CONNECT = 6000;
/** Streams that are shown as JPEGs from one connection each: a browser has six to a server, and the figures need one. */
const CONNECTIONS = 3;
/** How often each other one is asked for its newest frame, ms. */
const SNAPSHOT_EVERY = 1000;
let connections = 0;

export class Live {
  /** `told(way, problem)` hears how it is shown: "WebRTC", "JPEG", or "" while nothing comes, and why. */
  constructor(name, video, still, told) {
    Object.assign(this, { name, video, still, told });
    this.stopped = new AbortController();
    this.url = "";
    /** Resolves when it is stopped, or the server asks for another token. */
    this.ended = this.run();
  }

  stop() {
    this.stopped.abort();
    this.close?.();
    this.clear();
  }

  async run() {
    const { signal } = this.stopped;
    let able = typeof RTCPeerConnection === "function";
    let webrtc = able;
    let wait = 1000;
    while (!signal.aborted) {
      let problem = "";
      try {
        if (webrtc) {
          const shown = await this.webrtc(signal);
          // What was shown once is tried again; what was not is shown as JPEGs for as long as they come.
          webrtc = shown;
          if (shown) wait = 1000;
        } else {
          try {
            await this.images(signal);
            wait = 1000;
          } finally {
            webrtc = able;
          }
        }
      } catch (error) {
        if (error instanceof Unauthorised) return;
        if (error.status === 406) able = webrtc = false;
        // Others are of the network, in the browser's words.
        if (error.status) problem = error.message;
      }
      if (signal.aborted) return;
      this.told("", problem);
      if (webrtc || wait > 1000) await pause(wait, signal);
      wait = Math.min(wait * 2, 15000);
    }
  }

  /** Shows the stream until it breaks off; whether a frame was shown. */
  async webrtc(signal) {
    const peer = new RTCPeerConnection();
    let session = "";
    const receiver = peer.addTransceiver("video", { direction: "recvonly" }).receiver;
    this.close = () => {
      this.close = null;
      // The server hears of it before the peer tells it so, and the tab may be closing. What the server ended it knows no more.
      const over = !session || receiver.transport?.state === "closed";
      const deleted = over ? Promise.resolve() : request(session, { method: "DELETE", keepalive: true }).catch(() => {});
      deleted.then(() => peer.close());
    };
    let shown = false;
    try {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      let breakOff;
      const broken = new Promise((resolve) => { breakOff = resolve; });
      peer.addEventListener("connectionstatechange", () => {
        if (["failed", "disconnected", "closed"].includes(peer.connectionState)) breakOff();
      });
      signal.addEventListener("abort", breakOff, { once: true });
      peer.addEventListener("track", ({ track }) => {
        this.video.srcObject = new MediaStream([track]);
        this.video.play().catch(() => {});
      });
      await peer.setLocalDescription(await peer.createOffer());
      // The answer has the server's address; ours it learns from what we send.
      const response = await request(path(this.name, "/whep"), {
        method: "POST",
        headers: { "content-type": "application/sdp", accept: "application/sdp" },
        body: peer.localDescription.sdp,
        signal,
      });
      session = response.headers.get("location") ?? "";
      await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
      // The server says when it ends a session; the connection's own state follows seconds later.
      receiver.transport?.addEventListener("statechange", () => { if (receiver.transport.state === "closed") breakOff(); });
      const connected = new Promise((resolve) => {
        peer.addEventListener("connectionstatechange", () => { if (peer.connectionState === "connected") resolve(); });
      });
      await Promise.race([connected, broken, pause(CONNECT, signal)]);
      shown = peer.connectionState === "connected" && !signal.aborted;
      if (shown) {
        // Frames come at once, or when an outage is over.
        this.video.hidden = false;
        this.still.hidden = true;
        this.told("WebRTC");
        await broken;
      }
    } finally {
      this.close?.();
      this.video.srcObject = null;
    }
    return shown;
  }

  /** Shows JPEGs by a connection of its own, while there is one, else single ones. */
  async images(signal) {
    if (connections >= CONNECTIONS) return this.snapshots(signal);
    connections += 1;
    try {
      await this.jpegs(signal);
    } finally {
      connections -= 1;
    }
  }

  /** Shows JPEGs until they end. They are fetched, so that the token goes along, which an image's address has no place for. */
  async jpegs(signal) {
    const response = await request(path(this.name, "/live.mjpg"), { signal });
    const reader = response.body.getReader();
    let data = new Uint8Array(0);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        data = joined(data, value);
        for (let part = cut(data); part; part = cut(data)) {
          data = data.subarray(part.end);
          await this.show(part.image);
        }
      }
    } finally {
      reader.cancel().catch(() => {});
      this.clear();
    }
  }

  /** Shows single frames for as long as they come. */
  async snapshots(signal) {
    while (!signal.aborted) {
      const response = await request(path(this.name, "/snapshot.jpg"), { signal });
      await this.show(await response.blob());
      await pause(SNAPSHOT_EVERY, signal);
    }
  }

  async show(image) {
    const before = this.url;
    this.url = URL.createObjectURL(new Blob([image], { type: "image/jpeg" }));
    this.still.src = this.url;
    await this.still.decode().catch(() => {});
    if (this.still.hidden) {
      this.still.hidden = false;
      this.video.hidden = true;
      this.told("JPEG");
    }
    if (before) URL.revokeObjectURL(before);
  }

  clear() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = "";
    this.still.hidden = true;
    this.still.removeAttribute("src");
  }
}

function joined(a, b) {
  if (!a.length) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** The first part of a multipart body, once it is whole. */
function cut(data) {
  const head = find(data, [13, 10, 13, 10]);
  if (head < 0) return null;
  const text = new TextDecoder("latin1").decode(data.subarray(0, head));
  const length = Number(/content-length: *(\d+)/i.exec(text)?.[1]);
  if (!Number.isFinite(length)) throw new Error("parts without a length");
  const start = head + 4;
  const end = start + length + 2;
  return data.length < end ? null : { image: data.slice(start, start + length), end };
}

function find(data, wanted) {
  const last = Math.min(data.length, 1024) - wanted.length;
  for (let at = 0; at <= last; at++) {
    if (wanted.every((byte, n) => data[at + n] === byte)) return at;
  }
  return -1;
}
