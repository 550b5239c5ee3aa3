// The sound of the mock telephone: runs as AudioWorklet, away from the page's own thread.
//
// One file without imports, since not every browser lets a worklet import another module.

const LINE_RATE = 8000; // Hz
const FRAME_SAMPLES = 160; // 20 ms
const PASS_HZ = 3500; // flat up to here …
const STOP_HZ = 4100; // … and 70 dB down from here on
const STOP_DB = 70;
const PREBUFFER_SAMPLES = 480; // 60 ms against the unevenness of the network
const LEVEL_SAMPLES = 400; // 50 ms

// -- G.711 mu-law ---------------------------------------------------------------------------------------------

// `sample`: 16 bits, signed; the two lowest do not count (G.711 has 14).
export function encodeUlaw(sample) {
  const coarse = sample >> 2;
  const biased = Math.min(Math.abs(coarse), 8159) + 33;
  const exponent = 31 - Math.clz32(biased) - 5;
  const code = exponent > 7 ? 0x7f : (exponent << 4) | ((biased >> (exponent + 1)) & 15);
  return ~(coarse < 0 ? code | 0x80 : code) & 0xff;
}

// 16 bits, signed.
export function decodeUlaw(ulaw) {
  const code = ~ulaw & 0xff;
  const magnitude = ((((code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132;
  return code & 0x80 ? -magnitude : magnitude;
}

const ULAW_TO_FLOAT = Float32Array.from({ length: 256 }, (_, code) => decodeUlaw(code) / 32768);

function toInteger(sample) {
  return Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
}

// -- rates ----------------------------------------------------------------------------------------------------

// A polyphase low-pass filter (a sinc in a Kaiser window) between two rates.
export class Resampler {
  constructor(source, target) {
    const common = divisor(source, target);
    this.up = target / common;
    this.down = source / common;
    const prototype = lowPass(source * this.up, this.up);
    this.taps = Math.ceil(prototype.length / this.up);
    this.phases = Array.from({ length: this.up }, (_, phase) =>
      Float32Array.from({ length: this.taps }, (_, tap) => prototype[phase + tap * this.up] ?? 0),
    );
    this.phase = 0;
    // Twice as long as needed, so that the latest samples always lie in one piece.
    this.history = new Float32Array(2 * this.taps);
    this.newest = 0;
    this.delay = Math.ceil(this.taps / 2); // source samples
  }

  // One source sample goes in; `emit` is called with every target sample that is due.
  push(sample, emit) {
    this.#remember(sample);
    for (; this.phase < this.up; this.phase += this.down) emit(this.#output());
    this.phase -= this.up;
  }

  // The next target sample; `take` is called for every source sample that is needed.
  pull(take) {
    for (; this.phase >= this.up; this.phase -= this.up) this.#remember(take());
    const sample = this.#output();
    this.phase += this.down;
    return sample;
  }

  #remember(sample) {
    this.newest = (this.newest || this.taps) - 1;
    this.history[this.newest] = this.history[this.newest + this.taps] = sample;
  }

  #output() {
    const coefficients = this.phases[this.phase];
    let sum = 0;
    for (let tap = 0, at = this.newest; tap < this.taps; tap++, at++) sum += coefficients[tap] * this.history[at];
    return sum;
  }
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}

// The impulse response at `rate`, of which every `up`-th coefficient makes one phase of gain 1.
function lowPass(rate, up) {
  const beta = 0.1102 * (STOP_DB - 8.7);
  const order = Math.ceil((STOP_DB - 7.95) / (2.285 * 2 * Math.PI * ((STOP_HZ - PASS_HZ) / rate)));
  const cutoff = (PASS_HZ + STOP_HZ) / rate; // of the Nyquist frequency
  return Float64Array.from({ length: order + 1 }, (_, index) => {
    const x = index - order / 2;
    const edge = (2 * index) / order - 1;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x);
    return up * cutoff * sinc * (bessel(beta * Math.sqrt(Math.max(0, 1 - edge * edge))) / bessel(beta));
  });
}

function bessel(x) {
  let sum = 1;
  for (let term = 1, k = 1; term > 1e-12 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

// -- the microphone ---------------------------------------------------------------------------------------------

const Processor = globalThis.AudioWorkletProcessor ?? class {};

// Posts {frame, level}: 160 bytes of mu-law every 20 ms, and how loud they are (RMS, 0..1). Without a microphone
// they are silent.
class Capture extends Processor {
  constructor() {
    super();
    this.resampler = new Resampler(Math.round(sampleRate), LINE_RATE);
    this.add = this.add.bind(this);
    this.begin();
  }

  begin() {
    this.frame = new Uint8Array(FRAME_SAMPLES);
    this.filled = 0;
    this.energy = 0;
  }

  add(sample) {
    this.energy += sample * sample;
    this.frame[this.filled++] = encodeUlaw(toInteger(sample));
    if (this.filled < FRAME_SAMPLES) return;
    const level = Math.sqrt(this.energy / FRAME_SAMPLES);
    this.port.postMessage({ frame: this.frame, level }, [this.frame.buffer]);
    this.begin();
  }

  process([[input]], [[output]]) {
    for (let i = 0; i < (input ?? output).length; i++) this.resampler.push(input ? input[i] : 0, this.add);
    return true;
  }
}

// -- the agent's voice ------------------------------------------------------------------------------------------

// What waits to be played, on the clock of the line: one sample at a time.
export class PlaybackQueue {
  constructor(delay) {
    this.delay = delay; // ticks that a sample still takes from here to the loudspeaker
    this.clock = 0;
    this.chunks = [];
    this.offset = 0; // in the first chunk
    this.added = this.taken = 0; // samples so far
    this.marks = []; // {name, at}: due when so many samples have been taken …
    this.leaving = []; // {name, due}: … and have reached the loudspeaker
    this.hold = 0; // ticks until a queue that had run dry begins again
  }

  get waiting() {
    return this.added - this.taken;
  }

  add(ulaw) {
    if (ulaw.length === 0) return;
    if (this.waiting === 0) this.hold = PREBUFFER_SAMPLES;
    this.chunks.push(ulaw);
    this.added += ulaw.length;
  }

  mark(name) {
    this.marks.push({ name, at: this.added });
    this.#pass();
  }

  // Forget it all; returns the names of the marks, which are due now.
  clear() {
    this.chunks = [];
    this.offset = 0;
    this.taken = this.added;
    return [...this.leaving.splice(0), ...this.marks.splice(0)].map(({ name }) => name);
  }

  // The sample that is due now, -1..1.
  next() {
    this.clock++;
    if (this.waiting === 0) return 0;
    if (this.hold > 0 && this.waiting < PREBUFFER_SAMPLES) {
      this.hold--;
      return 0;
    }
    this.hold = 0;
    return this.#take();
  }

  // Names of the marks whose audio has been played since it was asked last.
  played() {
    const names = [];
    while (this.leaving[0]?.due <= this.clock) names.push(this.leaving.shift().name);
    return names;
  }

  #take() {
    const sample = ULAW_TO_FLOAT[this.chunks[0][this.offset++]];
    if (this.offset === this.chunks[0].length) {
      this.chunks.shift();
      this.offset = 0;
    }
    this.taken++;
    this.#pass();
    return sample;
  }

  #pass() {
    while (this.marks[0]?.at <= this.taken) {
      this.leaving.push({ name: this.marks.shift().name, due: this.clock + this.delay });
    }
  }
}

// Takes {audio: mu-law}, {mark: name} and {clear: true}; posts {played: [names]} and {level}.
class Playback extends Processor {
  constructor() {
    super();
    this.resampler = new Resampler(LINE_RATE, Math.round(sampleRate));
    this.queue = new PlaybackQueue(this.resampler.delay);
    this.take = () => this.measured(this.queue.next());
    this.energy = this.measuredSamples = 0;
    this.port.onmessage = ({ data }) => this.obey(data);
  }

  obey({ audio, mark, clear }) {
    if (audio) this.queue.add(audio);
    if (mark !== undefined) this.queue.mark(mark);
    if (clear) this.tell(this.queue.clear());
  }

  tell(names) {
    if (names.length > 0) this.port.postMessage({ played: names });
  }

  measured(sample) {
    this.energy += sample * sample;
    if (++this.measuredSamples === LEVEL_SAMPLES) {
      this.port.postMessage({ level: Math.sqrt(this.energy / LEVEL_SAMPLES) });
      this.energy = this.measuredSamples = 0;
    }
    return sample;
  }

  process(_, [[output]]) {
    for (let i = 0; i < output.length; i++) output[i] = this.resampler.pull(this.take);
    this.tell(this.queue.played());
    return true;
  }
}

if (globalThis.registerProcessor) {
  registerProcessor("offhook-capture", Capture);
  registerProcessor("offhook-playback", Playback);
}
