// The official client in the versions that are in use, and a few words to speak with it in promises.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { compileFunction } from "node:vm";

import { WebSocket } from "ws";

import { Inbox, WAIT_MS, within } from "./wait.mjs";
import { XMLHttpRequest } from "./xhr.mjs";

const require = createRequire(import.meta.url);

/**
 * Where the transports differ by their nature. All else is the same for both, and tested by the same cases.
 *
 * - `binaryComesDown`: an answer of long polling is JSON. What is binary cannot be in it: a reply becomes an error reply,
 *   a push or a broadcast is left out.
 * - `heartbeats`: a client that polls sends none, as its polls say that it is there.
 * - `codes`: what the client makes of the end of a connection. There are no close codes in HTTP; the client has one for
 *   every answer, and 1.5 none at all. `lost` is for a session that ended between two polls.
 */
const TRANSPORTS = {
  webSocket: {
    name: "WebSocket",
    binaryComesDown: true,
    heartbeats: true,
    codes: () => ({ disconnected: 1001, drained: 1012 }),
  },
  longPoll: {
    name: "long polling",
    binaryComesDown: false,
    heartbeats: false,
    codes: (line) => (line === "1.5" ? {} : { disconnected: 1011, drained: 1011, lost: line === "1.8" ? 3410 : 1011 }),
  },
};

/** The answer to a push whose reply is binary, where binary does not come down. */
export const NO_BINARY = { status: "error", response: { reason: "binary needs a websocket" } };

/**
 * The last release of each line. All are loaded as CommonJS. Node 20 has no `WebSocket` of its own, so every socket is
 * given its `transport`, which all four lines support; none of them needs a `window`.
 *
 * All four speak binary (an ArrayBuffer as payload). The lines before 1.8 write one byte a character into its header,
 * whatever the character, so binary messages on other than ASCII topics are for 1.8 alone.
 */
export const VERSIONS = ["1.8", "1.7", "1.6", "1.5"].map((line) => {
  const path = require.resolve(`phoenix-${line}`);
  const manifest = JSON.parse(readFileSync(new URL(`../node_modules/phoenix-${line}/package.json`, import.meta.url), "utf8"));
  return { line, exact: manifest.version, source: readFileSync(path, "utf8"), path };
});

/** Every version over every transport. Only 1.8 can poll with `fetch`, and does where there is no `XMLHttpRequest`. */
export const CLIENTS = VERSIONS.flatMap((version) => [
  client(version, "webSocket"),
  ...(version.line === "1.8" ? [client(version, "longPoll", "fetch")] : []),
  client(version, "longPoll", "XMLHttpRequest"),
]);

function client({ line, exact, source, path }, transport, requests) {
  const phoenix = load(source, path, requests === "XMLHttpRequest" ? { XMLHttpRequest } : {});
  const { name, codes, ...traits } = TRANSPORTS[transport];
  return {
    line,
    label: `phoenix.js ${exact} over ${name}${requests ? ` with ${requests}` : ""}`,
    phoenix,
    transport: transport === "webSocket" ? WebSocket : phoenix.LongPoll,
    ...traits,
    codes: codes(line),
  };
}

/** The client looks in `self` for what its surroundings offer: each copy gets surroundings of its own. */
function load(source, path, offers) {
  const module = { exports: {} };
  const self = Object.assign(Object.create(globalThis), offers);
  compileFunction(source, ["module", "exports", "self"], { filename: path })(module, module.exports, self);
  return module.exports;
}

/** A socket that is not connected yet, quick to come back, and gone when the test ends. */
export function socketFor(t, client, server, options = {}) {
  const socket = new client.phoenix.Socket(server.endPoint, {
    transport: client.transport,
    timeout: WAIT_MS,
    // 1.5 cannot cancel its heartbeat timer; a short one lets the process end.
    heartbeatIntervalMs: 4000,
    // A client before 1.8 that polls would, at a constant pace, give up a connection that takes longer than that.
    reconnectAfterMs: (tries) => 25 * tries,
    rejoinAfterMs: () => 25,
    ...options,
  });
  t.after(() => socket.disconnect());
  return socket;
}

export async function connect(t, client, server, options = {}) {
  const socket = socketFor(t, client, server, options);
  const opened = opening(socket);
  socket.connect();
  await opened;
  return socket;
}

export function opening(socket) {
  return within(WAIT_MS, "the connection", new Promise((resolve) => socket.onOpen(resolve)));
}

export function closing(socket) {
  return within(WAIT_MS, "the close of the connection", new Promise((resolve) => socket.onClose(resolve)));
}

/** The code of the next close, where the client tells one. */
export async function closeCode(closed) {
  return (await closed)?.code;
}

/** `{ status, response }` of a push: `ok`, `error`, or `timeout` when nothing came. */
export function outcome(push) {
  return within(
    WAIT_MS + 1000,
    "an answer",
    new Promise((resolve) => {
      for (const status of ["ok", "error", "timeout"]) push.receive(status, (response) => resolve({ status, response }));
    }),
  );
}

export function ask(channel, event, payload = {}, timeout = WAIT_MS) {
  return outcome(channel.push(event, payload, timeout));
}

/** Joins and expects that it is allowed. */
export async function join(socket, topic, params = {}) {
  const channel = socket.channel(topic, params);
  const { status, response } = await outcome(channel.join());
  if (status !== "ok") throw new Error(`join of ${topic}: ${status} ${JSON.stringify(response)}`);
  return channel;
}

/** Everything that arrives on the channel under these events, as `{ event, payload }`. */
export function inbox(channel, ...events) {
  const box = new Inbox();
  for (const event of events) channel.on(event, (payload) => box.put({ event, payload }));
  return box;
}

/** Every message as the client decoded it, even where no channel object wants it. */
export function wire(socket) {
  const box = new Inbox();
  socket.onMessage((message) => box.put(message));
  return box;
}

/** How often the join of this channel has been answered with ok, and when it is again. */
export function joins(channel) {
  const box = new Inbox();
  channel.joinPush.receive("ok", (response) => box.put(response));
  return box;
}

export function errors(channel) {
  const box = new Inbox();
  channel.onError((reason) => box.put(reason));
  return box;
}

export function closes(channel) {
  const box = new Inbox();
  channel.onClose((payload) => box.put(payload));
  return box;
}

export function bytes(...values) {
  return Uint8Array.from(values).buffer;
}

/** The payload, or the bytes in it, in what can be compared. */
export function plain(payload) {
  return payload instanceof ArrayBuffer ? [...new Uint8Array(payload)] : payload;
}

let topics = 0;
/** A topic that no other test uses. */
export function fresh(kind = "room") {
  topics += 1;
  return `${kind}:${process.pid}-${topics}`;
}
