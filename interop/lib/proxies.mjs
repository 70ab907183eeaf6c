// What stands between clients and servers: a proxy that loses answers, a gateway that knows no WebSocket, and an address
// that outlives its servers.

import { once } from "node:events";
import { createServer as createHttpServer, request } from "node:http";
import { connect, createServer } from "node:net";

import { WebSocketServer } from "ws";

/**
 * Passes requests on, and loses the answer to every third poll after the server has given it: in turn before the first
 * byte and in the middle of the body.
 */
export class LossyProxy {
  answered = 0;
  lost = 0;
  #server;

  static async start(t, target) {
    const proxy = new LossyProxy();
    proxy.#server = createHttpServer((incoming, outgoing) => proxy.#pass(target, incoming, outgoing));
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    t.after(() => {
      proxy.#server.closeAllConnections();
      proxy.#server.close();
    });
    return proxy;
  }

  get http() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  #pass(target, incoming, outgoing) {
    const { method, url, headers } = incoming;
    const upstream = request(`${target}${url}`, { method, headers }, async (answer) => {
      const chunks = [];
      for await (const chunk of answer) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      if (method === "GET") this.answered += 1;
      const isLost = method === "GET" && this.answered % 3 === 0;
      if (!isLost) {
        outgoing.writeHead(answer.statusCode, answer.headers);
        outgoing.end(body);
        return;
      }
      this.lost += 1;
      if (this.lost % 2 === 0) {
        outgoing.destroy();
        return;
      }
      outgoing.writeHead(answer.statusCode, { ...answer.headers, "content-length": body.length });
      outgoing.write(body.subarray(0, body.length / 2), () => outgoing.destroy());
    });
    upstream.on("error", () => outgoing.destroy());
    incoming.pipe(upstream);
  }
}

/** What a gateway does with a WebSocket handshake. */
export const HANDSHAKES = {
  /** It never answers. */
  unanswered: () => {},
  /** It knows no such thing. */
  refused: (incoming, socket) => socket.end("HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
  /** It opens, and nothing that is sent arrives anywhere. */
  mute: (incoming, socket, head) => new WebSocketServer({ noServer: true }).handleUpgrade(incoming, socket, head, () => {}),
};

/** Passes requests on, but no WebSocket. */
export class Gateway {
  /** How many WebSockets were asked for. */
  handshakes = 0;
  /** How many requests there were for long polling. */
  polled = 0;
  #held = null;
  #server;
  #upgraded = new Set();

  static async start(t, target, handshake) {
    const gateway = new Gateway();
    gateway.#server = createHttpServer((incoming, outgoing) => gateway.#pass(target, incoming, outgoing));
    gateway.#server.on("upgrade", (incoming, socket, head) => {
      gateway.handshakes += 1;
      gateway.#upgraded.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => gateway.#upgraded.delete(socket));
      handshake(incoming, socket, head);
    });
    gateway.#server.listen(0, "127.0.0.1");
    await once(gateway.#server, "listening");
    t.after(() => gateway.#stop());
    return gateway;
  }

  get http() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  get endPoint() {
    return `${this.http.replace("http", "ws")}/socket`;
  }

  /** Holds the next poll: `reached` once it is here, until `release`. */
  holdPoll() {
    const held = {};
    held.reached = new Promise((resolve) => {
      held.reach = resolve;
    });
    held.released = new Promise((resolve) => {
      held.release = resolve;
    });
    this.#held = held;
    return held;
  }

  #stop() {
    for (const socket of this.#upgraded) socket.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #pass(target, incoming, outgoing) {
    const { method, url, headers } = incoming;
    if (url.startsWith("/socket/longpoll?")) {
      this.polled += 1;
      const held = this.#held;
      if (method === "GET" && held !== null) {
        this.#held = null;
        held.reach();
        await held.released;
      }
    }
    const upstream = request(`${target}${url}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.on("error", () => outgoing.destroy());
      answer.pipe(outgoing);
    });
    upstream.on("error", () => outgoing.destroy());
    outgoing.on("close", () => upstream.destroy());
    incoming.pipe(upstream);
  }
}

/** One address for one server after another, as a load balancer has it. Connections stay with the server they began with. */
export class Forwarder {
  /** The port of the server that new connections go to. */
  target = 0;
  #server;
  #sockets = new Set();

  static async start(t, target) {
    const forwarder = new Forwarder();
    forwarder.target = target;
    forwarder.#server = createServer((incoming) => forwarder.#pass(incoming));
    forwarder.#server.listen(0, "127.0.0.1");
    await once(forwarder.#server, "listening");
    t.after(() => forwarder.stop());
    return forwarder;
  }

  get endPoint() {
    return `ws://127.0.0.1:${this.#server.address().port}/socket`;
  }

  stop() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #pass(incoming) {
    const outgoing = connect(this.target, "127.0.0.1");
    for (const [socket, other] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        // What the other has not sent yet, such as a close frame, still goes out.
        other.end();
      });
      socket.pipe(other);
    }
  }
}
