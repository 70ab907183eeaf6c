// The exact frames of the protocol, on a bare WebSocket: what the official client hides, drops or repairs.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Server } from "./lib/server.mjs";
import { HANDSHAKE, Wire, get, unhex } from "./lib/wire.mjs";

const TEST = { timeout: 15_000 };

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

let topics = 0;
/** A topic of its own, with nothing in it that JSON would write in two ways. */
const fresh = () => `room:raw${(topics += 1)}`;

async function joined(t, topic, ref = "1") {
  const wire = await Wire.open(t, server);
  assert.equal(await wire.exchange(`["${ref}","${ref}","${topic}","phx_join",{}]`), `["${ref}","${ref}","${topic}","phx_reply",{"status":"ok","response":{}}]`);
  return wire;
}

describe("handshake", () => {
  test("a good one is answered 101 with the accept key", TEST, async () => {
    const { status, headers } = await get(server, "vsn=2.0.0", HANDSHAKE);
    assert.equal(status, 101);
    assert.equal(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert.equal(headers.upgrade.toLowerCase(), "websocket");
    assert.equal(headers["sec-websocket-protocol"], undefined);
    assert.equal(headers["sec-websocket-extensions"], undefined);
  });

  test("tokens in the headers are found in lists and in any case", TEST, async () => {
    const { status } = await get(server, "vsn=2.0.0", { ...HANDSHAKE, connection: "keep-alive, UPGRADE", upgrade: "WebSocket" });
    assert.equal(status, 101);
  });

  test("a plain GET is a 400 that names the connection header", TEST, async () => {
    const { status, body } = await get(server, "vsn=2.0.0", { connection: "close" });
    assert.equal(status, 400);
    assert.match(body, /connection/i);
  });

  for (const header of ["upgrade", "sec-websocket-key", "sec-websocket-version"]) {
    test(`without ${header} it is a 400 that names it`, TEST, async () => {
      const headers = { ...HANDSHAKE };
      delete headers[header];
      const { status, body } = await get(server, "vsn=2.0.0", headers);
      assert.equal(status, 400);
      assert.match(body, new RegExp(header, "i"));
    });
  }

  test("another WebSocket version is a 400", TEST, async () => {
    const { status, body } = await get(server, "vsn=2.0.0", { ...HANDSHAKE, "sec-websocket-version": "8" });
    assert.equal(status, 400);
    assert.match(body, /sec-websocket-version/i);
  });

  test("another method is a 400 with nothing in it", TEST, async () => {
    const { status, body } = await get(server, "vsn=2.0.0", { connection: "close", "content-length": "0" }, "POST");
    assert.deepEqual({ status, body }, { status: 400, body: "" });
  });

  test("refused by connect is a 403 with nothing in it", TEST, async () => {
    const { status, body } = await get(server, "deny=1&vsn=2.0.0", HANDSHAKE);
    assert.deepEqual({ status, body }, { status: 403, body: "" });
  });

  for (const vsn of ["1.1.0", "2.1.0", "3.0.0", "123.1.1", "2", "2.0", "", "abc", "2.0.0-rc.1"]) {
    test(`vsn=${vsn} is refused with a 403`, TEST, async () => {
      const { status, body } = await get(server, `vsn=${vsn}`, HANDSHAKE);
      assert.deepEqual({ status, body }, { status: 403, body: "" });
    });
  }

  test("a vsn that is no string is refused with a 403", TEST, async () => {
    assert.equal((await get(server, "vsn[]=2.0.0", HANDSHAKE)).status, 403);
  });

  for (const vsn of ["2.0.0", "2.0.1", "2.0.0%2Bbuild"]) {
    test(`vsn=${vsn} speaks V2`, TEST, async (t) => {
      const wire = await Wire.open(t, server, `vsn=${vsn}`);
      assert.equal(await wire.exchange('[null,"1","phoenix","heartbeat",{}]'), '[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]');
    });
  }

  for (const query of ["", "vsn=1.0.0", "vsn=1.0.9"]) {
    test(`?${query} speaks V1`, TEST, async (t) => {
      const wire = await Wire.open(t, server, query);
      assert.equal(
        await wire.exchange('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}'),
        '{"topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}',
      );
    });
  }

  for (const query of ["a=1&&b=2&vsn=2.0.0", "&vsn=2.0.0&", "flag&vsn=2.0.0", "n%5Bx%5D=true&l%5B0%5D=1&vsn=2.0.0"]) {
    test(`?${query} connects`, TEST, async (t) => {
      const wire = await Wire.open(t, server, query);
      assert.equal(await wire.exchange('[null,"1","phoenix","heartbeat",{}]'), '[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]');
    });
  }

  test("a parameter that is no UTF-8 is a 400", TEST, async () => {
    assert.equal((await get(server, "user_id=%ff&vsn=2.0.0", HANDSHAKE)).status, 400);
  });

  test("an offer to compress does no harm", TEST, async (t) => {
    const wire = await Wire.open(t, server, "vsn=2.0.0", { perMessageDeflate: true });
    assert.equal(await wire.exchange('[null,"1","phoenix","heartbeat",{}]'), '[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]');
  });
});

describe("V2: topics that nobody joined", () => {
  const unmatched = (ref, topic) => `[null,${ref},${topic},"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]`;

  for (const [sent, answer] of [
    ['[null,"1","phoenix","heartbeat",{}]', '[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]'],
    ['["9","2","phoenix","heartbeat",{"a":1}]', '[null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]'],
    ['[null,3,"phoenix","heartbeat",{}]', '[null,3,"phoenix","phx_reply",{"status":"ok","response":{}}]'],
    ['[null,"4","phoenix","other",{}]', unmatched('"4"', '"phoenix"')],
    ['[null,"6","phoenix","phx_leave",{}]', '[null,"6","phoenix","phx_reply",{"status":"ok","response":{}}]'],
    ['["5","6","room:a","phx_leave",{}]', '["5","6","room:a","phx_reply",{"status":"ok","response":{}}]'],
    ['["1","4","room:a","echo",{}]', unmatched('"4"', '"room:a"')],
    ['["4","4","nomatch","phx_join",{}]', unmatched('"4"', '"nomatch"')],
    ['["1","1",5,"phx_join",{}]', unmatched('"1"', "5")],
    ['[null,"7","phoenix","heartbeat",{},"more","elements"]', '[null,"7","phoenix","phx_reply",{"status":"ok","response":{}}]'],
  ]) {
    test(sent, TEST, async (t) => {
      const wire = await Wire.open(t, server);
      assert.equal(await wire.exchange(sent), answer);
    });
  }
});

describe("V2: join", () => {
  test("ok, with and without a response", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    assert.equal(await wire.exchange('["1","1","room:a","phx_join",{}]'), '["1","1","room:a","phx_reply",{"status":"ok","response":{}}]');
    assert.equal(
      await wire.exchange('["2","2","room:b","phx_join",{"reply":{"x":1}}]'),
      '["2","2","room:b","phx_reply",{"status":"ok","response":{"x":1}}]',
    );
  });

  test("refused and crashed", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    assert.equal(
      await wire.exchange('["3","3","room:denied","phx_join",{}]'),
      '["3","3","room:denied","phx_reply",{"status":"error","response":{"reason":"unauthorized"}}]',
    );
    assert.equal(
      await wire.exchange('["4","4","room:crash","phx_join",{}]'),
      '["4","4","room:crash","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]',
    );
    assert.equal(
      await wire.exchange('["4","5","room:crash","ack",{}]'),
      '[null,"5","room:crash","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]',
    );
  });

  test("the 101st is refused with its own refs", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    for (let n = 1; n <= 100; n += 1) wire.send(`["${n}","${n}","room:many${n}","phx_join",{}]`);
    // Joins of different topics may be answered in any order.
    const answers = await wire.take(100);
    assert.equal(new Set(answers).size, 100);
    assert.equal(
      await wire.exchange('["101","101","room:many101","phx_join",{}]'),
      '["101","101","room:many101","phx_reply",{"status":"error","response":{"reason":"too many channels joined"}}]',
    );
    assert.equal(await wire.exchange('["7","x","room:many7","phx_leave",{}]', 2).then(([reply]) => reply), '["7","x","room:many7","phx_reply",{"status":"ok","response":{}}]');
    assert.equal(
      await wire.exchange('["102","102","room:many101","phx_join",{}]'),
      '["102","102","room:many101","phx_reply",{"status":"ok","response":{}}]',
    );
  });

  test("without a join_ref the channel uses the ref, the connection keeps null", TEST, async (t) => {
    const topic = fresh();
    const wire = await Wire.open(t, server);
    assert.equal(await wire.exchange(`[null,"1","${topic}","phx_join",{}]`), `[null,"1","${topic}","phx_reply",{"status":"ok","response":{}}]`);
    assert.equal(await wire.exchange(`[null,"2","${topic}","ack",{}]`), `["1","2","${topic}","phx_reply",{"status":"ok","response":{}}]`);
    assert.deepEqual(await wire.exchange(`[null,"6","${topic}","phx_leave",{}]`, 2), [
      `["1","6","${topic}","phx_reply",{"status":"ok","response":{}}]`,
      `[null,null,"${topic}","phx_close",{}]`,
    ]);
  });

  test("a second one on the topic: the new reply, then the close of the old channel", TEST, async (t) => {
    const wire = await joined(t, "room:a");
    assert.deepEqual(await wire.exchange('["2","2","room:a","phx_join",{}]', 2), [
      '["2","2","room:a","phx_reply",{"status":"ok","response":{}}]',
      '["1","1","room:a","phx_close",{}]',
    ]);
    assert.equal(await wire.exchange('["2","3","room:a","ack",{}]'), '["2","3","room:a","phx_reply",{"status":"ok","response":{}}]');
  });

  test("a second one while the first channel waits: the waiting handler is dropped", TEST, async (t) => {
    const topic = fresh();
    const wire = await joined(t, topic);
    wire.send(`["1","2","${topic}","slow",{"ms":400}]`);
    assert.deepEqual(await wire.exchange(`["3","3","${topic}","phx_join",{}]`, 2), [
      `["3","3","${topic}","phx_reply",{"status":"ok","response":{}}]`,
      `["1","1","${topic}","phx_close",{}]`,
    ]);
    assert.equal(await wire.exchange(`["3","4","${topic}","slow",{"ms":500}]`), `["3","4","${topic}","phx_reply",{"status":"ok","response":{"ms":500}}]`);
  });
});

