// A chat room over the official client: what a first application looks like, and what the browser tests drive.
//
// The client reconnects and rejoins by itself. What it leaves to the application is told here: say how things stand,
// keep what was typed until the server has acknowledged it, and show a message once even if it came twice.

import { Socket } from "./phoenix.mjs";

const RECONNECT_AFTER_MS = [50, 150, 400, 1000, 2000, 3000];
const RECONNECT_MAX_MS = 5000;
const REJOIN_AFTER_MS = [250, 500, 1000, 2000];
const REJOIN_MAX_MS = 5000;
const PUSH_TIMEOUT_MS = 10_000;
/** How long a WebSocket may take to open and to answer, before the client polls instead. */
const LONG_POLL_FALLBACK_MS = 2500;
const LATENCY_EVERY_MS = 5000;
const TYPING_EVERY_MS = 2000;
const TYPING_SHOWN_MS = 3500;
const MESSAGES_MAX = 500;

const view = Object.fromEntries(
  ["connection", "connection-text", "membership", "membership-text", "latency", "notice", "scroller", "empty", "log", "typing", "pending"]
    .concat(["enter", "enter-button", "name-input", "room-input", "composer", "body-input", "send-button"])
    .map((id) => [id, document.getElementById(id)]),
);

/** Who and where we are; null until the form was sent. */
let here = null;
let socket = null;
let channel = null;
/** What was typed and is not acknowledged yet, oldest first, by room: `{ id, from, body, at }`. */
const outbox = new Map();
/** Ids already shown in this room, oldest first. */
const shown = new Set();
/** Name → timer that ends the hint. */
const typists = new Map();
let retry = { attempt: 0, at: 0 };
let lastTypingAt = 0;

// --- Saying how things stand ------------------------------------------------------------------------------------

function setBadge(id, state, text) {
  view[id].dataset.state = state;
  if (view[`${id}-text`].textContent !== text) view[`${id}-text`].textContent = text;
}

function setNotice(text) {
  view.notice.hidden = !text;
  if (view.notice.textContent !== text) view.notice.textContent = text;
}

function setMembership(state, text) {
  setBadge("membership", state, text);
  view["body-input"].disabled = view["send-button"].disabled = here === null || state === "refused";
  if (state !== "joined") view.latency.hidden = true;
}

function showRetry() {
  const seconds = Math.ceil((retry.at - Date.now()) / 1000);
  const when = seconds > 0 ? `in ${seconds} s` : "now";
  setBadge("connection", "reconnecting", `Reconnecting ${when} (attempt ${retry.attempt})`);
}

function showPending() {
  const count = here ? outboxOf(here.room).length : 0;
  // In the moment between sending and the acknowledgement this would only flicker.
  const waiting = count > 0 && !(channel && channel.canPush());
  view.pending.hidden = !waiting;
  view.pending.textContent = waiting ? `${count} ${count === 1 ? "message waits" : "messages wait"} to be sent.` : "";
}

// --- The connection ---------------------------------------------------------------------------------------------

function connect(name) {
  const next = new Socket("/socket", {
    params: { user_id: name },
    timeout: PUSH_TIMEOUT_MS,
    longPollFallbackMs: LONG_POLL_FALLBACK_MS,
    reconnectAfterMs: (tries) => {
      const delay = RECONNECT_AFTER_MS[tries - 1] ?? RECONNECT_MAX_MS;
      retry = { attempt: tries, at: Date.now() + delay };
      return delay;
    },
    rejoinAfterMs: (tries) => REJOIN_AFTER_MS[tries - 1] ?? REJOIN_MAX_MS,
  });
  next.onOpen(() => {
    if (next !== socket) return;
    setBadge("connection", "connected", "Connected");
    setNotice("");
  });
  next.onClose(() => {
    if (next !== socket) return;
    showRetry();
    setMembership("waiting", `Waiting to rejoin ${here.room}`);
    setNotice("The server cannot be reached. What you write is kept and sent when it is back.");
    showPending();
  });
  setBadge("connection", "connecting", "Connecting…");
  next.connect();
  return next;
}

