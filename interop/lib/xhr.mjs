// `XMLHttpRequest` for Node: as much of it as the official client asks for, with the events in the order of the XHR
// standard. The packages that offer one do without `timeout`, without an ArrayBuffer as body, or fire their events late.

import { Agent, request } from "node:http";

const [UNSENT, OPENED, HEADERS_RECEIVED, LOADING, DONE] = [0, 1, 2, 3, 4];

/**
 * Polls wait, each on a connection of its own. Posts share one: the lines before 1.7 send every message in a post of its
 * own and do not wait for the one before, so that on several connections one overtakes another, in a browser too, and
 * no server could tell what was said first.
 */
const AGENTS = {
  GET: new Agent({ keepAlive: true }),
  POST: new Agent({ keepAlive: true, maxSockets: 1 }),
};

export class XMLHttpRequest {
  readyState = UNSENT;
  responseText = "";
  status = 0;
  /** Milliseconds; 0 waits for ever. */
  timeout = 0;
  onreadystatechange = null;
  onload = null;
  onerror = null;
  ontimeout = null;
  onabort = null;

  #asked = null;
  #headers = {};
  #method = "";
  #sent = null;
  #timer = null;

  open(method, address, isAsync = true) {
    if (!isAsync) throw new Error("only asynchronous requests are made here");
    this.#method = method;
    this.#asked = new URL(address);
    this.#headers = {};
    this.#enter(OPENED);
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }

  /** A string, an ArrayBuffer, or nothing. */
  send(body = null) {
    const bytes = body === null ? null : typeof body === "string" ? Buffer.from(body) : Buffer.from(body.slice(0));
    const headers = bytes === null ? this.#headers : { ...this.#headers, "Content-Length": bytes.length };
    const sent = request(this.#asked, { method: this.#method, headers, agent: AGENTS[this.#method] });
    this.#sent = sent;
    // What comes of a request that is not ours any more is nobody's business.
    const ours = (act) => (value) => {
      if (this.#sent === sent) act(value);
    };
    sent.on("error", ours(() => this.#fail(this.onerror)));
    sent.on("response", (response) => {
      const chunks = [];
      response.on("error", ours(() => this.#fail(this.onerror)));
      response.on("data", ours((chunk) => chunks.push(chunk)));
      response.on("end", ours(() => this.#finish(Buffer.concat(chunks))));
      ours(() => {
        this.status = response.statusCode;
        this.#enter(HEADERS_RECEIVED);
        this.#enter(LOADING);
      })();
    });
    if (this.timeout > 0) this.#timer = setTimeout(() => this.#fail(this.ontimeout), this.timeout);
    sent.end(bytes);
  }

  abort() {
    if (this.#sent !== null) this.#fail(this.onabort);
    if (this.readyState === DONE) this.readyState = UNSENT;
  }

  #finish(bytes) {
    this.#forget();
    this.responseText = bytes.toString();
    this.#enter(DONE);
    this.onload?.();
  }

  /** Without an answer: first the state that says nothing, then the event that says why. */
  #fail(event) {
    const sent = this.#forget();
    sent.destroy();
    this.status = 0;
    this.#enter(DONE);
    event?.call(this);
  }

  #forget() {
    const sent = this.#sent;
    this.#sent = null;
    clearTimeout(this.#timer);
    return sent;
  }

  #enter(state) {
    this.readyState = state;
    this.onreadystatechange?.();
  }
}