describe("V2: on a joined topic", () => {
  test("replies, pushes and broadcasts carry the refs they must", TEST, async (t) => {
    const topic = fresh();
    const wire = await joined(t, topic);
    assert.equal(await wire.exchange(`["1","2","${topic}","echo",{"a":[1,"x"]}]`), `["1","2","${topic}","phx_reply",{"status":"ok","response":{"a":[1,"x"]}}]`);
    assert.equal(await wire.exchange(`["1","3","${topic}","echo_error",{"b":2}]`), `["1","3","${topic}","phx_reply",{"status":"error","response":{"b":2}}]`);
    assert.equal(await wire.exchange(`["1","4","${topic}","push_me",{"c":3}]`), `["1",null,"${topic}","pushed",{"c":3}]`);
    assert.equal(await wire.exchange(`["1","5","${topic}","shout",{"d":4}]`), `[null,null,"${topic}","shout",{"d":4}]`);
    assert.deepEqual(await wire.exchange(`["1","6","${topic}","shout_ack",{"e":5}]`, 2), [
      `[null,null,"${topic}","shout",{"e":5}]`,
      `["1","6","${topic}","phx_reply",{"status":"ok","response":{}}]`,
    ]);
  });

  test("a null join_ref is whatever is joined", TEST, async (t) => {
    const topic = fresh();
    const wire = await joined(t, topic);
    assert.equal(await wire.exchange(`[null,"2","${topic}","ack",{}]`), `["1","2","${topic}","phx_reply",{"status":"ok","response":{}}]`);
    assert.deepEqual(await wire.exchange(`[null,"3","${topic}","phx_leave",{}]`, 2), [
      `["1","3","${topic}","phx_reply",{"status":"ok","response":{}}]`,
      `["1","1","${topic}","phx_close",{}]`,
    ]);
  });

  test("a stale join_ref is dropped in silence", TEST, async (t) => {
    const topic = fresh();
    const wire = await joined(t, topic);
    wire.send(`["9","2","${topic}","ack",{}]`, `["9","3","${topic}","phx_leave",{}]`, `[1,"4","${topic}","ack",{}]`, `["","5","${topic}","ack",{}]`);
    assert.equal(await wire.exchange(`["1","6","${topic}","ack",{}]`), `["1","6","${topic}","phx_reply",{"status":"ok","response":{}}]`);
  });

  test("refs of any JSON type come back as they were", TEST, async (t) => {
    const topic = fresh();
    const wire = await Wire.open(t, server);
    assert.equal(await wire.exchange(`[7,7,"${topic}","phx_join",{}]`), `[7,7,"${topic}","phx_reply",{"status":"ok","response":{}}]`);
    assert.equal(await wire.exchange(`[7,8,"${topic}","ack",{}]`), `[7,8,"${topic}","phx_reply",{"status":"ok","response":{}}]`);
    assert.equal(await wire.exchange(`[7,null,"${topic}","ack",{}]`), `[7,null,"${topic}","phx_reply",{"status":"ok","response":{}}]`);
  });

  test("leave: the reply, then the close, then nothing", TEST, async (t) => {
    const wire = await joined(t, "room:a");
    assert.deepEqual(await wire.exchange('["1","3","room:a","phx_leave",{}]', 2), [
      '["1","3","room:a","phx_reply",{"status":"ok","response":{}}]',
      '["1","1","room:a","phx_close",{}]',
    ]);
    assert.equal(
      await wire.exchange('["1","4","room:a","ack",{}]'),
      '[null,"4","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]',
    );
  });

  test("stop: phx_close, after the reply if there is one", TEST, async (t) => {
    for (const reason of ["normal", "shutdown"]) {
      const topic = fresh();
      const wire = await joined(t, topic);
      assert.equal(await wire.exchange(`["1","2","${topic}","stop",{"reason":"${reason}"}]`), `["1","1","${topic}","phx_close",{}]`);
    }
    const topic = fresh();
    const wire = await joined(t, topic);
    assert.deepEqual(await wire.exchange(`["1","2","${topic}","stop_reply",{}]`, 2), [
      `["1","2","${topic}","phx_reply",{"status":"ok","response":{"bye":true}}]`,
      `["1","1","${topic}","phx_close",{}]`,
    ]);
  });

  test("crash and stop with an error: phx_error, and the connection lives on", TEST, async (t) => {
    for (const push of ['"crash",{}', '"stop",{"reason":"error"}']) {
      const topic = fresh();
      const wire = await joined(t, topic);
      assert.equal(await wire.exchange(`["1","2","${topic}",${push}]`), `["1","1","${topic}","phx_error",{"reason":"channel_crash"}]`);
      assert.equal(
        await wire.exchange(`["1","3","${topic}","ack",{}]`),
        `[null,"3","${topic}","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]`,
      );
      assert.equal(await wire.exchange(`["4","4","${topic}","phx_join",{}]`), `["4","4","${topic}","phx_reply",{"status":"ok","response":{}}]`);
    }
  });

  test("a heartbeat is answered while a handler waits", TEST, async (t) => {
    const topic = fresh();
    const wire = await joined(t, topic);
    wire.send(`["1","2","${topic}","slow",{"ms":300}]`);
    assert.equal(await wire.exchange('[null,"3","phoenix","heartbeat",{}]'), '[null,"3","phoenix","phx_reply",{"status":"ok","response":{}}]');
    assert.equal(await wire.next("the reply of slow"), `["1","2","${topic}","phx_reply",{"status":"ok","response":{"ms":300}}]`);
  });
});

