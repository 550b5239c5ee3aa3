// The telephone network's side of a Twilio media stream: JSON text frames over a WebSocket.

export class MediaStream {
  // `handlers`: opened(), audio(bytes), mark(name), clear(), closed(reason).
  constructor(url, callId, token, handlers) {
    this.streamSid = `MZ${randomHex(16)}`;
    this.callSid = `CA${randomHex(16)}`;
    this.sequence = 0;
    this.chunk = 0;
    this.handlers = handlers;
    this.socket = new WebSocket(url);
    this.socket.onopen = () => this.#opened(callId, token);
    this.socket.onmessage = ({ data }) => this.#received(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => handlers.closed(reason || `code ${code}`);
  }

  get open() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  // 20 ms of mu-law.
  sendAudio(frame) {
    const timestamp = String(this.chunk * 20);
    const chunk = String(++this.chunk);
    this.#send("media", { media: { track: "inbound", chunk, timestamp, payload: toBase64(frame) } });
  }

  sendMark(name) {
    this.#send("mark", { mark: { name } });
  }

  sendDigit(digit) {
    this.#send("dtmf", { dtmf: { track: "inbound_track", digit } });
  }

  stop() {
    this.#send("stop", { stop: { accountSid: "ACmock", callSid: this.callSid } });
    this.socket.close(1000);
  }

  #opened(callId, token) {
    this.socket.send(JSON.stringify({ event: "connected", protocol: "Call", version: "1.0.0" }));
    this.#send("start", {
      start: {
        accountSid: "ACmock",
        callSid: this.callSid,
        streamSid: this.streamSid,
        tracks: ["inbound"],
        customParameters: { callId, token },
        mediaFormat: { encoding: "audio/x-mulaw", sampleRate: 8000, channels: 1 },
      },
    });
    this.handlers.opened();
  }

  #received({ event, media, mark }) {
    if (event === "media") this.handlers.audio(fromBase64(media.payload));
    else if (event === "mark") this.handlers.mark(mark.name);
    else if (event === "clear") this.handlers.clear();
  }

  #send(event, content) {
    if (!this.open) return;
    const sequenceNumber = String(++this.sequence);
    this.socket.send(JSON.stringify({ event, sequenceNumber, streamSid: this.streamSid, ...content }));
  }
}

function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function randomHex(bytes) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
