// Every call that toxiproxy-node-client has, with status and body as they went over the wire, and what it does to bytes.
"use strict";
const assert = require("node:assert/strict");
const net = require("node:net");
const { Toxiproxy } = require("toxiproxy-node-client");

const [url, upstream] = process.argv.slice(2);

// What was asked and answered last.
let last;
const plain = globalThis.fetch;
globalThis.fetch = async (to, init) => {
  const response = await plain(to, init);
  const text = await response.clone().text();
  const path = to.slice(url.length);
  last = { call: `${init.method} ${path}`, status: response.status, type: response.headers.get("content-type"), text };
  return response;
};
const was = (call, status) => assert.deepEqual([last.call, last.status], [call, status], last.text);
const failed = async (promise, call, status, error) => {
  await assert.rejects(promise, (thrown) => thrown.message === `Request failed with status code ${status}`);
  was(call, status);
  assert.equal(last.type, "text/plain; charset=utf-8");
  assert.equal(last.text, `${JSON.stringify({ error, status })}\n`);
};

// Sends a line through a proxy; what came back, and after how many milliseconds.
const through = (listen, line) =>
  new Promise((resolve, reject) => {
    const [host, port] = listen.split(":");
    const start = process.hrtime.bigint();
    const socket = net.connect(Number(port), host, () => socket.write(line));
    let got = "";
    const done = () => resolve({ got, ms: Number(process.hrtime.bigint() - start) / 1e6 });
    socket.on("data", (data) => {
      got += data;
      if (got.length >= line.length) socket.destroy();
    });
    socket.on("close", done);
    socket.on("error", (error) => (error.code === "ECONNRESET" ? undefined : reject(error)));
  });

const main = async () => {
  const toxiproxy = new Toxiproxy(url);
  assert.equal(JSON.parse(await toxiproxy.getVersion()).version.split(".")[0], "2");
  was("GET /version", 200);

  assert.deepEqual(await toxiproxy.getAll(), {});
  was("GET /proxies", 200);
  const body = { name: "shop", listen: "127.0.0.1:0", upstream };
  const shop = await toxiproxy.createProxy(body);
  was("POST /proxies", 201);
  assert.equal(shop.enabled, true);
  assert.notEqual(shop.listen, body.listen);
  await failed(toxiproxy.createProxy(body), "POST /proxies", 409, "proxy already exists");
  await failed(toxiproxy.createProxy({ listen: "127.0.0.1:0", upstream }), "POST /proxies", 400, "missing required field: name");
  await failed(toxiproxy.createProxy({ name: "x", listen: "127.0.0.1:0" }), "POST /proxies", 400, "missing required field: upstream");
  assert.deepEqual((await toxiproxy.get("shop")).toJson(), shop.toJson());
  was("GET /proxies/shop", 200);
  await failed(toxiproxy.get("none"), "GET /proxies/none", 404, "proxy not found");
  assert.equal((await through(shop.listen, "hello\n")).got, "hello\n");

  // Toxics: add, get, change, remove; each does what it says.
  const slow = await shop.addToxic({ name: "slow", type: "latency", stream: "downstream", toxicity: 1, attributes: { latency: 200, jitter: 0 } });
  was("POST /proxies/shop/toxics", 200);
  assert.deepEqual(slow.toJson(), { name: "slow", type: "latency", stream: "downstream", toxicity: 1, attributes: { latency: 200, jitter: 0 } });
  await failed(shop.addToxic({ name: "slow", type: "timeout", attributes: {} }), "POST /proxies/shop/toxics", 409, "toxic already exists");
  await failed(shop.addToxic({ type: "latency", stream: "sideways" }), "POST /proxies/shop/toxics", 400, "stream was invalid, can be either upstream or downstream");
  await failed(shop.addToxic({ type: "nothing" }), "POST /proxies/shop/toxics", 400, "invalid toxic type");
  const delayed = await through(shop.listen, "hello\n");
  assert.ok(delayed.got === "hello\n" && delayed.ms >= 199, JSON.stringify(delayed));
  assert.deepEqual((await shop.getToxic("slow")).toJson(), slow.toJson());
  was("GET /proxies/shop/toxics/slow", 200);
  await failed(shop.getToxic("none"), "GET /proxies/shop/toxics/none", 404, "toxic not found");
  const faster = await slow.update({ attributes: { latency: 50 } });
  was("POST /proxies/shop/toxics/slow", 200);
  assert.deepEqual(faster.attributes, { latency: 50, jitter: 0 });
  await slow.remove();
  was("DELETE /proxies/shop/toxics/slow", 204);
  await failed(slow.remove(), "DELETE /proxies/shop/toxics/slow", 404, "toxic not found");
  const unnamed = await shop.addToxic({ type: "limit_data", attributes: { bytes: 3 } });
  assert.deepEqual([unnamed.name, unnamed.stream, unnamed.toxicity], ["limit_data_downstream", "downstream", 1]);
  assert.equal((await through(shop.listen, "hello\n")).got, "hel");
  for (const [type, attributes] of [["bandwidth", { rate: 10 }], ["slow_close", { delay: 1 }], ["timeout", { timeout: 1 }], ["reset_peer", { timeout: 1 }], ["slicer", { average_size: 10, size_variation: 5, delay: 1 }], ["packet_loss", { loss_rate: 0.5, correlation: 0.1 }]]) {
    const toxic = await shop.addToxic({ type, stream: "upstream", toxicity: 0.5, attributes });
    for (const [name, value] of Object.entries(attributes)) assert.equal(toxic.attributes[name], value, type);
    assert.equal(toxic.name, `${type}_upstream`);
  }

  // Down and up again, on the same port.
  const down = await shop.update({ enabled: false });
  was("POST /proxies/shop", 200);
  assert.equal(down.enabled, false);
  await assert.rejects(through(shop.listen, "x"), { code: "ECONNREFUSED" });
  await toxiproxy.reset();
  was("POST /reset", 204);
  assert.equal((await through(shop.listen, "hello\n")).got, "hello\n");
  await failed(down.getToxiproxy().api.post(`${url}/proxies/none`, { enabled: true }), "POST /proxies/none", 404, "proxy not found");

  const populated = await toxiproxy.populate([{ name: "shop", listen: shop.listen, upstream }, { name: "other", listen: "127.0.0.1:0", upstream, enabled: false }]);
  was("POST /populate", 201);
  assert.deepEqual([populated.shop.listen, populated.other.enabled], [shop.listen, false]);
  await assert.rejects(toxiproxy.populate([{ name: "third" }]));
  was("POST /populate", 400);
  assert.deepEqual(JSON.parse(last.text), { error: "missing required field: upstream at proxy 1", status: 400, proxies: [] });
  assert.deepEqual(Object.keys(await toxiproxy.getAll()).sort(), ["other", "shop"]);
  await shop.remove();
  was("DELETE /proxies/shop", 204);
  await failed(shop.remove(), "DELETE /proxies/shop", 404, "proxy not found");
  assert.deepEqual(Object.keys(await toxiproxy.getAll()), ["other"]);
  console.log("every call was made");
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