// --- The room ---------------------------------------------------------------------------------------------------

function enter(name, room) {
  leave();
  if (socket === null || here === null || here.name !== name) {
    const before = socket;
    socket = null;
    before?.disconnect();
    socket = connect(name);
  }
  here = { name, room };
  document.title = `${room} · Bennu playground`;
  setMembership("joining", `Joining ${room}…`);
  setNotice("");
  for (const message of outboxOf(room)) show(message, "pending");
  channel = join(room);
  showPending();
}

function join(room) {
  const joined = socket.channel(`room:${room}`, {});
  joined.on("shout", receive);
  joined.on("whisper", ({ from }) => showTyping(from));
  joined.onError(() => {
    if (joined === channel && socket.isConnected()) setMembership("waiting", `Rejoining ${room}…`);
  });
  joined.onClose(() => {
    if (joined !== channel) return;
    setMembership("refused", `Left ${room}`);
    setNotice("The server ended this room. Join again, or choose another.");
  });
  joined
    .join()
    .receive("ok", () => {
      if (joined !== channel) return;
      setMembership("joined", `In ${room}`);
      setNotice("");
      view["enter-button"].textContent = "Change";
      for (const message of outboxOf(room)) send(message);
      showPending();
      measureLatency();
    })
    .receive("error", ({ reason }) => {
      if (joined === channel) refused(room, reason);
    })
    .receive("timeout", () => {
      if (joined === channel) setNotice("The server takes long to answer. Trying again…");
    });
  return joined;
}

/** Some refusals will not change by themselves: the client would ask again for ever, so we leave. */
function refused(room, reason) {
  const texts = {
    unauthorized: `You are not allowed in the room “${room}”. Choose another one.`,
    "unmatched topic": `There is no room “${room}” on this server.`,
  };
  if (Object.hasOwn(texts, reason)) {
    const before = channel;
    channel = null;
    before.leave();
    setMembership("refused", `Refused: ${room}`);
    setNotice(texts[reason]);
  } else {
    setMembership("waiting", `Rejoining ${room}…`);
    setNotice(`The room could not be joined (${reason ?? "no reason given"}). Trying again…`);
  }
}

function leave() {
  const before = channel;
  channel = null;
  before?.leave();
  for (const timer of typists.values()) clearTimeout(timer);
  typists.clear();
  showTypists();
  shown.clear();
  view.log.replaceChildren();
  view.empty.hidden = false;
}

// --- Messages ---------------------------------------------------------------------------------------------------

function outboxOf(room) {
  if (!outbox.has(room)) outbox.set(room, []);
  return outbox.get(room);
}

function say(body) {
  const message = { id: newId(), from: here.name, body, at: Date.now() };
  outboxOf(here.room).push(message);
  show(message, "pending");
  if (channel?.canPush()) send(message);
  showPending();
}

/** Sends, and keeps the message in the outbox until it is acknowledged: the next join sends it again. */
function send(message) {
  const through = channel;
  const room = here.room;
  const { id, from, body } = message;
  through
    .push("shout_ack", { id, from, body })
    .receive("ok", () => acknowledged(room, id))
    .receive("error", ({ reason }) => setNotice(`The message was not accepted (${reason ?? "no reason given"}).`))
    .receive("timeout", () => {
      if (through === channel && through.canPush()) send(message);
    });
}

function acknowledged(room, id) {
  outbox.set(room, outboxOf(room).filter((message) => message.id !== id));
  const item = itemOf(id);
  if (item && item.dataset.state !== "sent") {
    item.dataset.state = "sent";
    item.querySelector(".state").textContent = "";
  }
  showPending();
}

function receive({ id, from, body }) {
  const known = typeof id === "string" ? id : newId();
  stopTyping(from);
  if (here && from === here.name) acknowledged(here.room, known);
  show({ id: known, from, body, at: Date.now() }, "sent");
}

