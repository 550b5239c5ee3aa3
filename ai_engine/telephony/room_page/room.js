// A room in the browser: join, talk with its agent, leave.

import { PhoneCall } from "./phone.js";

const query = new URLSearchParams(location.search);
const QUIET_DB = -60;

const at = (id) => document.getElementById(id);
let phone = null; // the PhoneCall, while there is one

async function join() {
  at("join").disabled = true;
  const body = JSON.stringify({ room: query.get("room"), token: query.get("token") });
  const headers = { "Content-Type": "application/json" };
  const response = await fetch("room/join", { method: "POST", headers, body }).catch(() => null);
  if (!response?.ok) {
    refresh("You cannot come in: the room was stopped, or is full.");
    return;
  }
  const { callId, token } = await response.json();
  const url = new URL("voice/stream", location.href.replace(/\?.*/, ""));
  url.protocol = url.protocol.replace("http", "ws");
  const call = new PhoneCall(url, callId, token, {
    talking: () => refresh("In conversation"),
    levels: showLevels,
    log: (text) => (at("phase").textContent = text),
    ended: (why) => left(call, why),
  });
  phone = call;
  refresh("Connecting …");
  call.begin();
}

function left(call, why) {
  if (phone !== call) return;
  phone = null;
  showLevels({ microphone: 0, agent: 0 });
  refresh(`You have left: ${why}.`);
}

function refresh(text) {
  at("phase").textContent = text;
  at("join").disabled = Boolean(phone);
  at("leave").disabled = !phone;
  for (const button of at("keypad").children) button.disabled = !phone;
}

function showLevels(levels) {
  for (const [who, level] of Object.entries(levels)) {
    const db = 20 * Math.log10(Math.max(level, 1e-6));
    at(`level-${who}`).value = Math.max(0, 1 - db / QUIET_DB);
  }
}

for (const digit of "123456789*0#") {
  const button = document.createElement("button");
  button.textContent = digit;
  button.disabled = true;
  button.onclick = () => phone?.sendDigit(digit);
  at("keypad").append(button);
}
at("join").onclick = join;
at("leave").onclick = () => phone?.hangUp("you hung up");
document.addEventListener("click", () => phone?.resume());
