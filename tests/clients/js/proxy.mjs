// A way to the server that can be cut: every connection is reset, and the next ones go through again.

import net from "node:net";

export const listening = (server) =>
  new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`)));

export class Proxy {
  #open = new Set();
  #server;

  static async to(url) {
    const proxy = new Proxy();
    const { hostname, port } = new URL(url);
    proxy.#server = net.createServer((near) => proxy.#join(near, net.connect(port, hostname)));
    proxy.url = await listening(proxy.#server);
    return proxy;
  }

  #join(near, far) {
    for (const [from, to] of [[near, far], [far, near]]) {
      this.#open.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => this.#open.delete(from) && to.destroy());
      from.pipe(to);
    }
  }

  cut() {
    for (const socket of [...this.#open]) socket.resetAndDestroy();
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
