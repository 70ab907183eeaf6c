// The official client in the versions that are in use, and a few words to speak with it in promises.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { WebSocket } from "ws";

import { Inbox, WAIT_MS, within } from "./wait.mjs";

const require = createRequire(import.meta.url);

/**
 * The last release of each line. All are loaded as CommonJS. Node 20 has no `WebSocket` of its own, so every socket is
 * given the one of `ws` as its `transport`, which all four lines support; none of them needs a `window`.
 *
 * All four speak binary (an ArrayBuffer as payload). The lines before 1.8 write one byte a character into its header,
 * whatever the character, so binary messages on other than ASCII topics are for 1.8 alone.
 */
export const VERSIONS = [
  { name: "1.8", package: "phoenix-1.8" },
  { name: "1.7", package: "phoenix-1.7" },
  { name: "1.6", package: "phoenix-1.6" },
  { name: "1.5", package: "phoenix-1.5" },
].map((version) => {
  const manifest = JSON.parse(readFileSync(new URL(`../node_modules/${version.package}/package.json`, import.meta.url), "utf8"));
  return { ...version, exact: manifest.version, phoenix: require(version.package) };
});

/** A socket that is not connected yet, quick to come back, and gone when the test ends. */
export function socketFor(t, version, server, options = {}) {
  const socket = new version.phoenix.Socket(server.endPoint, {
    transport: WebSocket,
    timeout: WAIT_MS,
    // 1.5 cannot cancel its heartbeat timer; a short one lets the process end.
    heartbeatIntervalMs: 4000,
    reconnectAfterMs: () => 25,
    rejoinAfterMs: () => 25,
    ...options,
  });
  t.after(() => socket.disconnect());
  return socket;
}

export async function connect(t, version, server, options = {}) {
  const socket = socketFor(t, version, server, options);
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

let topics = 0;
/** A topic that no other test uses. */
export function fresh(kind = "room") {
  topics += 1;
  return `${kind}:${process.pid}-${topics}`;
}
