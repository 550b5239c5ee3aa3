// What is seen of the mock telephone, and what its buttons do.

import { PhoneCall } from "./phone.js";

const { callId } = document.body.dataset;
const query = new URLSearchParams(location.search);
const WORDS = { queued: "queued", dialing: "ringing", in_progress: "talking", no_answer: "not answered" };
const QUIET_DB = -60;
const RELOAD_MS = 1000;

const at = (id) => document.getElementById(id);
const answer = at("answer");
const stop = at("stop");
const refusals = [...document.querySelectorAll("[data-outcome]")];

let token = document.body.dataset.token;
let phase = "waiting"; // of the call, as the engine sees it: waiting, ringing, talking, ending, over
let attempt = 0;
let phone = null; // the PhoneCall, while there is one
let answered = 0; // the attempt that was answered or refused here

// -- the call ---------------------------------------------------------------------------------------------------

function pickUp() {
  answered = attempt;
  const url = new URL("voice/stream", location.href.replace(/\?.*/, ""));
  url.protocol = url.protocol.replace("http", "ws");
  const call = new PhoneCall(url, callId, token, {
    talking: () => socket("connected", true),
    levels: showLevels,
    log: (text) => log(text),
    ended: (why) => hungUp(call, why),
  });
  globalThis.mockPhone = phone = call; // for tests, and the curious
  socket("connecting …");
  refresh();
  call.begin();
}

function hungUp(call, why) {
  if (phone !== call) return;
  phone = null;
  socket("not connected");
  showLevels({ microphone: 0, agent: 0 });
  log(`Call ended: ${why}.`);
  refresh();
}

