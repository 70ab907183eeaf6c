// Restarts under load: many clients of both transports, all joined and talking, while one server follows another.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CLIENTS, fresh } from "./lib/clients.mjs";
import { Forwarder } from "./lib/proxies.mjs";
import { Server } from "./lib/server.mjs";
import { within } from "./lib/wait.mjs";

const COUNT = Number(process.env.CLIENTS ?? 60);
const ROUNDS = Number(process.env.ROUNDS ?? 2);
/** How long a restart may take until everybody is back; a restart of hundreds is held up by the machine, not by a pause. */
const BACK_MS = 10_000 + 40 * COUNT;
const ROOM_MEMBERS = 10;
/** Of each member; together they shout as often however many they are. */
const SHOUT_EVERY_MS = 4 * COUNT;

const find = (line, way) => CLIENTS.find((client) => client.label.startsWith(`phoenix.js ${line}`) && client.label.includes(way));
/** Half over WebSocket and half polling, one in ten of an older line. */
const MIX = [
  [find("1.7", "WebSocket"), 1],
  [find("1.8", "WebSocket"), 9],
  [find("1.7", "polling"), 1],
  [find("1.8", "polling"), 9],
].flatMap(([client, parts]) => Array(parts).fill(client));

/** A client as applications have it, with the pace of the official one, and what it went through. */
class Member {
  /** By code, since they were last looked at. */
  closes = new Map();
  joins = 0;
  heard = 0;
  #changed = () => {};

  constructor(client, endPoint, room, index) {
    this.client = client;
    this.socket = new client.phoenix.Socket(endPoint, { transport: client.transport, params: { user_id: `member-${index}` } });
    this.socket.onClose((event) => {
      const code = String(event?.code);
      this.closes.set(code, (this.closes.get(code) ?? 0) + 1);
    });
    this.channel = this.socket.channel(room);
    this.channel.on("shout", () => {
      this.heard += 1;
      this.#changed();
    });
    this.channel.join().receive("ok", () => {
      this.joins += 1;
      this.#changed();
    });
    this.socket.connect();
    const shout = () => {
      this.timer = setTimeout(shout, SHOUT_EVERY_MS);
      if (this.channel.canPush()) this.channel.push("shout_ack", { from: index });
    };
    this.timer = setTimeout(shout, (SHOUT_EVERY_MS * index) / COUNT);
  }

  /** Waits until it has joined so often, and then for something that was said. */
  async back(joins) {
    await this.#until(() => this.joins >= joins);
    const heard = this.heard;
    await this.#until(() => this.heard > heard);
  }

  leave() {
    clearTimeout(this.timer);
    this.socket.disconnect();
  }

  async #until(isSo) {
    while (!isSo()) {
      await new Promise((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}

/** Adds up the closes since the last look, as `transport: code × count`. */
function takeCloses(members) {
  const sums = {};
  for (const { client, closes } of members) {
    for (const [code, count] of closes) {
      const key = `${client.binaryComesDown ? "WebSocket" : "polling"} ${code}`;
      sums[key] = (sums[key] ?? 0) + count;
    }
    closes.clear();
  }
  return sums;
}

/** Waits until each has joined so often as its entry says. */
async function allBack(members, joins) {
  const everybody = Promise.all(members.map((member, index) => member.back(joins[index])));
  await within(BACK_MS, "the return of everybody", everybody).catch((error) => {
    const late = members.filter((member, index) => member.joins < joins[index]);
    const states = late.map(({ client, socket, channel }) => `${client.label}: ${socket.connectionState()}, ${channel.state}`);
    throw new Error(`${error.message}; ${late.length} have not joined:\n${states.slice(0, 10).join("\n")}`);
  });
}

/** How one server follows another: in its place, with nobody there for a moment, or beside it, as in a rolling deployment. */
const SUCCESSIONS = {
  "in its place": async (server) => {
    const ended = await server.stop();
    await server.restart();
    return { ended, next: server };
  },
  "beside it": async (server, forwarder) => {
    const next = await Server.start();
    forwarder.target = next.port;
    return { ended: await server.stop(), next };
  },
};

for (const [name, succeed] of Object.entries(SUCCESSIONS)) {
  test(`${COUNT} clients survive ${ROUNDS} restarts, the next server ${name}`, { timeout: (ROUNDS + 1) * (BACK_MS + 40_000) }, async (t) => {
    let server = await Server.start();
    t.after(() => server.kill());
    const forwarder = await Forwarder.start(t, server.port);
    const rooms = Array.from({ length: Math.ceil(COUNT / ROOM_MEMBERS) }, () => fresh());
    const members = Array.from(
      { length: COUNT },
      (_, index) => new Member(MIX[index % MIX.length], forwarder.endPoint, rooms[index % rooms.length], index),
    );
    t.after(() => {
      for (const member of members) member.leave();
    });
    await allBack(members, members.map(() => 1));
    assert.deepEqual(takeCloses(members), {});

    for (let round = 1; round <= ROUNDS; round += 1) {
      const joins = members.map((member) => member.joins + 1);
      const before = performance.now();
      const succeeded = succeed(server, forwarder).then((outcome) => {
        server = outcome.next;
        return { ...outcome, took: performance.now() - before };
      });
      await allBack(members, joins);
      const took = performance.now() - before;
      const { ended, took: stopped } = await succeeded;
      const closes = takeCloses(members);
      t.diagnostic(`round ${round}: server ${Math.round(stopped)} ms, all back ${Math.round(took)} ms, closes ${JSON.stringify(closes)}`);
      assert.deepEqual(ended, { code: 0, signal: null });
      assert.deepEqual(Object.keys(closes).filter((key) => key.endsWith(" 1000")), [], "a close that means to stay away");
    }
  });
}
