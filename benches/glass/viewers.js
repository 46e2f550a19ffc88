// Viewers by WHEP that are counted, not shown: each connects, decrypts and puts frames together, and drops them before they are decoded.
(() => {
  const viewers = (window.viewers = []);

  /** One more. Its media goes by way of `port`, where one is given. `shown` decodes: then it asks for what it lost, as a person's does. */
  async function join(name, { port, shown }) {
    const viewer = { frames: 0 };
    const peer = (viewer.peer = new RTCPeerConnection(shown ? {} : { encodedInsertableStreams: true }));
    const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
    const connected = new Promise((resolve, reject) => {
      peer.addEventListener("connectionstatechange", () => {
        if (peer.connectionState === "connected") resolve();
        if (peer.connectionState === "failed") reject(new Error("a viewer does not connect"));
      });
    });
    if (shown) {
      const video = (viewer.video = document.createElement("video"));
      Object.assign(video, { muted: true, autoplay: true, srcObject: new MediaStream([receiver.track]) });
      document.body.append(video);
      const count = () => { viewer.frames += 1; video.requestVideoFrameCallback(count); };
      video.requestVideoFrameCallback(count);
    } else {
      receiver.createEncodedStreams().readable.pipeTo(new WritableStream({ write: () => { viewer.frames += 1; } })).catch(() => {});
    }
    const { sdp } = await peer.createOffer();
    // What is not decoded is not missed: without these it would ask for keyframes all the time.
    const offer = shown ? sdp : sdp.replace(/a=rtcp-fb:\d+ (nack pli|ccm fir)\r\n/g, "");
    await peer.setLocalDescription({ type: "offer", sdp: offer });
    const options = { method: "POST", headers: { "content-type": "application/sdp" }, body: peer.localDescription.sdp };
    const response = await fetch(`/v1/streams/${name}/whep`, options);
    if (!response.ok) throw new Error(await response.text());
    viewer.session = response.headers.get("location");
    const answer = await response.text();
    const by = port ? answer.replace(/(a=candidate:\S+ \d+ udp \d+ \S+) \d+ /gi, `$1 ${port} `) : answer;
    await peer.setRemoteDescription({ type: "answer", sdp: by });
    await connected;
    return viewer;
  }

  /** In the order of their ways, whoever connects first. */
  window.join = async (name, ways) => viewers.push(...(await Promise.all(ways.map((way) => join(name, way)))));
  window.counts = () => viewers.map(({ frames }) => frames);
  window.leave = async () => {
    for (const { peer, video, session } of viewers.splice(0)) {
      await fetch(session, { method: "DELETE" });
      peer.close();
      video?.remove();
    }
  };
})();
