// Live text: the microphone's samples go to /v1/audio/stream as they come, and its events become paragraphs.
window.maya.live = {
  running: null,
  workletUrl: URL.createObjectURL(new Blob([`registerProcessor("maya-samples", class extends AudioWorkletProcessor {
    constructor() { super(); this.held = []; this.count = 0; }
    process([input]) {
      if (!input.length) return true;
      this.held.push(Int16Array.from(input[0], (one) => Math.max(-1, Math.min(1, one)) * 32767));
      this.count += input[0].length;
      if (this.count < sampleRate / 10) return true;
      const all = new Int16Array(this.count);
      let at = 0;
      for (const part of this.held) { all.set(part, at); at += part.length; }
      this.port.postMessage(all.buffer, [all.buffer]);
      this.held = []; this.count = 0;
      return true;
    }
  })`], { type: "text/javascript" })),

  async toggle(lang, decode, key) {
    if (this.running) return this.stop();
    const box = document.getElementById("maya-live-text");
    box.replaceChildren();
    box.lang = lang || "";
    const one = (this.running = { box, stopping: false });
    this.show("Stop");
    try {
      if (!navigator.mediaDevices) throw new Error("browsers give a microphone only to https pages and localhost");
      one.media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
      one.context = new AudioContext();
      await one.context.audioWorklet.addModule(this.workletUrl);
      if (this.running !== one || one.stopping) return this.end(one);
      this.connect(one, lang, decode, key);
    } catch (error) {
      this.fail(one, error.message);
    }
  },

  connect(one, lang, decode, key) {
    const asked = new URLSearchParams({ sampling_rate: one.context.sampleRate });
    if (lang && lang !== "auto") asked.set("language", lang);
    if (["ctc", "rnnt", "tdt"].includes(decode)) { asked.set("decode", decode); asked.set("polish", "none"); }
    else if (decode) asked.set("polish", decode);
    const url = new URL(`v1/audio/stream?${asked}`, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    one.socket = new WebSocket(url, key ? ["realtime", `openai-insecure-api-key.${key}`] : []);
    one.socket.onopen = () => this.speak(one);
    one.socket.onmessage = (message) => this.take(one, JSON.parse(message.data));
    one.socket.onclose = () => {
      if (!one.opened) this.fail(one, "the server refused the stream: a wrong API key, or too many streams");
      this.end(one);
    };
  },

  speak(one) {
    one.opened = true;
    const source = one.context.createMediaStreamSource(one.media);
    const samples = new AudioWorkletNode(one.context, "maya-samples", { numberOfOutputs: 0 });
    samples.port.onmessage = (message) => {
      if (!one.stopping && one.socket.readyState === WebSocket.OPEN) one.socket.send(message.data);
    };
    source.connect(samples);
    if (one.stopping) this.close(one);
  },

  take(one, event) {
    if (event.type === "error") return this.fail(one, event.error.message);
    const delta = event.type === "transcript.text.delta";
    if (!delta && event.type !== "transcript.text.done") return;
    const paragraph = this.paragraph(one.box, event.item_id);
    const stable = document.createElement("span"), tail = document.createElement("span");
    stable.textContent = delta ? event.stable : event.text;
    tail.textContent = delta ? event.tail : "";
    stable.className = "maya-stable";
    tail.className = "maya-tail";
    paragraph.classList.toggle("maya-done", !delta);
    paragraph.replaceChildren(stable, tail);
    paragraph.scrollIntoView({ block: "nearest" });
  },

  paragraph(box, id) {
    const found = [...box.children].find((one) => one.dataset.item === id);
    if (found) return found;
    const made = document.createElement("p");
    made.dataset.item = id;
    while (box.children.length > 200) box.firstChild.remove();
    return box.appendChild(made);
  },

  stop() {
    const one = this.running;
    if (one.stopping) return this.end(one);
    one.stopping = true;
    this.show("Finishing ...");
    if (one.opened) this.close(one);
  },

  close(one) {
    for (const track of one.media.getTracks()) track.stop();
    if (one.socket.readyState === WebSocket.OPEN) one.socket.send('{"type":"session.close"}');
  },

  fail(one, message) {
    const told = document.createElement("p");
    told.className = "maya-error";
    told.role = "alert";
    told.textContent = message;
    one.box.append(told);
    this.end(one);
  },

  end(one) {
    for (const track of one.media?.getTracks() ?? []) track.stop();
    one.context?.close().catch(() => {});
    one.context = null;
    if (one.socket) { one.socket.onclose = null; one.socket.close(); }
    if (this.running === one) { this.running = null; this.show("Speak live"); }
  },

  show(label) {
    const button = document.getElementById("maya-live-go");
    button.textContent = label;
    button.setAttribute("aria-pressed", label === "Stop");
  },
};
