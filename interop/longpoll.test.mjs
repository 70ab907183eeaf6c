// Long polling request by request: what the client hides, drops or repairs.

import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { after, before, describe, test } from "node:test";

import { LossyProxy } from "./lib/proxies.mjs";
import { Poller, exchange, pollAddress } from "./lib/poller.mjs";
import { Server } from "./lib/server.mjs";
import { Wire } from "./lib/wire.mjs";

const TEST = { timeout: 15_000 };
/** How long a poll waits for messages. */
const WINDOW_MS = 10_000;
const NDJSON = { "content-type": "application/x-ndjson" };

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.kill());

let topics = 0;
const fresh = () => `room:polled${(topics += 1)}`;

const reply = (joinRef, ref, topic, status = "ok", response = {}) =>
  JSON.stringify([joinRef, ref, topic, "phx_reply", { status, response }]);

/** What an error reply says of a reply that is binary. */
const noBinary = (joinRef, ref, topic) => reply(joinRef, ref, topic, "error", { reason: "binary needs a websocket" });

async function joined(topic, base = server.http, query = undefined) {
  const poller = await Poller.begin(base, query);
  assert.deepEqual(await poller.post(`["1","1","${topic}","phx_join",{}]`), { http: 200, status: 200 });
  assert.deepEqual((await poller.poll()).messages, [reply("1", "1", topic)]);
  return poller;
}

async function broadcast(topic, payload) {
  const { status } = await server.post("/api/broadcast", { topic, event: "news", payload });
  assert.equal(status, 204);
}

/** Four polls of one session that wait, which is shown by a fifth that is told to come later. */
async function waitingPolls(poller) {
  const polls = Array.from({ length: 5 }, () => exchange(poller.address, { ms: WINDOW_MS + 5000 }));
  const { status, headers, body, poll } = await Promise.race(polls.map(async (poll) => ({ ...(await poll), poll })));
  assert.deepEqual(
    { status, again: headers.has("retry-after"), body: JSON.parse(body) },
    { status: 429, again: true, body: { status: 500 } },
  );
  return polls.filter((other) => other !== poll);
}

async function bodies(polls) {
  return (await Promise.all(polls)).map(({ body }) => JSON.parse(body));
}

const ENDED = [500, 500, 500, 500].map((status) => ({ status }));

const news = (topic, payload) => JSON.stringify([null, null, topic, "news", payload]);

const isToken = (token) => assert.match(token, /^[\w.~-]+$/, "a token needs no escapes in a query");

