// The official JavaScript client, each release line over each transport in turn, against the playground server.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import {
  CLIENTS,
  NO_BINARY,
  ask,
  bytes,
  closeCode,
  closes,
  closing,
  connect,
  errors,
  fresh,
  inbox,
  join,
  joins,
  opening,
  outcome,
  plain,
  socketFor,
  wire,
} from "./lib/clients.mjs";
import { Gateway, HANDSHAKES } from "./lib/proxies.mjs";
import { Server } from "./lib/server.mjs";

const TEST = { timeout: 20_000 };
const LARGE = 500_000;

for (const client of CLIENTS) {
  describe(client.label, () => {
    let server;
    before(async () => {
      server = await Server.start();
    });
    // A drain would wait for clients that polled, and do not come back to say what they have received.
    after(() => server.kill());

    describe("join", () => {
      test("is answered with the response of the channel", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const reply = { hello: "world", nested: { list: [1, 2.5, null, true] } };
        const channel = socket.channel(fresh(), { reply });
        assert.deepEqual(await outcome(channel.join()), { status: "ok", response: reply });
        assert.equal(channel.state, "joined");
      });

      test("is answered with {} where the channel gives nothing", TEST, async (t) => {
        const socket = await connect(t, client, server);
        assert.deepEqual(await outcome(socket.channel(fresh()).join()), { status: "ok", response: {} });
      });

      test("takes its params from a function", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const channel = socket.channel(fresh(), () => ({ reply: { made: "late" } }));
        assert.deepEqual(await outcome(channel.join()), { status: "ok", response: { made: "late" } });
      });

      test("refused by the channel is an error with the reason", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const channel = socket.channel("room:denied");
        assert.deepEqual(await outcome(channel.join()), { status: "error", response: { reason: "unauthorized" } });
        channel.leave();
      });

      test("that crashes is an error, and the connection lives on", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const channel = socket.channel("room:crash");
        assert.deepEqual(await outcome(channel.join()), { status: "error", response: { reason: "join crashed" } });
        channel.leave();
        const other = await join(socket, fresh());
        assert.equal((await ask(other, "ack")).status, "ok");
      });

      test("of a topic that no channel matches is an error", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const channel = socket.channel("nomatch");
        assert.deepEqual(await outcome(channel.join()), { status: "error", response: { reason: "unmatched topic" } });
        channel.leave();
      });

      test("is answered before anything else of the channel", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const topic = fresh();
        const channel = socket.channel(topic, { after_join: true });
        const pushed = inbox(channel, "after_join");
        const order = [];
        channel.on("after_join", () => order.push("after_join"));
        const joined = channel.join().receive("ok", () => order.push("ok"));
        await outcome(joined);
        assert.deepEqual(await pushed.next(), { event: "after_join", payload: { topic } });
        assert.deepEqual(order, ["ok", "after_join"]);
      });

      test("of 100 topics works on one socket, the 101st is refused", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const channels = Array.from({ length: 100 }, () => socket.channel(fresh()));
        const answers = await Promise.all(channels.map((channel) => outcome(channel.join())));
        assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set(["ok"]));
        const beyond = socket.channel(fresh());
        assert.deepEqual(await outcome(beyond.join()), { status: "error", response: { reason: "too many channels joined" } });
        beyond.leave();
        assert.equal((await ask(channels[99], "ack")).status, "ok");
      });

      test("of a second channel object replaces the first on the same topic", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const topic = fresh();
        const first = await join(socket, topic);
        assert.deepEqual((await ask(first, "count")).response, { count: 1 });
        const closed = closes(first);
        const second = await join(socket, topic);
        await closed.next("the close of the first channel");
        assert.deepEqual((await ask(second, "count")).response, { count: 1 });
        const heard = inbox(second, "shout");
        await ask(second, "shout_ack", { n: 1 });
        await ask(second, "ack");
        assert.deepEqual(heard.drain(), [{ event: "shout", payload: { n: 1 } }]);
      });
    });

    describe("push", () => {
      test("is answered ok with its payload", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const payload = { text: "hi", number: -1.5e-7, list: [], object: {}, nothing: null };
        assert.deepEqual(await ask(channel, "echo", payload), { status: "ok", response: payload });
      });

      test("is answered error with its payload", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        assert.deepEqual(await ask(channel, "echo_error", { why: "no" }), { status: "error", response: { why: "no" } });
      });

      test("is answered with {} where the reply has no payload", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        assert.deepEqual(await ask(channel, "ack"), { status: "ok", response: {} });
      });

      test("that the server leaves unanswered times out at the client", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        assert.equal((await ask(channel, "silent", {}, 150)).status, "timeout");
        assert.equal((await ask(channel, "ack")).status, "ok");
      });

      test("of an event that the channel does not know is an error, and the channel lives on", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        assert.deepEqual(await ask(channel, "no_such_event"), { status: "error", response: { reason: "unknown event" } });
        assert.equal((await ask(channel, "ack")).status, "ok");
      });

      test("says who we are", TEST, async (t) => {
        const topic = fresh();
        const known = await join(await connect(t, client, server, { params: { user_id: "ada" } }), topic);
        const unknown = await join(await connect(t, client, server), topic);
        const { response } = await ask(known, "whoami");
        assert.deepEqual({ ...response, node: typeof response.node }, { user_id: "ada", topic, node: "string" });
        assert.equal((await ask(unknown, "whoami")).response.user_id, null);
      });

      test("made before the socket connects and the channel joins arrives in order", TEST, async (t) => {
        const socket = socketFor(t, client, server);
        const channel = socket.channel(fresh());
        const heard = inbox(channel, "shout");
        const joined = channel.join();
        const pushes = [1, 2, 3, 4, 5].map((n) => channel.push("shout_ack", { n }));
        socket.connect();
        assert.equal((await outcome(joined)).status, "ok");
        const answers = await Promise.all(pushes.map(outcome));
        assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set(["ok"]));
        assert.deepEqual(heard.drain().map(({ payload }) => payload.n), [1, 2, 3, 4, 5]);
      });

      test("of a large message works both ways", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const data = "é".repeat(LARGE / 2);
        const { status, response } = await ask(channel, "echo", { data });
        assert.equal(status, "ok");
        assert.ok(response.data === data, "the echo is what was sent");
        const big = await ask(channel, "big", { bytes: LARGE });
        assert.ok(big.response.data === "x".repeat(LARGE), "all the x's are there");
      });

      test("carries any Unicode in topic, event and payload", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const topic = `${fresh()}:日本 é 👋🏽 \u200f"\\`;
        const channel = await join(socket, topic);
        const payload = { "ключ": "値 \u0000 \u2028 \ud83d\udc4b", tab: "\t\r\n" };
        assert.deepEqual(await ask(channel, "echo", payload), { status: "ok", response: payload });
        assert.deepEqual(await ask(channel, "événement"), { status: "error", response: { reason: "unknown event" } });
        assert.equal((await ask(channel, "whoami")).response.topic, topic);
      });
    });

    describe("server push and broadcast", () => {
      test("push_me reaches this client alone", TEST, async (t) => {
        const topic = fresh();
        const one = await join(await connect(t, client, server), topic);
        const two = await join(await connect(t, client, server), topic);
        const [toOne, toTwo] = [inbox(one, "pushed"), inbox(two, "pushed")];
        one.push("push_me", { n: 1 });
        assert.deepEqual(await toOne.next(), { event: "pushed", payload: { n: 1 } });
        await ask(two, "ack");
        assert.deepEqual(toTwo.drain(), []);
      });

      test("shout reaches every client of the topic, the sender too", TEST, async (t) => {
        const topic = fresh();
        const one = await join(await connect(t, client, server), topic);
        const two = await join(await connect(t, client, server), topic);
        const elsewhere = await join(await connect(t, client, server), fresh());
        const boxes = [inbox(one, "shout"), inbox(two, "shout")];
        const stray = inbox(elsewhere, "shout");
        one.push("shout", { body: "hello" });
        for (const box of boxes) assert.deepEqual(await box.next(), { event: "shout", payload: { body: "hello" } });
        await ask(elsewhere, "ack");
        assert.deepEqual(stray.drain(), []);
      });

      test("local reaches the subscribers of this node", TEST, async (t) => {
        const topic = fresh();
        const one = await join(await connect(t, client, server), topic);
        const two = await join(await connect(t, client, server), topic);
        const boxes = [inbox(one, "shout"), inbox(two, "shout")];
        one.push("local", { here: true });
        for (const box of boxes) assert.deepEqual((await box.next()).payload, { here: true });
      });

      test("whisper reaches everybody but the sender", TEST, async (t) => {
        const topic = fresh();
        const one = await join(await connect(t, client, server), topic);
        const two = await join(await connect(t, client, server), topic);
        const [toOne, toTwo] = [inbox(one, "whisper"), inbox(two, "whisper")];
        one.push("whisper", { psst: 1 });
        assert.deepEqual(await toTwo.next(), { event: "whisper", payload: { psst: 1 } });
        await ask(one, "ack");
        assert.deepEqual(toOne.drain(), []);
      });

      test("a broadcast made before a reply arrives before it", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        for (let n = 1; n <= 20; n += 1) {
          const order = [];
          const ref = channel.on("shout", () => order.push("shout"));
          await outcome(channel.push("shout_ack", { n }).receive("ok", () => order.push("ok")));
          channel.off("shout", ref);
          assert.deepEqual(order, ["shout", "ok"]);
        }
      });

      test("a broadcast by HTTP reaches the topic", TEST, async (t) => {
        const topic = fresh();
        const channel = await join(await connect(t, client, server), topic);
        const heard = inbox(channel, "news");
        const { status } = await server.post("/api/broadcast", { topic, event: "news", payload: { n: 1 } });
        assert.equal(status, 204);
        assert.deepEqual(await heard.next(), { event: "news", payload: { n: 1 } });
      });

      test("tick pushes 1…n in order", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const ticks = inbox(channel, "tick");
        const order = [];
        channel.on("tick", ({ n }) => order.push(n));
        await outcome(channel.push("tick", { ms: 5, n: 20 }).receive("ok", () => order.push("ok")));
        await ticks.take(20, "tick");
        assert.deepEqual(order, ["ok", ...Array.from({ length: 20 }, (_, index) => index + 1)]);
      });
    });

    describe("waiting handlers", () => {
      test("slow holds up its own channel and no other", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const slow = await join(socket, fresh());
        const quick = await join(socket, fresh());
        const order = [];
        const done = (name) => () => order.push(name);
        const pushes = [
          slow.push("slow", { ms: 300 }).receive("ok", done("slow")),
          slow.push("ack").receive("ok", done("behind it")),
          quick.push("ack").receive("ok", done("beside it")),
        ];
        const [first] = await Promise.all(pushes.map(outcome));
        assert.deepEqual(first, { status: "ok", response: { ms: 300 } });
        assert.deepEqual(order, ["beside it", "slow", "behind it"]);
      });

      test("slow does not hold up a join on another topic", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const slow = await join(socket, fresh());
        const order = [];
        const waiting = slow.push("slow", { ms: 300 }).receive("ok", () => order.push("slow"));
        const joined = socket.channel(fresh()).join().receive("ok", () => order.push("join"));
        await Promise.all([outcome(waiting), outcome(joined)]);
        assert.deepEqual(order, ["join", "slow"]);
      });

      test("later answers without holding up the channel", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const order = [];
        const later = channel.push("later", { ms: 200 }).receive("ok", () => order.push("later"));
        const next = channel.push("ack").receive("ok", () => order.push("ack"));
        const [answer] = await Promise.all([outcome(later), outcome(next)]);
        assert.deepEqual(answer, { status: "ok", response: { ms: 200 } });
        assert.deepEqual(order, ["ack", "later"]);
      });

      test("later is open at most 100 times", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const open = Array.from({ length: 100 }, () => channel.push("later", { ms: 1000 }));
        assert.deepEqual(await ask(channel, "later", { ms: 1 }), { status: "error", response: { reason: "too many" } });
        const answers = await Promise.all(open.map(outcome));
        assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set(["ok"]));
      });
    });

    describe("binary", () => {
      const sent = [0, 1, 127, 128, 255];
      const echoed = (...values) => (client.binaryComesDown ? { status: "ok", response: values } : NO_BINARY);
      const arriving = (...payloads) => payloads.filter((payload) => client.binaryComesDown || !Array.isArray(payload));

      /** The answer to a push of these bytes, with bytes as a list. */
      async function echo(channel, buffer) {
        const { status, response } = await ask(channel, "echo", buffer);
        return { status, response: plain(response) };
      }

      test("a push is answered in binary", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        assert.deepEqual(await echo(channel, bytes(...sent)), echoed(...sent));
      });

      test("an empty payload stays binary", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        assert.deepEqual(await echo(channel, bytes()), echoed());
      });

      test("a push of the server", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const pushed = inbox(channel, "pushed");
        channel.push("push_me", bytes(...sent));
        assert.equal((await ask(channel, "ack")).status, "ok");
        assert.deepEqual(pushed.drain().map(({ payload }) => plain(payload)), arriving(sent));
      });

      test("a broadcast, before a text one on the same topic", TEST, async (t) => {
        const topic = fresh();
        const one = await join(await connect(t, client, server), topic);
        const two = await join(await connect(t, client, server), topic);
        const boxes = [inbox(one, "shout"), inbox(two, "shout")];
        one.push("shout", bytes(...sent));
        one.push("shout", { text: true });
        const expected = arriving(sent, { text: true });
        for (const box of boxes) assert.deepEqual((await box.take(expected.length)).map(({ payload }) => plain(payload)), expected);
      });

      test("a broadcast reaches those who can have it", TEST, async (t) => {
        const topic = fresh();
        const channel = await join(await connect(t, client, server), topic);
        const witness = await join(await connect(t, CLIENTS[0], server), topic);
        const heard = inbox(witness, "shout");
        channel.push("shout", bytes(...sent));
        assert.deepEqual(plain((await heard.next()).payload), sent);
      });

      test("a large payload", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const large = new Uint8Array(LARGE).map((_, index) => index % 251);
        const answer = await ask(channel, "echo", large.buffer);
        if (answer.status === "ok") answer.response = Buffer.from(large).equals(Buffer.from(answer.response)) ? [] : ["other bytes"];
        assert.deepEqual(answer, echoed());
      });

      if (client.line === "1.8") {
        test("Unicode in the header", TEST, async (t) => {
          const topic = `${fresh()}:日本 👋`;
          const channel = await join(await connect(t, client, server), topic);
          const witness = await join(await connect(t, CLIENTS[0], server), topic);
          const heard = inbox(witness, "shout");
          channel.push("shout", bytes(...sent));
          assert.deepEqual(plain((await heard.next()).payload), sent);
          assert.deepEqual(await echo(channel, bytes(...sent)), echoed(...sent));
        });
      }
    });

    describe("the end of a channel", () => {
      test("leave: the server forgets the topic, and a new channel joins it again", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const topic = fresh();
        const channel = await join(socket, topic);
        assert.deepEqual((await ask(channel, "count")).response, { count: 1 });
        const seen = wire(socket);
        assert.equal((await outcome(channel.leave())).status, "ok");
        await seen.find((message) => message.topic === topic && message.event === "phx_close", "phx_close");

        const ref = socket.makeRef();
        socket.push({ topic, event: "echo", payload: {}, ref, join_ref: null });
        const { event, payload } = await seen.find((message) => message.ref === ref, "the answer on a topic that was left");
        assert.deepEqual({ event, payload }, { event: "phx_reply", payload: { status: "error", response: { reason: "unmatched topic" } } });

        const again = await join(socket, topic);
        assert.deepEqual((await ask(again, "count")).response, { count: 1 });
      });

      test("leave: no broadcast arrives any more", TEST, async (t) => {
        const topic = fresh();
        const stays = await join(await connect(t, client, server), topic);
        const socket = await connect(t, client, server);
        const goes = await join(socket, topic);
        const bystander = await join(socket, fresh());
        const seen = wire(socket);
        goes.leave();
        await seen.find((message) => message.topic === topic && message.event === "phx_close", "phx_close");
        await ask(stays, "shout_ack", {});
        await ask(bystander, "ack");
        assert.deepEqual(seen.drain().filter((message) => message.topic === topic), []);
      });

      test("crash: the client hears the error and joins again by itself, with a new channel", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        assert.deepEqual((await ask(channel, "count")).response, { count: 1 });
        assert.deepEqual((await ask(channel, "count")).response, { count: 2 });
        const [failed, joined] = [errors(channel), joins(channel)];
        joined.drain();
        channel.push("crash");
        assert.deepEqual(await failed.next("phx_error"), { reason: "channel_crash" });
        await joined.next("the rejoin");
        assert.deepEqual((await ask(channel, "count")).response, { count: 1 });
      });

      test("crash: neighbours on the same connection and topic notice nothing", TEST, async (t) => {
        const topic = fresh();
        const socket = await connect(t, client, server);
        const crashing = await join(socket, topic);
        const beside = await join(socket, fresh());
        const other = await join(await connect(t, client, server), topic);
        const failed = [errors(beside), errors(other)];
        const joined = joins(crashing);
        joined.drain();
        assert.deepEqual((await ask(beside, "count")).response, { count: 1 });
        crashing.push("crash");
        await joined.next("the rejoin");
        assert.deepEqual((await ask(beside, "count")).response, { count: 2 });
        assert.equal((await ask(other, "ack")).status, "ok");
        assert.deepEqual(failed.flatMap((box) => box.drain()), []);
      });

      test("crash: a push behind it is not answered by the dead channel", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const joined = joins(channel);
        joined.drain();
        channel.push("crash");
        const behind = outcome(channel.push("count", {}, 500));
        await joined.next("the rejoin");
        assert.notEqual((await behind).status, "ok");
      });

      for (const reason of ["normal", "shutdown"]) {
        test(`stop ${reason}: the channel closes and does not come back`, TEST, async (t) => {
          const socket = await connect(t, client, server);
          const bystander = await join(socket, fresh());
          const channel = await join(socket, fresh());
          const [failed, closed, joined] = [errors(channel), closes(channel), joins(channel)];
          joined.drain();
          channel.push("stop", { reason });
          await closed.next("phx_close");
          // Ten times what the client would wait before it joined again, by the server's clock.
          await ask(bystander, "later", { ms: 250 });
          assert.equal(channel.state, "closed");
          assert.deepEqual([failed.drain(), joined.drain()], [[], []]);
        });
      }

      test("stop error: the client hears an error and joins again", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const [failed, joined] = [errors(channel), joins(channel)];
        joined.drain();
        channel.push("stop", { reason: "error" });
        assert.deepEqual(await failed.next("phx_error"), { reason: "channel_crash" });
        await joined.next("the rejoin");
      });

      test("stop_reply: the answer comes before the close", TEST, async (t) => {
        const channel = await join(await connect(t, client, server), fresh());
        const closed = closes(channel);
        const order = [];
        channel.onClose(() => order.push("close"));
        const answer = await outcome(channel.push("stop_reply").receive("ok", () => order.push("ok")));
        await closed.next("phx_close");
        assert.deepEqual(answer, { status: "ok", response: { bye: true } });
        assert.deepEqual(order, ["ok", "close"]);
      });
    });

    describe("the connection", () => {
      test("refused by the server: the client tries again", TEST, async (t) => {
        const socket = socketFor(t, client, server, { params: { deny: 1 } });
        let tries = 0;
        const thrice = new Promise((resolve) => {
          socket.onError(() => {
            tries += 1;
            if (tries === 3) resolve();
          });
        });
        socket.connect();
        await thrice;
        assert.equal(socket.isConnected(), false);
      });

      test("parameters that are null or undefined make odd addresses, which work", TEST, async (t) => {
        const socket = await connect(t, client, server, {
          params: { a: 1, n: { x: true }, none: null, list: [1, 2], u: undefined, user_id: "ü & é" },
        });
        const channel = await join(socket, fresh());
        assert.equal((await ask(channel, "whoami")).response.user_id, "ü & é");
      });

      test("heartbeats are answered, many of them", { ...TEST, skip: !client.heartbeats && "this client sends none" }, async (t) => {
        const socket = await connect(t, client, server, { heartbeatIntervalMs: 40 });
        const seen = wire(socket);
        let closed = 0;
        socket.onClose(() => {
          closed += 1;
        });
        for (let n = 0; n < 20; n += 1) {
          const { event, payload } = await seen.find(({ topic }) => topic === "phoenix", `heartbeat ${n + 1}`);
          assert.deepEqual({ event, payload }, { event: "phx_reply", payload: { status: "ok", response: {} } });
        }
        assert.equal(closed, 0);
      });

      test("disconnect by id closes the connection; the client comes back and joins again", TEST, async (t) => {
        const id = fresh("user");
        const socket = await connect(t, client, server, { params: { user_id: id } });
        const other = await connect(t, client, server, { params: { user_id: `${id}-other` } });
        const channel = await join(socket, fresh());
        const undisturbed = await join(other, fresh());
        const joined = joins(channel);
        joined.drain();
        const gone = closing(socket);
        const { status } = await server.post("/api/disconnect", { id: `user_socket:${id}` });
        assert.equal(status, 204);
        assert.equal(await closeCode(gone), client.codes.disconnected);
        await joined.next("the rejoin");
        assert.equal((await ask(channel, "whoami")).response.user_id, id);
        assert.equal((await ask(undisturbed, "ack")).status, "ok");
        assert.deepEqual((await ask(undisturbed, "count")).response, { count: 1 });
      });

      test("a session that ends between two polls: the client joins again", { ...TEST, skip: client.binaryComesDown && "a client that does not poll" }, async (t) => {
        const id = fresh("user");
        const gateway = await Gateway.start(t, server.http, HANDSHAKES.refused);
        const socket = await connect(t, client, gateway, { params: { user_id: id } });
        const topic = fresh();
        const channel = await join(socket, topic);
        const joined = joins(channel);
        joined.drain();
        const gone = closing(socket);
        const poll = gateway.holdPoll();
        // What ends a poll that waits must not be the client's: a post may still be on its way then.
        await server.post("/api/broadcast", { topic, event: "news", payload: {} });
        await poll.reached;
        await server.post("/api/disconnect", { id: `user_socket:${id}` });
        poll.release();
        assert.equal(await closeCode(gone), client.codes.lost);
        await joined.next("the rejoin");
        assert.equal((await ask(channel, "whoami")).response.user_id, id);
      });

      test("disconnect by the client is final, and connect starts anew", TEST, async (t) => {
        const socket = await connect(t, client, server);
        const channel = await join(socket, fresh());
        const joined = joins(channel);
        joined.drain();
        await new Promise((resolve) => socket.disconnect(resolve));
        assert.equal(socket.isConnected(), false);
        const opened = opening(socket);
        socket.connect();
        await opened;
        await joined.next("the rejoin");
        assert.equal((await ask(channel, "ack")).status, "ok");
      });
    });

    describe("intercept", () => {
      test("the payload is made for each subscriber", TEST, async (t) => {
        const topic = fresh("intercept");
        const ada = await join(await connect(t, client, server, { params: { user_id: "ada" } }), topic);
        const bob = await join(await connect(t, client, server, { params: { user_id: "bob" } }), topic);
        const [toAda, toBob] = [inbox(ada, "shout"), inbox(bob, "shout")];
        ada.push("shout", { body: "hi" });
        assert.deepEqual((await toAda.next()).payload, { body: "hi", to: "ada" });
        assert.deepEqual((await toBob.next()).payload, { body: "hi", to: "bob" });
      });

      test("a payload whose id was pushed already is dropped", TEST, async (t) => {
        const channel = await join(await connect(t, client, server, { params: { user_id: "ada" } }), fresh("intercept"));
        const heard = inbox(channel, "shout");
        for (const id of ["a", "b", "a", "b", "c"]) channel.push("shout", { id });
        assert.deepEqual(
          (await heard.take(3)).map(({ payload }) => payload),
          ["a", "b", "c"].map((id) => ({ id, to: "ada" })),
        );
        await ask(channel, "ack");
        assert.deepEqual(heard.drain(), []);
      });
    });

    describe("the end of the server", () => {
      test("killed and started again: the client reconnects and rejoins every channel", TEST, async (t) => {
        const own = await Server.start();
        t.after(() => own.stop());
        const socket = await connect(t, client, own);
        const channels = [await join(socket, fresh()), await join(socket, fresh())];
        const boxes = channels.map(joins);
        for (const box of boxes) box.drain();
        const failed = channels.map(errors);
        const gone = closing(socket);
        await own.kill();
        await gone;
        for (const box of failed) await box.next("the error of a channel");
        const kept = channels[0].push("echo", { kept: true }, 10_000);
        await own.restart();
        for (const box of boxes) await box.next("the rejoin");
        assert.deepEqual(await outcome(kept), { status: "ok", response: { kept: true } });
        for (const channel of channels) assert.deepEqual((await ask(channel, "count")).response, { count: 1 });
      });

      test("SIGTERM drains: the connection closes, exit code 0, and the next server gets the client", TEST, async (t) => {
        const own = await Server.start();
        t.after(() => own.stop());
        const socket = await connect(t, client, own);
        const channel = await join(socket, fresh());
        const joined = joins(channel);
        joined.drain();
        const gone = closing(socket);
        const ended = own.stop();
        assert.equal(await closeCode(gone), client.codes.drained);
        assert.deepEqual(await ended, { code: 0, signal: null });
        await own.restart();
        await joined.next("the rejoin");
        assert.equal((await ask(channel, "ack")).status, "ok");
      });
    });
  });
}