describe("V2: binary", () => {
  // join_ref "3" and topic room:a, as in the layout's examples.
  const joinedAsThree = (t) => joined(t, "room:a", "3");
  const ROOM = "72 6f 6f 6d 3a 61";

  test("push in, reply out", TEST, async (t) => {
    const wire = await joinedAsThree(t);
    const sent = unhex(`00 01 01 06 04  33 35 ${ROOM} 65 63 68 6f  01 02 ff`);
    assert.equal(await wire.exchange(sent), `01 01 01 06 02 33 35 ${ROOM} 6f 6b 01 02 ff`);
  });

  test("push in, error reply out", TEST, async (t) => {
    const wire = await joinedAsThree(t);
    const sent = unhex(`00 01 01 06 0a  33 35 ${ROOM} 65 63 68 6f 5f 65 72 72 6f 72  ff`);
    assert.equal(await wire.exchange(sent), `01 01 01 06 05 33 35 ${ROOM} 65 72 72 6f 72 ff`);
  });

  test("push out has no ref and three size bytes", TEST, async (t) => {
    const wire = await joinedAsThree(t);
    const sent = unhex(`00 01 01 06 07  33 35 ${ROOM} 70 75 73 68 5f 6d 65  44 41 54 41`);
    assert.equal(await wire.exchange(sent), `00 01 06 06 33 ${ROOM} 70 75 73 68 65 64 44 41 54 41`);
  });

  test("broadcast out has no refs at all", TEST, async (t) => {
    const wire = await joinedAsThree(t);
    const sent = unhex(`00 01 01 06 05  33 35 ${ROOM} 73 68 6f 75 74  44 41 54 41`);
    assert.equal(await wire.exchange(sent), `02 06 05 ${ROOM} 73 68 6f 75 74 44 41 54 41`);
  });

  test("shout_ack: a binary broadcast, then a text reply", TEST, async (t) => {
    const wire = await joinedAsThree(t);
    const sent = unhex(`00 01 01 06 09  33 35 ${ROOM} 73 68 6f 75 74 5f 61 63 6b  01`);
    assert.deepEqual(await wire.exchange(sent, 2), [
      `02 06 05 ${ROOM} 73 68 6f 75 74 01`,
      '["3","5","room:a","phx_reply",{"status":"ok","response":{}}]',
    ]);
  });

  test("an empty join_ref is a string, so it is stale", TEST, async (t) => {
    const wire = await joinedAsThree(t);
    wire.send(unhex(`00 00 01 06 04  35 ${ROOM} 65 63 68 6f  01`));
    assert.equal(await wire.exchange('["3","6","room:a","ack",{}]'), '["3","6","room:a","phx_reply",{"status":"ok","response":{}}]');
  });

  for (const [what, frame] of [
    ["an empty frame", ""],
    ["a kind that clients do not send", `01 01 01 06 04 33 35 ${ROOM} 65 63 68 6f`],
    ["an unknown kind", "09 00 00 00 00"],
    ["a header cut short", "00 01 01"],
    ["sizes that run past the end", `00 01 01 06 ff 33 35 ${ROOM} 65 63 68 6f`],
  ]) {
    test(`${what} closes with 1011`, TEST, async (t) => {
      const wire = await Wire.open(t, server);
      wire.send(unhex(frame));
      assert.equal((await wire.closed()).code, 1011);
    });
  }
});

