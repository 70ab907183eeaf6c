// Waiting for what happens, never for time to pass.

export const WAIT_MS = 5000;

/** Rejects with the name of what did not happen. */
export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What arrived and nobody has asked for yet, oldest first. */
export class Inbox {
  #items = [];
  #waiting = [];

  put(item) {
    const first = this.#waiting.shift();
    if (first) first(item);
    else this.#items.push(item);
  }

  async next(what = "the next message", ms = WAIT_MS) {
    if (this.#items.length > 0) return this.#items.shift();
    let waiter;
    const item = new Promise((resolve) => {
      waiter = resolve;
      this.#waiting.push(waiter);
    });
    try {
      return await within(ms, what, item);
    } finally {
      this.#waiting = this.#waiting.filter((other) => other !== waiter);
    }
  }

  /** Skips what does not fit. */
  async find(fits, what = "a fitting message", ms = WAIT_MS) {
    const until = Date.now() + ms;
    for (;;) {
      const item = await this.next(what, Math.max(1, until - Date.now()));
      if (fits(item)) return item;
    }
  }

  async take(count, what = "the next messages", ms = WAIT_MS) {
    const items = [];
    while (items.length < count) items.push(await this.next(`${what} (${items.length + 1} of ${count})`, ms));
    return items;
  }

  /** All that is there now. */
  drain() {
    return this.#items.splice(0);
  }
}
