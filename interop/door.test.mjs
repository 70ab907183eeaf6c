// Who may come in, as clients and browsers see it: tokens, origins, and compression between two that agree on it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { CLIENTS, ask, connect, join, socketFor } from "./lib/clients.mjs";
import { Server } from "./lib/server.mjs";
import { WAIT_MS, within } from "./lib/wait.mjs";
import { HANDSHAKE, Wire, get } from "./lib/wire.mjs";

const TEST = { timeout: 15_000 };

/** A token of the server for a user. */
async function tokenFor(server, user) {
  const response = await fetch(`${server.http}/api/token?user_id=${encodeURIComponent(user)}`);
  assert.equal(response.status, 200);
  return response.text();
}

const refused = (socket) => within(WAIT_MS, "the refusal", new Promise((resolve) => socket.onError(resolve)));

describe("tokens", () => {
  let server;
  before(async () => {
    server = await Server.start();
  });
  after(() => server.stop());

  for (const client of CLIENTS) {
    test(`${client.label}: a token among the parameters`, TEST, async (t) => {
      const params = { token: await tokenFor(server, "ada") };
      const socket = await connect(t, client, server, { params });
      const channel = await join(socket, "room:tokens");
      const { response } = await ask(channel, "whoami");
      assert.equal(response.user_id, "ada");
    });

    test(`${client.label}: a forged token is refused`, TEST, async (t) => {
      const forged = `${await tokenFor(server, "ada")}x`;
      const socket = socketFor(t, client, server, { params: { token: forged } });
      socket.connect();
      await refused(socket);
      assert.equal(socket.isConnected(), false);
    });
  }

  for (const client of CLIENTS.filter(({ line }) => line === "1.8")) {
    // Each of these is written differently in base64: padded once, twice and not at all.
    for (const user of ["ada", "adal", "adalo"]) {
      test(`${client.label}: authToken of ${user}, in no URL`, TEST, async (t) => {
        const authToken = await tokenFor(server, user);
        const socket = await connect(t, client, server, { authToken });
        assert.ok(!socket.endPointURL().includes(authToken.slice(8, 40)));
        const channel = await join(socket, "room:tokens");
        const { response } = await ask(channel, "whoami");
        assert.equal(response.user_id, user);
      });
    }

    test(`${client.label}: a forged authToken is refused`, TEST, async (t) => {
      const socket = socketFor(t, client, server, { authToken: "forged" });
      socket.connect();
      await refused(socket);
      assert.equal(socket.isConnected(), false);
    });
  }

  test("the subprotocol of a token is answered with phoenix alone", TEST, async () => {
    const bearer = `base64url.bearer.phx.${Buffer.from(await tokenFor(server, "ada")).toString("base64").replaceAll("=", "")}`;
    const offered = { ...HANDSHAKE, "sec-websocket-protocol": `phoenix, ${bearer}` };
    const { status, headers } = await get(server, "vsn=2.0.0", offered);
    assert.equal(status, 101);
    assert.equal(headers["sec-websocket-protocol"], "phoenix");
    const broken = { ...HANDSHAKE, "sec-websocket-protocol": "phoenix, base64url.bearer.phx.!!" };
    assert.equal((await get(server, "vsn=2.0.0", broken)).status, 400);
  });
});

describe("origins", () => {
  let server;
  before(async () => {
    server = await Server.start("--check-origin", "https://example.com,//*.phoenix.test");
  });
  after(() => server.stop());

  for (const [origin, status] of [
    [undefined, 101],
    ["https://example.com", 101],
    ["https://example.com:443", 101],
    ["http://example.com", 403],
    ["https://example.com:444", 403],
    ["https://example.com.evil.test", 403],
    ["https://evil.test/example.com", 403],
    ["http://phoenix.test:4000", 101],
    ["https://a.b.phoenix.test", 101],
    ["https://a-phoenix.test", 403],
    ["null", 403],
    ["", 403],
  ]) {
    test(`${origin ?? "no origin"}: ${status}, and the same for those who poll`, TEST, async () => {
      const headers = origin === undefined ? {} : { origin };
      assert.equal((await get(server, "vsn=2.0.0", { ...HANDSHAKE, ...headers })).status, status);
      const response = await fetch(`${server.http}/socket/longpoll?vsn=2.0.0`, { headers });
      assert.equal(response.status, 200);
      const body = await response.json();
      // `fetch` may leave an empty header out; the bare request above did not.
      if (origin !== "") assert.equal(body.status, status === 101 ? 410 : 403);
    });
  }
});

describe("compression", () => {
  let server;
  before(async () => {
    server = await Server.start("--compress");
  });
  after(() => server.stop());

  for (const [name, perMessageDeflate] of [
    ["what ws offers by itself", true],
    ["no context takeover", { serverNoContextTakeover: true, clientNoContextTakeover: true }],
    ["a small window", { serverMaxWindowBits: 10 }],
    ["everything is compressed", { threshold: 0 }],
  ]) {
    test(`${name}: what is sent comes back`, TEST, async (t) => {
      const wire = await Wire.open(t, server, "vsn=2.0.0", { perMessageDeflate });
      const joined = await wire.exchange('["1","1","room:deflate","phx_join",{}]');
      assert.equal(joined, '["1","1","room:deflate","phx_reply",{"status":"ok","response":{}}]');
      for (const length of [1, 100, 1_000, 100_000]) {
        // Numbers, so that a long one is not so monotonous that the server takes it for an attack.
        const body = Array.from({ length }, (_, n) => n * n).join(" ").slice(0, length);
        const reply = await wire.exchange(`["1","2","room:deflate","echo",{"body":"${body}"}]`);
        assert.equal(reply, `["1","2","room:deflate","phx_reply",{"status":"ok","response":{"body":"${body}"}}]`);
      }
    });
  }

  test("those who agree on it and those who do not share a topic", TEST, async (t) => {
    const [deflated, plain] = [await Wire.open(t, server, "vsn=2.0.0", { perMessageDeflate: true }), await Wire.open(t, server)];
    for (const wire of [deflated, plain]) await wire.exchange('["1","1","room:mixed","phx_join",{}]');
    assert.match(deflated.socket.extensions, /permessage-deflate/);
    assert.equal(plain.socket.extensions, "");
    const body = "again and again ".repeat(1000);
    const shout = `[null,null,"room:mixed","shout",{"body":"${body}"}]`;
    deflated.send(`["1","2","room:mixed","shout",{"body":"${body}"}]`);
    assert.equal(await deflated.next(), shout);
    assert.equal(await plain.next(), shout);
  });

  test("what inflates without end ends the connection with 1009", TEST, async (t) => {
    const wire = await Wire.open(t, server, "vsn=2.0.0", { perMessageDeflate: { threshold: 0 } });
    wire.send("[".padEnd(20_000_000, " "));
    assert.equal((await wire.closed()).code, 1009);
  });
});