describe("V1", () => {
  const reply = (topic, ref, status, response) => `{"topic":"${topic}","event":"phx_reply","payload":{"status":"${status}","response":${response}},"ref":${ref}}`;
  const message = (topic, event, ref, payload = "{}") => `{"topic":"${topic}","event":"${event}","payload":${payload},"ref":${ref}}`;

  test("join, push, reply, broadcast and leave, without a join_ref anywhere", TEST, async (t) => {
    const topic = fresh();
    const wire = await Wire.open(t, server, "vsn=1.0.0");
    assert.equal(await wire.exchange(message(topic, "phx_join", '"1"')), reply(topic, '"1"', "ok", "{}"));
    assert.equal(await wire.exchange(message(topic, "echo", '"2"', '{"a":1}')), reply(topic, '"2"', "ok", '{"a":1}'));
    assert.equal(await wire.exchange(message(topic, "push_me", '"3"', '{"b":2}')), message(topic, "pushed", "null", '{"b":2}'));
    assert.equal(await wire.exchange(message(topic, "shout", '"4"', '{"c":3}')), message(topic, "shout", "null", '{"c":3}'));
    assert.deepEqual(await wire.exchange(message(topic, "phx_leave", '"5"'), 2), [
      reply(topic, '"5"', "ok", "{}"),
      message(topic, "phx_close", "null"),
    ]);
    assert.equal(await wire.exchange(message(topic, "ack", '"6"')), reply(topic, '"6"', "error", '{"reason":"unmatched topic"}'));
  });

  test("a join_ref that is given shows as the ref of phx_close and phx_error", TEST, async (t) => {
    const topic = fresh();
    const wire = await Wire.open(t, server, "vsn=1.0.0");
    const join = `{"topic":"${topic}","event":"phx_join","payload":{},"ref":"1","join_ref":"1"}`;
    assert.equal(await wire.exchange(join), reply(topic, '"1"', "ok", "{}"));
    assert.equal(await wire.exchange(message(topic, "crash", '"2"')), message(topic, "phx_error", '"1"', '{"reason":"channel_crash"}'));
  });

  test("refused joins", TEST, async (t) => {
    const wire = await Wire.open(t, server, "vsn=1.0.0");
    assert.equal(await wire.exchange(message("room:denied", "phx_join", '"1"')), reply("room:denied", '"1"', "error", '{"reason":"unauthorized"}'));
    assert.equal(await wire.exchange(message("nomatch", "phx_join", '"2"')), reply("nomatch", '"2"', "error", '{"reason":"unmatched topic"}'));
  });

  test("JSON in a binary frame is understood", TEST, async (t) => {
    const wire = await Wire.open(t, server, "vsn=1.0.0");
    assert.equal(await wire.exchange(Buffer.from(message("phoenix", "heartbeat", '"1"'))), reply("phoenix", '"1"', "ok", "{}"));
  });

  test("V1 and V2 clients share a topic", TEST, async (t) => {
    const topic = fresh();
    const two = await joined(t, topic);
    const one = await Wire.open(t, server, "vsn=1.0.0");
    assert.equal(await one.exchange(message(topic, "phx_join", '"1"')), reply(topic, '"1"', "ok", "{}"));
    two.send(`["1","2","${topic}","shout",{"n":1}]`);
    assert.equal(await one.next(), message(topic, "shout", "null", '{"n":1}'));
    assert.equal(await two.next(), `[null,null,"${topic}","shout",{"n":1}]`);
  });

  for (const frame of ['["1","1","room:a","phx_join",{}]', '{"topic":"room:a","event":"phx_join","payload":{}}', "7"]) {
    test(`${frame} closes with 1011`, TEST, async (t) => {
      const wire = await Wire.open(t, server, "vsn=1.0.0");
      wire.send(frame);
      assert.equal((await wire.closed()).code, 1011);
    });
  }
});

