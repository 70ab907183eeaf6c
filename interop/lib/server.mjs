// Starts and ends the playground server.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { within } from "./wait.mjs";

const START_MS = 10_000;
const STOP_MS = 15_000;
/** How much of a server's log is kept for a failure's message. */
const LOG_LINES_MAX = 40;

const BUILDS = ["release", "debug"].map((profile) => fileURLToPath(new URL(`../../target/${profile}/playground`, import.meta.url)));

/** `PLAYGROUND_BIN`, or the newest habit: the release build, then the debug build. */
export function binary() {
  const path = process.env.PLAYGROUND_BIN ?? BUILDS.find((build) => existsSync(build));
  if (!path) throw new Error("no playground server: run `cargo build --release -p playground`, or set PLAYGROUND_BIN");
  return path;
}

/** The server keeps its port over `restart`, as a deployment does. */
export class Server {
  #child = null;
  #args;
  #exited = null;
  #log = [];
  port = 0;

  constructor(args) {
    this.#args = args;
  }

  static async start(...args) {
    const server = new Server(args);
    await server.restart();
    return server;
  }

  get http() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** What the official client is given. */
  get endPoint() {
    return `ws://127.0.0.1:${this.port}/socket`;
  }

  /** The whole address, for clients that know nothing of Phoenix. */
  url(query = "vsn=2.0.0") {
    return `${this.endPoint}/websocket${query ? `?${query}` : ""}`;
  }

  async restart() {
    const child = spawn(binary(), ["--listen", `127.0.0.1:${this.port}`, ...this.#args], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once("error", (error) => resolve({ code: null, signal: null, error }));
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.#log.push(line);
      if (this.#log.length > LOG_LINES_MAX) this.#log.shift();
    });
    const announced = new Promise((resolve) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const found = /^listening on http:\/\/.*:(\d+)$/.exec(line);
        if (found) resolve(Number(found[1]));
      });
    });
    const failed = this.#exited.then(({ code, signal, error }) => {
      throw new Error(`the server ended at its start (${error?.message ?? code ?? signal})\n${this.#log.join("\n")}`);
    });
    failed.catch(() => {});
    this.port = await within(START_MS, "the line `listening on …`", Promise.race([announced, failed]));
  }

  /** SIGTERM, as a deployment does it: drains. Resolves to how the process ended. */
  async stop() {
    return this.#end("SIGTERM");
  }

  /** SIGKILL: no goodbye to anybody. */
  async kill() {
    return this.#end("SIGKILL");
  }

  async #end(signal) {
    const child = this.#child;
    if (child === null) return null;
    this.#child = null;
    child.kill(signal);
    try {
      return await within(STOP_MS, `the end of the server after ${signal}`, this.#exited);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
  }

  post(path, body) {
    return fetch(`${this.http}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(5000),
    });
  }
}
