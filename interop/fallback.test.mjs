// A client that may fall back to long polling, behind gateways that let no WebSocket through.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { WebSocket } from "ws";

import { CLIENTS, ask, connect, fresh, inbox, join, socketFor } from "./lib/clients.mjs";
import { Gateway, HANDSHAKES } from "./lib/proxies.mjs";
import { Server } from "./lib/server.mjs";

const TEST = { timeout: 20_000 };
/** The option is as old as 1.7. */
const ABLE = CLIENTS.filter(({ line, transport }) => ["1.8", "1.7"].includes(line) && transport !== WebSocket);

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.kill());

/** The `sessionStorage` of a tab, in which the client remembers. */
class Storage {
  #items = new Map();
  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => this.#items.set(key, value);
}

const options = (sessionStorage) => ({ transport: WebSocket, longPollFallbackMs: 150, sessionStorage });

async function converse(t, socket, topic) {
  const witness = await join(await connect(t, CLIENTS[0], server), topic);
  const channel = await join(socket, topic);
  const [here, there] = [inbox(channel, "shout"), inbox(witness, "shout")];
  assert.deepEqual(await ask(channel, "echo", { n: 1 }), { status: "ok", response: { n: 1 } });
  await ask(channel, "shout_ack", { n: 2 });
  await ask(witness, "shout_ack", { n: 3 });
  for (const box of [here, there]) assert.deepEqual((await box.take(2)).map(({ payload }) => payload.n), [2, 3]);
}

for (const client of ABLE) {
  describe(client.label, () => {
    for (const [name, handshake] of Object.entries(HANDSHAKES)) {
      test(`falls back where a handshake is ${name}, and remembers it`, TEST, async (t) => {
        const gateway = await Gateway.start(t, server.http, handshake);
        const storage = new Storage();
        const socket = socketFor(t, client, gateway, options(storage));
        socket.connect();
        await converse(t, socket, fresh());
        assert.equal(gateway.handshakes, 1);
        assert.ok(gateway.polled > 0);
        assert.equal(storage.getItem("phx:fallback:LongPoll"), "true");

        const next = socketFor(t, client, gateway, options(storage));
        next.connect();
        await converse(t, next, fresh());
        assert.equal(gateway.handshakes, 1, "the next socket of the tab polls at once");
      });
    }

    test("stays with a WebSocket that answers", TEST, async (t) => {
      const storage = new Storage();
      const socket = socketFor(t, client, server, options(storage));
      socket.connect();
      await converse(t, socket, fresh());
      // Twice what it would have waited for the answer to its ping.
      const channel = await join(socket, fresh());
      assert.deepEqual(await ask(channel, "later", { ms: 300 }), { status: "ok", response: { ms: 300 } });
      assert.equal(socket.transport, WebSocket);
      assert.equal(storage.getItem("phx:fallback:LongPoll"), null);
    });

    test("polls from the first attempt to reconnect that fails, for as long as the page lives", TEST, async (t) => {
      const own = await Server.start();
      t.after(() => own.kill());
      const storage = new Storage();
      const socket = socketFor(t, client, own, options(storage));
      socket.connect();
      const channel = await join(socket, fresh());
      await own.kill();
      while (socket.transport === WebSocket) await new Promise((resolve) => socket.onError(resolve));
      await own.restart();
      while (!socket.isConnected()) await new Promise((resolve) => socket.onOpen(resolve));
      assert.equal((await ask(channel, "ack")).status, "ok");
      assert.equal(socket.transport, client.transport);
      assert.equal(storage.getItem("phx:fallback:LongPoll"), null, "the next page tries a WebSocket again");
    });
  });
}