describe("a session", () => {
  test("begins with a 410 that brings its token", TEST, async () => {
    const { status, body } = await exchange(pollAddress(server.http, "vsn=2.0.0&"));
    const { token, ...rest } = JSON.parse(body);
    assert.deepEqual({ status, rest }, { status: 200, rest: { status: 410, messages: [] } });
    isToken(token);
  });

  test("gives messages as strings, each as it would be in a text frame", TEST, async () => {
    const topic = fresh();
    const poller = await Poller.begin(server.http);
    assert.deepEqual(await poller.post(`["1","1","${topic}","phx_join",{}]`, `["1","2","${topic}","echo",{"é":"\\"\\u0000"}]`), {
      http: 200,
      status: 200,
    });
    const first = await poller.poll();
    const { token, messages, ...rest } = first;
    assert.deepEqual(rest, { status: 200 });
    isToken(token);
    messages.push(...(messages.length < 2 ? await poller.take(1) : []));
    assert.deepEqual(messages, [reply("1", "1", topic), reply("1", "2", topic, "ok", { "é": '"\u0000' })]);
  });

  test("answers a poll that waits as soon as there is something", TEST, async () => {
    const topic = fresh();
    const poller = await joined(topic);
    const before = performance.now();
    const [{ messages }] = await Promise.all([poller.poll(), broadcast(topic, { n: 1 })]);
    assert.deepEqual(messages, [news(topic, { n: 1 })]);
    assert.ok(performance.now() - before < WINDOW_MS / 4);
  });

  test("is found by a token in a header, before one in the query", TEST, async () => {
    const topic = fresh();
    const [poller, other] = [await joined(topic), await joined(fresh())];
    await broadcast(topic, { n: 1 });
    const headers = { "x-phoenix-longpoll-token": poller.token };
    for (const address of [pollAddress(server.http, "vsn=2.0.0"), other.address]) {
      const { body } = await exchange(address, { headers });
      assert.deepEqual(JSON.parse(body).messages, [news(topic, { n: 1 })]);
    }
  });

  test("speaks V1 where it began so", TEST, async () => {
    const topic = fresh();
    const poller = await Poller.begin(server.http, "vsn=1.0.0");
    await poller.postBody(JSON.stringify({ topic, event: "phx_join", payload: {}, ref: "1", join_ref: "1" }), "application/json");
    const [message] = (await poller.poll()).messages;
    assert.deepEqual(JSON.parse(message), { topic, event: "phx_reply", payload: { status: "ok", response: {} }, ref: "1" });
  });

  test("that is disconnected says 500 to the polls that wait; then its token finds nothing", TEST, async () => {
    const id = fresh();
    const topic = fresh();
    const poller = await joined(topic, server.http, `vsn=2.0.0&user_id=${id}`);
    const polls = await waitingPolls(poller);
    await server.post("/api/disconnect", { id: `user_socket:${id}` });
    assert.deepEqual(await bodies(polls), ENDED);
    assert.deepEqual(await poller.post(`["1","2","${topic}","ack",{}]`), { http: 200, status: 410 });
    const dead = poller.token;
    const { token, ...rest } = await poller.poll();
    assert.deepEqual(rest, { status: 410, messages: [] });
    assert.notEqual(token, dead);
    await poller.post(`["1","1","${topic}","phx_join",{}]`);
    assert.deepEqual(await poller.take(1), [reply("1", "1", topic)]);
  });

  for (const [what, token] of [
    ["no token", undefined],
    ["an empty token", ""],
    ["the token null", "null"],
    ["what only looks like one", "lp1.0.SFMyNTY.garbage"],
  ]) {
    test(`is not found by ${what}: a poll begins one, a post is told so`, TEST, async () => {
      const address = pollAddress(server.http, token === undefined ? "vsn=2.0.0" : `vsn=2.0.0&token=${token}`);
      const { token: given, ...rest } = JSON.parse((await exchange(address)).body);
      assert.deepEqual(rest, { status: 410, messages: [] });
      isToken(given);
      const { status, body } = await exchange(address, { method: "POST", headers: NDJSON, body: '["1","1","room:a","phx_join",{}]' });
      assert.deepEqual({ status, body: JSON.parse(body) }, { status: 200, body: { status: 410 } });
    });
  }

  test("is not found by garbage, which is the application's to judge", TEST, async () => {
    const { body } = await exchange(pollAddress(server.http, "vsn=2.0.0&token=SFMyNTY.garbage.%00"));
    assert.deepEqual(JSON.parse(body), { status: 403 });
  });

  test("is not found by a token that was changed", TEST, async () => {
    const { token } = await joined(fresh());
    const changed = token.replace(/.{4}$/, (end) => [...end].map((character) => (character === "A" ? "B" : "A")).join(""));
    const { body } = await exchange(pollAddress(server.http, `vsn=2.0.0&token=${changed}`));
    assert.equal(JSON.parse(body).status, 410);
  });
});

