// One call: microphone and loudspeaker joined to a media stream.

import { MediaStream } from "./stream.js";

const VOICE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

export class PhoneCall {
  // `handlers`: talking(), ended(why), levels({microphone} or {agent}), log(text).
  constructor(streamUrl, callId, token, handlers) {
    this.target = [streamUrl, callId, token];
    this.handlers = handlers;
    this.over = false;
    this.context = new AudioContext({ latencyHint: "interactive" });
  }

  // Answer: the microphone first, so that the agent does not speak while the browser still asks for it.
  async begin() {
    try {
      await this.#openMicrophone();
      await this.#wire();
    } catch (error) {
      this.hangUp(`the browser cannot do it: ${error.message}`);
    }
    if (this.over) this.#release(); // somebody has hung up meanwhile
    else this.stream = new MediaStream(...this.target, this.#ofStream());
  }

  sendDigit(digit) {
    this.stream?.sendDigit(digit);
  }

  // Browsers let a page be heard only once somebody has touched it.
  resume() {
    if (this.context.state === "suspended") this.context.resume();
  }

  hangUp(why) {
    if (this.over) return;
    this.stream?.stop();
    this.#end(why);
  }

  async #openMicrophone() {
    if (!navigator.mediaDevices) throw new Error("it gives sound only to pages on localhost or https");
    try {
      this.microphone = await navigator.mediaDevices.getUserMedia({ audio: VOICE });
    } catch (error) {
      this.handlers.log(`No microphone (${error.message}): the agent hears silence.`);
    }
  }

  async #wire() {
    const context = this.context;
    await context.audioWorklet.addModule(new URL("./sound.js", import.meta.url));
    this.capture = new AudioWorkletNode(context, "offhook-capture", { channelCount: 1, channelCountMode: "explicit" });
    this.player = new AudioWorkletNode(context, "offhook-playback", { numberOfInputs: 0 });
    this.capture.port.onmessage = ({ data }) => this.#captured(data);
    this.player.port.onmessage = ({ data }) => this.#played(data);
    if (this.microphone) context.createMediaStreamSource(this.microphone).connect(this.capture);
    // Its own output is silence, but only what leads to the loudspeaker runs in every browser.
    this.capture.connect(context.destination);
    this.player.connect(context.destination);
    if (context.state === "suspended") {
      context.resume();
      this.handlers.log("Sound waits until you click anywhere on this page.");
    }
  }

  #captured({ frame, level }) {
    this.stream?.sendAudio(frame);
    this.handlers.levels({ microphone: level });
  }

  #played({ played, level }) {
    for (const name of played ?? []) this.stream?.sendMark(name);
    if (level !== undefined) this.handlers.levels({ agent: level });
  }

  #ofStream() {
    return {
      opened: () => this.handlers.talking(),
      audio: (ulaw) => this.player.port.postMessage({ audio: ulaw }, [ulaw.buffer]),
      mark: (name) => this.player.port.postMessage({ mark: name }),
      clear: () => this.player.port.postMessage({ clear: true }),
      closed: (reason) => this.#end(`the other side closed the line (${reason})`),
    };
  }

  #end(why) {
    if (this.over) return;
    this.over = true;
    this.#release();
    this.handlers.ended(why);
  }

  #release() {
    for (const track of this.microphone?.getTracks() ?? []) track.stop();
    if (this.context.state !== "closed") this.context.close();
  }
}