describe("frames", () => {
  for (const [what, frame] of [
    ["JSON that is none", "{"],
    ["an empty text", ""],
    ["another JSON type", "{}"],
    ["fewer than five elements", '[null,"1","phoenix","heartbeat"]'],
  ]) {
    test(`${what} closes with 1011`, TEST, async (t) => {
      const wire = await Wire.open(t, server);
      wire.send(frame);
      assert.deepEqual(await wire.closed(), { code: 1011, reason: "" });
    });
  }

  test("text that is not UTF-8 closes with 1007", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    wire.socket.send(Buffer.from([0x22, 0xc3, 0x28, 0x22]), { binary: false });
    assert.equal((await wire.closed()).code, 1007);
  });

  test("a frame without a mask closes with 1002", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    wire.socket.send('[null,"1","phoenix","heartbeat",{}]', { mask: false });
    assert.equal((await wire.closed()).code, 1002);
  });

  test("a continuation of nothing closes with 1002", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    wire.socket._socket.write(unhex("80 80 00 00 00 00"));
    assert.equal((await wire.closed()).code, 1002);
  });

  test("a reserved bit without an extension closes with 1002", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    wire.socket._socket.write(unhex("c1 80 00 00 00 00"));
    assert.equal((await wire.closed()).code, 1002);
  });

  test("a reserved opcode closes with 1002", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    wire.socket._socket.write(unhex("83 80 00 00 00 00"));
    assert.equal((await wire.closed()).code, 1002);
  });

  test("a message in fragments with a ping between them", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    const ponged = new Promise((resolve) => wire.socket.once("pong", (data) => resolve(data.toString())));
    wire.socket.send('[null,"1","phoe', { fin: false });
    wire.socket.ping("between");
    wire.socket.send('nix","heart', { fin: false });
    assert.equal(await ponged, "between");
    wire.socket.send('beat",{}]', { fin: true });
    assert.equal(await wire.next(), '[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]');
  });

  test("a character cut in two by fragments is whole again", TEST, async (t) => {
    const topic = fresh();
    const wire = await joined(t, topic);
    const frame = Buffer.from(`["1","2","${topic}","echo",{"x":"é👋"}]`);
    const cut = frame.indexOf(0xc3) + 1;
    wire.socket.send(frame.subarray(0, cut), { binary: false, fin: false });
    wire.socket.send(frame.subarray(cut), { binary: false, fin: true });
    assert.equal(await wire.next(), `["1","2","${topic}","phx_reply",{"status":"ok","response":{"x":"é👋"}}]`);
  });

  test("a ping is answered with its payload, an empty one too", TEST, async (t) => {
    const wire = await Wire.open(t, server);
    for (const payload of ["", "payload", "x".repeat(125)]) {
      const ponged = new Promise((resolve) => wire.socket.once("pong", (data) => resolve(data.toString())));
      wire.socket.ping(payload);
      assert.equal(await ponged, payload);
    }
  });

  for (const code of [1000, 1001, 3001, 4999]) {
    test(`close ${code} is echoed`, TEST, async (t) => {
      const wire = await Wire.open(t, server);
      wire.socket.close(code);
      assert.equal((await wire.closed()).code, code);
    });
  }

  test("a message above the limit closes with 1009", TEST, async (t) => {
    const topic = fresh();
    const wire = await joined(t, topic);
    wire.send(`["1","2","${topic}","silent",{"x":"${"x".repeat(2 * 1024 * 1024)}"}]`);
    assert.equal((await wire.closed()).code, 1009);
  });
});