describe("a batch", () => {
  test("stays until the next token comes, and is given again to the one before", TEST, async () => {
    const topic = fresh();
    const poller = await joined(topic);
    await broadcast(topic, { n: 1 });
    const lost = await poller.pollAndLose();
    await broadcast(topic, { n: 2 });
    const again = await poller.poll();
    assert.deepEqual(lost.messages, [news(topic, { n: 1 })]);
    assert.deepEqual(again, lost);
    assert.deepEqual((await poller.poll()).messages, [news(topic, { n: 2 })]);
  });

  test("brings a token of its own", TEST, async () => {
    const topic = fresh();
    const poller = await joined(topic);
    const tokens = new Set([poller.token]);
    for (let n = 1; n <= 3; n += 1) {
      await broadcast(topic, { n });
      assert.deepEqual((await poller.poll()).messages, [news(topic, { n })]);
      tokens.add(poller.token);
    }
    assert.equal(tokens.size, 4);
  });

  test("holds whatever came since, in order", TEST, async () => {
    const topic = fresh();
    const poller = await joined(topic);
    for (let n = 1; n <= 50; n += 1) await broadcast(topic, { n });
    const { messages } = await poller.poll();
    assert.deepEqual(messages, Array.from({ length: 50 }, (_, index) => news(topic, { n: index + 1 })));
  });

  test("lost one time in three: 1,000 messages arrive once and in order", { timeout: 60_000 }, async (t) => {
    const count = 1000;
    const topic = fresh();
    const proxy = await LossyProxy.start(t, server.http);
    const poller = await Poller.begin(proxy.http);
    await poller.post(`["1","1","${topic}","phx_join",{}]`);
    const received = [];
    const receive = async () => {
      while (received.length <= count) {
        // A poll whose answer was lost is made again as it was.
        const answer = await poller.poll().catch(() => ({ messages: [] }));
        received.push(...answer.messages);
      }
    };
    const publish = async () => {
      while (received.length === 0) await new Promise(setImmediate);
      for (let n = 1; n <= count; n += 1) await broadcast(topic, { n });
    };
    await Promise.all([receive(), publish()]);
    assert.deepEqual(received, [reply("1", "1", topic), ...Array.from({ length: count }, (_, index) => news(topic, { n: index + 1 }))]);
    t.diagnostic(`${proxy.answered} answers, ${proxy.lost} of them lost`);
    assert.ok(proxy.lost >= 10, `only ${proxy.lost} answers were lost`);
  });
});

