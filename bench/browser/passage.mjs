// A TCP proxy to the platform that can be closed: for its clients, the gateway goes away and comes back.

import { connect, createServer } from "node:net";
import { once } from "node:events";

export class Passage {
  /** Opens a proxy to `base`. */
  static async to(base) {
    const passage = new Passage(new URL(base));
    await passage.open(0);
    return passage;
  }

  constructor({ hostname, port }) {
    this.travellers = new Set();
    this.server = createServer((comer) => {
      const onward = connect({ host: hostname, port });
      for (const [from, to] of [[comer, onward], [onward, comer]]) {
        this.travellers.add(from);
        from.on("close", () => this.travellers.delete(from) && to.destroy());
        from.on("error", () => from.destroy());
        from.pipe(to);
      }
    });
  }

  get base() {
    return `http://127.0.0.1:${this.port}`;
  }

  async open(port = this.port) {
    this.server.listen(port, "127.0.0.1");
    await once(this.server, "listening");
    this.port = this.server.address().port;
  }

  /** Closes the proxy and ends its connections. */
  async shut() {
    const closed = once(this.server, "close");
    this.server.close();
    for (const traveller of this.travellers) traveller.destroy();
    await closed;
  }
}