describe("many messages", () => {
  test("sent in one go are answered in order", TEST, async (t) => {
    const topic = fresh();
    const wire = await joined(t, topic);
    const count = 2000;
    for (let n = 0; n < count; n += 1) wire.send(`["1","${n}","${topic}","echo",{"n":${n}}]`);
    for (let n = 0; n < count; n += 1) {
      assert.equal(await wire.next(), `["1","${n}","${topic}","phx_reply",{"status":"ok","response":{"n":${n}}}]`);
    }
  });

  test("broadcasts reach all subscribers in the order of their sender", TEST, async (t) => {
    const topic = fresh();
    const wires = await Promise.all(Array.from({ length: 20 }, () => joined(t, topic)));
    const count = 100;
    for (let n = 0; n < count; n += 1) wires[0].send(`["1",null,"${topic}","shout",{"n":${n}}]`);
    const expected = Array.from({ length: count }, (_, n) => `[null,null,"${topic}","shout",{"n":${n}}]`);
    for (const wire of wires) assert.deepEqual(await wire.take(count), expected);
  });
});

describe("the end", () => {
  test("disconnect by id closes every socket of the id with 1001 and sends nothing before", TEST, async (t) => {
    const topic = fresh();
    const wires = await Promise.all([Wire.open(t, server, "user_id=raw&vsn=2.0.0"), Wire.open(t, server, "user_id=raw&vsn=1.0.0")]);
    assert.equal(await wires[0].exchange(`["1","1","${topic}","phx_join",{}]`), `["1","1","${topic}","phx_reply",{"status":"ok","response":{}}]`);
    assert.equal((await server.post("/api/disconnect", { id: "user_socket:raw" })).status, 204);
    for (const wire of wires) {
      assert.deepEqual(await wire.closed(), { code: 1001, reason: "" });
      assert.deepEqual(wire.rest(), []);
    }
  });

  test("SIGTERM closes joined and idle sockets with 1012 and ends the process with 0", TEST, async (t) => {
    const own = await Server.start();
    t.after(() => own.stop());
    const idle = await Wire.open(t, own);
    const busy = await Wire.open(t, own);
    assert.equal(await busy.exchange('["1","1","room:a","phx_join",{}]'), '["1","1","room:a","phx_reply",{"status":"ok","response":{}}]');
    const ended = own.stop();
    assert.deepEqual(await busy.closed(), { code: 1012, reason: "" });
    assert.deepEqual(await idle.closed(), { code: 1012, reason: "" });
    assert.deepEqual(await ended, { code: 0, signal: null });
  });
});