describe("what is posted", () => {
  const echoes = (topic, count) => Array.from({ length: count }, (_, n) => `["1","e${n}","${topic}","echo",{"n":${n}}]`);
  const echoed = (topic, count) => Array.from({ length: count }, (_, n) => reply("1", `e${n}`, topic, "ok", { n }));

  for (const count of [1, 100, 101, 1000]) {
    test(`${count} lines in one body are ${count} messages, in order`, TEST, async () => {
      const topic = fresh();
      const poller = await joined(topic);
      // Meanwhile the client polls, as every client does: a session takes no more than it is rid of.
      const [posted, messages] = await Promise.all([poller.post(...echoes(topic, count)), new Poller(server.http, poller.token).take(count)]);
      assert.deepEqual(posted, { http: 200, status: 200 });
      assert.deepEqual(messages, echoed(topic, count));
    });
  }

  for (const [what, type, end] of [
    ["ends with a newline", "application/x-ndjson", (lines) => `${lines.join("\n")}\n`],
    ["ends its lines as Windows does", "application/x-ndjson", (lines) => `${lines.join("\r\n")}\r\n`],
    ["has parameters in its type", "application/x-ndjson; charset=utf-8", (lines) => lines.join("\n")],
  ]) {
    test(`may be a body that ${what}`, TEST, async () => {
      const topic = fresh();
      const poller = await joined(topic);
      assert.deepEqual(await poller.postBody(end(echoes(topic, 2)), type), { http: 200, status: 200 });
      assert.deepEqual(await poller.take(2), echoed(topic, 2));
    });
  }

  test("may be nothing", TEST, async () => {
    const topic = fresh();
    const poller = await joined(topic);
    assert.deepEqual(await poller.postBody(""), { http: 200, status: 200 });
    assert.deepEqual(await poller.post(...echoes(topic, 1)), { http: 200, status: 200 });
    assert.deepEqual(await poller.take(1), echoed(topic, 1));
  });

  test("as another type is one message", TEST, async () => {
    const topic = fresh();
    const poller = await joined(topic);
    assert.deepEqual(await poller.postBody(echoes(topic, 1)[0], "application/json"), { http: 200, status: 200 });
    assert.deepEqual(await poller.take(1), echoed(topic, 1));
  });

  test("in base64 is binary: it goes up, to who can have it, and not down", TEST, async (t) => {
    const topic = fresh();
    const poller = await joined(topic);
    const witness = await Wire.open(t, server);
    await witness.exchange(`["9","9","${topic}","phx_join",{}]`);
    const push = (ref, event) =>
      Buffer.concat([
        Buffer.from([0, 1, ref.length, topic.length, event.length]),
        Buffer.from(`1${ref}${topic}${event}`),
        Buffer.from([0, 255]),
      ]).toString("base64");
    const sent = await poller.post(push("2", "shout"), push("3", "echo"), `["1","4","${topic}","shout",{"n":1}]`);
    assert.deepEqual(sent, { http: 200, status: 200 });
    assert.match(await witness.next(), /00 ff$/);
    assert.equal(await witness.next(), JSON.stringify([null, null, topic, "shout", { n: 1 }]));
    assert.deepEqual(await poller.take(2), [noBinary("1", "3", topic), JSON.stringify([null, null, topic, "shout", { n: 1 }])]);
  });

  for (const [what, line] of [
    ["no JSON", "["],
    ["no message", "[1,2]"],
    ["no base64", "{}"],
    ["no binary message", "AAAA"],
  ]) {
    test(`and is ${what} is a 400; what came before it is handled, and the session lives`, TEST, async () => {
      const topic = fresh();
      const poller = await joined(topic);
      const { http, status, reason } = await poller.post(...echoes(topic, 1), line);
      assert.deepEqual({ http, status }, { http: 400, status: 400 });
      assert.equal(typeof reason, "string");
      assert.deepEqual(await poller.take(1), echoed(topic, 1));
      assert.deepEqual(await poller.post(`["1","2","${topic}","ack",{}]`), { http: 200, status: 200 });
      assert.deepEqual(await poller.take(1), [reply("1", "2", topic)]);
    });
  }

  test("and is longer than 8 MB is refused before it is sent", TEST, async () => {
    const topic = fresh();
    const poller = await joined(topic);
    const asked = request(poller.address, { method: "POST", agent: false, headers: { ...NDJSON, "content-length": 8_000_001 } });
    asked.on("error", () => {});
    asked.flushHeaders();
    const [response] = await once(asked, "response");
    assert.equal(response.statusCode, 413);
    asked.destroy();
    assert.deepEqual(await poller.post(`["1","2","${topic}","ack",{}]`), { http: 200, status: 200 });
    assert.deepEqual(await poller.take(1), [reply("1", "2", topic)]);
  });
});

