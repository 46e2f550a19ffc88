// An image in, its boxes out.

import { request, Unauthorised } from "./api.js";
import { number } from "./tile.js";

const byId = (id) => document.getElementById(id);

export function prepareUpload(unauthorised) {
  const [drop, input] = [byId("drop"), byId("image")];
  let running = null;
  const take = async (file) => {
    if (!file) return;
    running?.abort();
    const own = (running = new AbortController());
    byId("try-state").textContent = `Looking at ${file.name} …`;
    try {
      await detect(file, own.signal);
    } catch (error) {
      if (own.signal.aborted) return;
      if (error instanceof Unauthorised) {
        await unauthorised();
        return own.signal.aborted ? undefined : take(file);
      }
      byId("try-state").textContent = `${file.name}: ${error.message}`;
      byId("try-result").hidden = true;
    }
  };
  input.addEventListener("change", () => take(input.files[0]));
  // The same image again is a change, too.
  input.addEventListener("click", () => { input.value = ""; });
  // Anywhere on the page: who misses the field by a hair does not leave the page.
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
}

async function detect(file, signal) {
  const post = (accept) => request("/v1/detect", {
    method: "POST",
    headers: { accept, "content-type": file.type || "application/octet-stream" },
    body: file,
    signal,
  });
  const found = await (await post("application/json")).json();
  const image = await (await post("image/jpeg")).blob();
  const shown = byId("try-image");
  if (shown.src) URL.revokeObjectURL(shown.src);
  shown.src = URL.createObjectURL(image);
  const counts = new Map();
  for (const { class: name } of found.detections ?? []) counts.set(name, (counts.get(name) ?? 0) + 1);
  const listed = [...counts].sort((a, b) => b[1] - a[1]).map(([name, n]) => `${name} ${number(n)}`).join(", ");
  shown.alt = `${file.name} with the boxes of what was found: ${listed || "nothing"}`;
  byId("try-found").textContent = `${file.name}: ${listed || "nothing found"}`;
  byId("try-json").textContent = JSON.stringify(found, null, 2);
  byId("try-state").textContent = "";
  byId("try-result").hidden = false;
}