async function refuse(outcome) {
  answered = attempt;
  refresh();
  const body = JSON.stringify({ callId, token, outcome });
  const response = await fetch("mock/outcome", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (!response.ok) log(`The engine did not take that: ${(await response.json()).detail ?? response.status}`);
}

function press(digit) {
  if (!phone) return;
  phone.sendDigit(digit);
  log(`Key ${digit}`);
}

// -- what the engine says ------------------------------------------------------------------------------------------

function follow() {
  const events = new EventSource(`mock/events?${new URLSearchParams({ callId, token })}`);
  const on = (name, handle) => events.addEventListener(name, ({ data }) => handle(JSON.parse(data)));
  on("hello", () => {
    at("transcript").replaceChildren();
    for (const told of at("log").querySelectorAll(".engine")) told.remove();
  });
  on("state", (state) => {
    update(state);
    if (state.phase === "over") events.close();
  });
  on("line", said);
  on("note", note);
  // Refused: the engine was restarted, and knows another token.
  events.onerror = () => events.readyState === EventSource.CLOSED && reloadSoon();
}

// Not before the engine is there, and nobody talks.
function reloadSoon() {
  setTimeout(async () => {
    const there = !phone && (await fetch(location.href).catch(() => null));
    if (there && there.status < 500) location.reload();
    else reloadSoon();
  }, RELOAD_MS);
}

function update(state) {
  ({ phase, token } = state);
  attempt = state.attempt;
  at("number").textContent = state.request.to;
  at("about").textContent = about(state);
  at("phase").dataset.phase = phase;
  at("phase").textContent = describe(state);
  document.title = phase === "ringing" ? `☎ ${state.request.to} is ringing` : "Mock telephone";
  if (phase === "ending" || phase === "over") phone?.hangUp("the agent hung up");
  if (phase === "over") showEnd(state);
  refresh();
  if (ringing() && query.get("autostart") === "1") pickUp();
}

function about({ request, attempt }) {
  const who = request.calleeName && `to ${request.calleeName}`;
  const whom = request.userName && `for ${request.userName}`;
  return [who, whom, attempt && `attempt ${attempt}`].filter(Boolean).join(" · ");
}

function describe({ phase, status, nextAttemptAt }) {
  if (phase === "ringing") return "Ringing …";
  if (phase === "talking") return "In conversation";
  if (phase === "waiting" && nextAttemptAt) return `${word(status)} – rings again at ${clock(nextAttemptAt)}`;
  return phase === "ending" ? "Call ended" : word(status);
}

function word(status) {
  const text = WORDS[status] ?? status;
  return text[0].toUpperCase() + text.slice(1);
}

function showEnd({ status, outcome, scheduledEvent, report, lastError }) {
  const lines = [`Call ended: ${outcome ? outcome.replace("_", " ") : word(status).toLowerCase()}.`];
  if (scheduledEvent) lines.push(appointment(scheduledEvent));
  if (report) lines.push(report.summary);
  if (lastError) lines.push(lastError);
  const good = outcome === "scheduled" || outcome === "reported";
  notice(lines.join(" "), !good);
}

function appointment({ start, end, timezone, summary }) {
  const when = (moment, style) => new Intl.DateTimeFormat(undefined, { ...style, timeZone: timezone }).format(new Date(moment));
  const from = when(start, { dateStyle: "full", timeStyle: "short" });
  return `Booked: ${summary ? `${summary}, ` : ""}${from} – ${when(end, { timeStyle: "short" })} (${timezone}).`;
}

// -- the page --------------------------------------------------------------------------------------------------------

function ringing() {
  return phase === "ringing" && !phone && answered !== attempt;
}

function refresh() {
  answer.disabled = !ringing();
  for (const button of refusals) button.disabled = !ringing();
  stop.disabled = !phone;
  for (const button of at("keypad").children) button.disabled = !phone;
}

function socket(text, live = false) {
  at("socket").textContent = text;
  at("socket").classList.toggle("live", live);
}

function showLevels(levels) {
  for (const [who, level] of Object.entries(levels)) {
    const db = 20 * Math.log10(Math.max(level, 1e-6));
    at(`level-${who}`).value = Math.max(0, 1 - db / QUIET_DB);
  }
}

function notice(text, warn) {
  at("notice").textContent = text;
  at("notice").classList.toggle("warn", warn);
  at("notice").hidden = false;
}

// Pieces of one turn make one line.
function said({ speaker, text }) {
  const list = at("transcript");
  let line = list.lastElementChild;
  if (line?.dataset.speaker !== speaker) {
    line = element("li", "");
    line.dataset.speaker = speaker;
    line.append(element("b", speaker === "caller" ? "You" : "Agent"), element("span", ""));
    list.append(line);
  }
  const words = line.lastElementChild;
  words.textContent = `${words.textContent} ${text}`.trim();
  list.scrollTop = list.scrollHeight;
}

function note({ at: moment, kind, text }) {
  addLog(new Date(moment), text ? `${kind}: ${text}` : kind, "engine");
}

function log(text) {
  addLog(new Date(), text, "page");
}

function addLog(moment, text, source) {
  const item = element("li", "");
  item.className = source;
  const time = element("time", clock(moment));
  time.dateTime = moment.toISOString();
  item.append(time, element("span", text));
  at("log").append(item);
  at("log").scrollTop = at("log").scrollHeight;
}

function clock(moment) {
  return new Date(moment).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function begin() {
  for (const digit of "123456789*0#") {
    const key = element("button", digit);
    key.addEventListener("click", () => press(digit));
    at("keypad").append(key);
  }
  answer.addEventListener("click", pickUp);
  stop.addEventListener("click", () => phone?.hangUp("you hung up"));
  for (const button of refusals) button.addEventListener("click", () => refuse(button.dataset.outcome));
  document.addEventListener("pointerdown", () => phone?.resume());
  window.addEventListener("pagehide", () => phone?.hangUp("the page was left"));
  if (at("notice").textContent) notice(at("notice").textContent, true);
  refresh();
  if (token) follow();
  else if (document.body.dataset.soon) reloadSoon();
  for (const part of document.querySelectorAll(".of-call")) part.hidden = !token;
}

begin();
