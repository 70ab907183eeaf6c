// Long polling without the client: requests, and what they are answered with.

import { WAIT_MS } from "./wait.mjs";

/** `{ status, headers, body }`, the body as text. */
export async function exchange(address, { method = "GET", headers = {}, body, ms = WAIT_MS } = {}) {
  const response = await fetch(address, { method, headers, body, signal: AbortSignal.timeout(ms) });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

export function pollAddress(base, query) {
  return `${base}/socket/longpoll?${query}`;
}

/** One session. Every answer brings the token with which the next poll says that the answer arrived. */
export class Poller {
  #base;
  #query;

  /** `base` is the server's address, or that of what stands before it. */
  constructor(base, token, query = "vsn=2.0.0") {
    this.#base = base;
    this.#query = query;
    this.token = token;
  }

  static async begin(base, query = "vsn=2.0.0") {
    const { body } = await exchange(pollAddress(base, query));
    const { status, token } = JSON.parse(body);
    if (status !== 410) throw new Error(`no session: ${body}`);
    return new Poller(base, token, query);
  }

  get address() {
    return pollAddress(this.#base, `${this.#query}&token=${encodeURIComponent(this.token)}`);
  }

  /** The body of the next answer. */
  async poll(options = {}) {
    const answer = await this.pollAndLose(options);
    if (answer.token !== undefined) this.token = answer.token;
    return answer;
  }

  /** The same, by a client to which it does not arrive. */
  async pollAndLose(options = {}) {
    const { status, body } = await exchange(this.address, options);
    if (status !== 200) throw new Error(`HTTP ${status}: ${body}`);
    return JSON.parse(body);
  }

  /** Polls until so many messages have come. */
  async take(count) {
    const messages = [];
    while (messages.length < count) {
      const answer = await this.poll();
      if (answer.status !== 200) throw new Error(`after ${messages.length} of ${count} messages: ${JSON.stringify(answer)}`);
      messages.push(...answer.messages);
    }
    return messages;
  }

  /** Posts messages, one on each line. */
  post(...lines) {
    return this.postBody(lines.join("\n"));
  }

  async postBody(body, type = "application/x-ndjson") {
    const { status, body: text } = await exchange(this.address, { method: "POST", body, headers: { "content-type": type } });
    return { http: status, ...JSON.parse(text) };
  }
}
