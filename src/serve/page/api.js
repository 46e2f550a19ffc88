// Requests to the server this page came from. A token is kept for this tab alone and goes along as a header, never as a cookie:
// no other page can use it then.

const KEY = "streamdet-token";

export class Unauthorised extends Error {}

export function token() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

export function setToken(value) {
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // Without storage it is asked for again after a reload.
  }
}

/** A request with the token; an answer that is an error is thrown, in the server's words. */
export async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token()) headers.set("authorization", `Bearer ${token()}`);
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (response.status === 401) throw new Unauthorised(await problem(response));
  if (!response.ok) {
    const error = new Error(await problem(response));
    error.status = response.status;
    throw error;
  }
  return response;
}

async function problem(response) {
  try {
    const body = await response.json();
    return body.detail ?? body.title ?? response.statusText;
  } catch {
    return response.statusText || `error ${response.status}`;
  }
}

export const path = (name, rest = "") => `/v1/streams/${encodeURIComponent(name)}${rest}`;

/** Resolves after so many ms, or at once when the signal is aborted. */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

/** The server-sent events of a stream, one JSON object after the other; it goes on after the last one that came. */
export async function* events(name, signal) {
  let last = "";
  let wait = 1000;
  while (!signal.aborted) {
    try {
      const headers = { accept: "text/event-stream", ...(last && { "last-event-id": last }) };
      const response = await request(path(name, "/events"), { headers, signal });
      let rest = "";
      const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await text.read();
        if (done) break;
        rest += value;
        const blocks = rest.split(/\r?\n\r?\n/);
        rest = blocks.pop();
        for (const block of blocks) {
          const lines = block.split(/\r?\n/);
          const field = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart());
          const id = field("id").at(-1);
          // One that has ended says so each time.
          if (id) [last, wait] = [id, 1000];
          const data = field("data").join("\n");
          if (data) yield JSON.parse(data);
        }
      }
    } catch (error) {
      // Its tile goes; another token, or the server, comes back.
      if (error.status === 404) return;
    }
    await pause(wait, signal);
    wait = Math.min(wait * 2, 30000);
  }
}
