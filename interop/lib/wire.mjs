// A bare WebSocket: what goes over the wire, and nothing that a client would hide or repair.

import { request } from "node:http";

import { WebSocket } from "ws";

import { Inbox, WAIT_MS, within } from "./wait.mjs";

/** The headers of a good handshake. */
export const HANDSHAKE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

export class Wire {
  #frames = new Inbox();
  #closed;

  constructor(socket) {
    this.socket = socket;
    socket.on("message", (data, isBinary) => this.#frames.put(isBinary ? hex(data) : data.toString()));
    socket.on("error", () => {});
    this.#closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() })));
  }

  static async open(t, server, query = "vsn=2.0.0", options = {}) {
    const socket = new WebSocket(server.url(query), { perMessageDeflate: false, ...options });
    const wire = new Wire(socket);
    t.after(() => socket.terminate());
    await within(WAIT_MS, `the connection with ?${query}`, new Promise((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    }));
    return wire;
  }

  /** A string is a text frame, a Buffer a binary one. */
  send(...frames) {
    for (const frame of frames) this.socket.send(frame);
  }

  /** Text frames as they are, binary ones as spaced hex. */
  next(what = "a frame") {
    return this.#frames.next(what);
  }

  take(count) {
    return this.#frames.take(count, "a frame");
  }

  /** What came and was not asked for. */
  rest() {
    return this.#frames.drain();
  }

  /** Sends, then takes as many frames as an answer is expected to have. */
  async exchange(sent, count = 1) {
    this.send(sent);
    const frames = await this.take(count);
    return count === 1 ? frames[0] : frames;
  }

  closed() {
    return within(WAIT_MS, "the close of the connection", this.#closed);
  }
}

/** A plain HTTP request, answered or upgraded: `{ status, headers, body }`. */
export function get(server, query, headers = {}, method = "GET") {
  return within(WAIT_MS, "an HTTP answer", new Promise((resolve, reject) => {
    const asked = request(server.url(query).replace("ws://", "http://"), { headers, method, agent: false });
    asked.on("error", reject);
    asked.on("response", async (response) => {
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() });
    });
    asked.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode, headers: response.headers, body: "" });
    });
    asked.end();
  }));
}

export function hex(buffer) {
  return buffer.toString("hex").replace(/(..)(?=.)/g, "$1 ");
}

export function unhex(text) {
  return Buffer.from(text.replace(/\s/g, ""), "hex");
}