function show({ id, from, body, at }, state) {
  if (shown.has(id)) return;
  shown.add(id);
  const atEnd = view.scroller.scrollHeight - view.scroller.scrollTop - view.scroller.clientHeight < 80;
  const own = from === here.name;
  view.empty.hidden = true;
  view.log.append(messageItem({ id, from, body, at, own, state }));
  while (view.log.children.length > MESSAGES_MAX) {
    shown.delete(view.log.firstElementChild.dataset.id);
    view.log.firstElementChild.remove();
  }
  if (atEnd || own) view.scroller.scrollTop = view.scroller.scrollHeight;
}

/** Text is set as text: nothing that another user wrote is ever read as markup. */
function messageItem({ id, from, body, at, own, state }) {
  const item = document.createElement("li");
  item.className = own ? "message own" : "message";
  item.dataset.testid = "message";
  item.dataset.id = id;
  item.dataset.state = state;
  const meta = part("div", "meta", "");
  const time = part("time", "time", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = new Date(at).toISOString();
  meta.append(part("span", "from", String(from ?? "someone")), time, part("span", "state", state === "pending" ? "pending" : ""));
  item.append(meta, part("div", "body", typeof body === "string" ? body : JSON.stringify(body ?? null)));
  return item;
}

function part(tag, name, text) {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

function itemOf(id) {
  return [...view.log.children].findLast((item) => item.dataset.id === id);
}

/** `crypto.randomUUID` exists on secure origins only; a phone on the same network comes by plain http. */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join("-");
}

// --- Typing and latency -----------------------------------------------------------------------------------------

function hintTyping() {
  if (!channel?.canPush() || Date.now() - lastTypingAt < TYPING_EVERY_MS) return;
  lastTypingAt = Date.now();
  channel.push("whisper", { from: here.name });
}

function showTyping(from) {
  const name = String(from ?? "someone");
  clearTimeout(typists.get(name));
  typists.set(name, setTimeout(() => stopTyping(name), TYPING_SHOWN_MS));
  showTypists();
}

function stopTyping(from) {
  clearTimeout(typists.get(from));
  if (typists.delete(from)) showTypists();
}

function showTypists() {
  const names = [...typists.keys()];
  const who = names.length > 3 ? "Several people are" : `${names.join(", ")} ${names.length === 1 ? "is" : "are"}`;
  view.typing.textContent = names.length === 0 ? "" : `${who} typing…`;
}

function measureLatency() {
  if (document.hidden || !channel?.canPush()) return;
  const through = channel;
  const sentAt = performance.now();
  through.push("ack", {}).receive("ok", () => {
    if (through !== channel) return;
    view.latency.textContent = `${Math.max(1, Math.round(performance.now() - sentAt))} ms`;
    view.latency.hidden = false;
  });
}

// --- The forms and the address ----------------------------------------------------------------------------------

function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  return { name: (given.get("name") ?? "").trim(), room: (given.get("room") ?? "").trim() };
}

function enterFromAddress() {
  const { name, room } = fromAddress();
  view["name-input"].value = name || view["name-input"].value;
  view["room-input"].value = room || view["room-input"].value || "lobby";
  const same = here && here.name === name && here.room === room;
  if (name && room && !same) enter(name, room);
  else if (!name && !here) view["name-input"].focus();
}

view.enter.addEventListener("submit", (event) => {
  event.preventDefault();
  const name = view["name-input"].value.trim();
  const room = view["room-input"].value.trim();
  if (!name || !room) return;
  history.replaceState(null, "", `#${new URLSearchParams({ room, name })}`);
  enter(name, room);
  view["body-input"].focus();
});

view.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = view["body-input"].value.trim();
  if (!body || here === null) return;
  view["body-input"].value = "";
  lastTypingAt = 0;
  say(body);
});

view["body-input"].addEventListener("input", () => {
  if (view["body-input"].value) hintTyping();
});

addEventListener("hashchange", enterFromAddress);
setInterval(measureLatency, LATENCY_EVERY_MS);
setInterval(() => {
  if (view.connection.dataset.state === "reconnecting") showRetry();
}, 250);

enterFromAddress();