describe("requests and answers", () => {
  const json = "application/json; charset=utf-8";

  test("refused by connect, and a version that is not spoken, are a 403", TEST, async () => {
    for (const query of ["vsn=2.0.0&deny=1", "vsn=3.0.0", "vsn="]) {
      const { status, headers, body } = await exchange(pollAddress(server.http, query));
      assert.deepEqual({ status, type: headers.get("content-type"), body: JSON.parse(body) }, { status: 200, type: json, body: { status: 403 } });
    }
  });

  test("a preflight allows whatever is asked for", TEST, async () => {
    const { status, headers, body } = await exchange(pollAddress(server.http, "vsn=2.0.0"), {
      method: "OPTIONS",
      headers: { "access-control-request-headers": "x-phoenix-authtoken, x-phoenix-longpoll-token", "access-control-request-method": "GET" },
    });
    const allowed = ["headers", "methods"].map((what) => headers.get(`access-control-allow-${what}`));
    assert.deepEqual({ status, body, allowed, age: headers.get("access-control-max-age") }, {
      status: 200,
      body: "",
      allowed: ["x-phoenix-authtoken, x-phoenix-longpoll-token", "get, post, options"],
      age: "3600",
    });
  });

  for (const method of ["PUT", "HEAD", "DELETE", "PATCH"]) {
    test(`${method} is a 400 with nothing in it`, TEST, async () => {
      const poller = await joined(fresh());
      const { status, headers, body } = await exchange(poller.address, { method });
      assert.deepEqual({ status, body, origin: headers.get("access-control-allow-origin") }, { status: 400, body: "", origin: "*" });
    });
  }

  test("every answer may be read by any page, and is kept by no cache", TEST, async () => {
    const topic = fresh();
    const poller = await joined(topic);
    await broadcast(topic, {});
    const post = (body) => ({ method: "POST", headers: NDJSON, body });
    const nobody = pollAddress(server.http, "vsn=2.0.0");
    for (const [what, address, options, type] of [
      ["a new session", nobody, {}, json],
      ["messages", poller.address, {}, json],
      ["a post", poller.address, post(`["1","2","${topic}","ack",{}]`), json],
      ["a post to nobody", nobody, post("[]"), json],
      ["a bad post", poller.address, post("["), json],
      ["a refusal", pollAddress(server.http, "vsn=2.0.0&deny=1"), {}, json],
      ["a method", poller.address, { method: "PUT" }, null],
      ["a preflight", poller.address, { method: "OPTIONS" }, null],
    ]) {
      const { headers } = await exchange(address, options);
      const seen = ["access-control-allow-origin", "cache-control", "content-type"].map((name) => headers.get(name));
      assert.deepEqual(seen, ["*", "no-store", type], what);
    }
  });

  test("more polls than a client has are told to come later; one of the others is served", TEST, async () => {
    const topic = fresh();
    const poller = await joined(topic);
    const polls = await waitingPolls(poller);
    await broadcast(topic, { n: 1 });
    const { body } = await Promise.race(polls);
    assert.deepEqual(JSON.parse(body).messages, [news(topic, { n: 1 })]);
    for (const poll of polls) poll.catch(() => {});
  });

  test("without messages: the window passes, and then it is a 204", { timeout: WINDOW_MS + 10_000 }, async () => {
    const ms = WINDOW_MS + 5000;
    const nothing = (token) => ({ status: 204, messages: [], token });
    const idle = await joined(fresh());
    const overtaken = await joined(fresh());
    const topic = fresh();
    const stale = await joined(topic);
    const old = new Poller(server.http, stale.token);
    await broadcast(topic, { n: 1 });
    await stale.poll();
    await broadcast(topic, { n: 2 });
    assert.deepEqual((await stale.poll()).messages, [news(topic, { n: 2 })]);
    const tokens = [idle, overtaken, overtaken, old].map(({ token }) => token);
    const before = performance.now();
    // Of two polls the later is the one that messages go to; an old token finds nothing any more.
    const answers = await Promise.all([idle.poll({ ms }), overtaken.pollAndLose({ ms }), overtaken.pollAndLose({ ms }), old.poll({ ms })]);
    const took = performance.now() - before;
    assert.deepEqual(answers, tokens.map(nothing));
    assert.ok(took > WINDOW_MS - 500 && took < WINDOW_MS + 2500, `it took ${Math.round(took)} ms`);
    assert.equal((await stale.post(`["1","2","${topic}","ack",{}]`)).status, 200);
    assert.deepEqual(await stale.take(1), [reply("1", "2", topic)]);
  });
});

describe("a drain", () => {
  test("ends polls with a 500, takes no session, and lets what waits be fetched", TEST, async (t) => {
    const own = await Server.start();
    t.after(() => own.kill());
    const waiting = await joined(fresh(), own.http);
    const topic = fresh();
    const away = await joined(topic, own.http);
    await own.post("/api/broadcast", { topic, event: "news", payload: { n: 1 } });
    const polls = await waitingPolls(waiting);
    const ended = own.stop();
    assert.deepEqual(await bodies(polls), ENDED);
    const { status, headers, body } = await exchange(pollAddress(own.http, "vsn=2.0.0"));
    assert.deepEqual(
      { status, again: headers.has("retry-after"), body: JSON.parse(body) },
      { status: 503, again: true, body: { status: 500 } },
    );
    assert.deepEqual((await away.poll()).messages, [news(topic, { n: 1 })]);
    const last = await exchange(away.address).then(({ body }) => JSON.parse(body), () => ({ status: 500 }));
    assert.deepEqual(last, { status: 500 });
    assert.deepEqual(await ended, { code: 0, signal: null });
  });
});
