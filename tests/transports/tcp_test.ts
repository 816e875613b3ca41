import assert from "node:assert/strict";
import fc from "fast-check";
import { tcpTransport } from "../../transports/tcp.ts";
import type { MigrateAddress } from "../../core/transport.ts";
import { rdmaTransport } from "../../transports/rdma.ts";
import { vsockTransport } from "../../transports/vsock.ts";
import { conformance, recordingContext } from "./conformance.ts";

const word = fc.stringMatching(/^[^,]{1,40}$/);
const option = fc.constantFrom(
  "",
  ",ipv4",
  ",ipv6=off",
  ",keep-alive=on",
  ",to=70",
  ",mptcp",
  ",foo=bar",
  ",ipv4=x",
  ",,",
);

/** Addresses of the inet syntax, right ones and others. */
export const inetText: fc.Arbitrary<string> = fc.oneof(
  fc.string(),
  fc.tuple(word, word, option, option).map(([host, port, one, two]) => `${host}:${port}${one}${two}`),
  fc.tuple(word, word, option).map(([host, port, one]) => `[${host}]:${port}${one}`),
  fc.tuple(word, option).map(([port, one]) => `:${port}${one}`),
);

conformance({
  transport: tcpTransport,
  stored: false,
  rest: inetText,
  async open(_dir, context) {
    const listener = tcpTransport.listen(tcpTransport.parse("127.0.0.1:0"), context);
    const accepted = listener.accept().finally(() => listener.close());
    const writer = await tcpTransport.connect(listener.addresses![0], context);
    return { writer, reader: () => accepted };
  },
  skip: { "random access": "a socket has no places" },
});

Deno.test("tcp: port 0 picks one and names it", () => {
  const listener = tcpTransport.listen(tcpTransport.parse("127.0.0.1:0"), recordingContext());
  const address = listener.addresses![0] as { host: string; port: string };
  assert.match(address.port, /^[1-9]\d*$/);
  assert.deepEqual(address, {
    transport: "socket",
    type: "inet",
    host: "127.0.0.1",
    port: address.port,
    ipv4: true,
  });
  listener.close();
});

Deno.test("tcp: a range of ports ends with an error, or with a free one", () => {
  const context = recordingContext();
  const taken = tcpTransport.listen(tcpTransport.parse("127.0.0.1:0"), context);
  const { port } = taken.addresses![0] as { port: string };
  assert.throws(() => tcpTransport.listen(tcpTransport.parse(`127.0.0.1:${port}`), context), {
    message: "Failed to find an available port: Address already in use",
  });
  const next = Math.min(Number(port) + 20, 65535);
  const second = tcpTransport.listen(tcpTransport.parse(`127.0.0.1:${port},to=${next}`), context);
  const found = Number((second.addresses![0] as { port: string }).port);
  assert.ok(found > Number(port) && found <= next, `${port} then ${found}`);
  second.close();
  taken.close();
});

Deno.test("tcp: options are read in any order, unknown ones are ignored", () => {
  const parse = (text: string) => tcpTransport.parse(text) as Record<string, unknown>;
  const plain = { transport: "socket", type: "inet", host: "h", port: "1" };
  assert.deepEqual(parse("h:1,foo=bar,ipv6=off,to=7,ipv4"), { ...plain, to: 7, ipv4: true, ipv6: false });
  assert.deepEqual(parse("h:1,keep-alive"), { ...plain, "keep-alive": true });
  assert.deepEqual(parse("[::1]:http"), { ...plain, host: "::1", port: "http" });
  assert.deepEqual(parse(":4444"), { ...plain, host: "", port: "4444" });
  assert.deepEqual(parse(`h:${"1".repeat(40)}`), { ...plain, port: "1".repeat(32) });
  const refused = (text: string, message: string) => assert.throws(() => parse(text), { message });
  refused("h:1,ipv6=on,,x", "error parsing 'ipv6' flag '=on,,x'");
  refused("h:1,to=5x", "error parsing to= argument");
  refused("h:1,to=", "error parsing to= argument");
  refused(`${"h".repeat(65)}:1`, `error parsing address '${"h".repeat(65)}:1'`);
});

Deno.test("tcp: names and families are resolved in the background", async () => {
  const context = recordingContext();
  const listener = tcpTransport.listen(tcpTransport.parse("127.0.0.1:0"), context);
  const { port } = listener.addresses![0] as { port: string };
  // ports wrap, and IPv4 does for IPv6 where there is nothing else
  for (const text of [`localhost:${port}`, `127.0.0.1:${Number(port) + 65536}`, `127.0.0.1:${port},ipv4=off`]) {
    const [client, server] = await Promise.all([
      tcpTransport.connect(tcpTransport.parse(text), context),
      listener.accept(),
    ]);
    await client.close();
    await server.close();
  }
  listener.close();
  const fails = (text: string, message: string | RegExp) =>
    assert.rejects(async () => await tcpTransport.connect(tcpTransport.parse(text), context), { message });
  await fails(":0", "address resolution failed for :0: Name or service not known");
  await fails("h:1,ipv4=off,ipv6=off", "Cannot disable IPv4 and IPv6 at same time");
  await fails(
    "127.0.0.1:notaport",
    "address resolution failed for 127.0.0.1:notaport: Servname not supported for ai_socktype",
  );
  await fails("[::1]:1,ipv4=on", "address resolution failed for ::1:1: Address family for hostname not supported");
});

Deno.test("tcp: a listener drops keep-alive, as QEMU does where it resolves the name", () => {
  const listener = tcpTransport.listen(tcpTransport.parse("127.0.0.1:0,keep-alive"), recordingContext());
  try {
    const [address] = listener.addresses!;
    assert.ok(!("keep-alive" in address) || !address["keep-alive"]);
  } finally {
    listener.close();
  }
});

Deno.test("rdma: is parsed as tcp is, and refused by name", () => {
  const context = recordingContext();
  const address = rdmaTransport.parse("127.0.0.1:1");
  assert.deepEqual(address, { transport: "rdma", host: "127.0.0.1", port: "1" });
  assert.equal(rdmaTransport.format(address), "rdma:127.0.0.1:1");
  assert.throws(() => rdmaTransport.connect(address, context), { message: /^RDMA ERROR: / });
  assert.throws(() => rdmaTransport.listen(address, context), { message: /^RDMA ERROR: / });
  assert.throws(() => rdmaTransport.parse("localhost"), { message: "error parsing address 'localhost'" });
});

Deno.test("rdma: parse() of format() gives an equal address", () => {
  fc.assert(fc.property(inetText, (text) => {
    let address: MigrateAddress;
    try {
      address = rdmaTransport.parse(text);
    } catch {
      return;
    }
    assert.deepEqual(rdmaTransport.parse(rdmaTransport.format(address).slice("rdma:".length)), address);
  }));
});

Deno.test("vsock: numbers are checked when used, the syntax before", async () => {
  const context = recordingContext();
  const connect = async (text: string) => await vsockTransport.connect(vsockTransport.parse(text), context);
  const listen = (text: string) => () => vsockTransport.listen(vsockTransport.parse(text), context);
  assert.throws(() => vsockTransport.parse("3:1,x"), { message: "trailing characters in address '3:1,x'" });
  assert.throws(() => vsockTransport.parse("3"), { message: "error parsing address '3'" });
  await assert.rejects(connect("a:b"), { message: "Failed to parse cid 'a'" });
  await assert.rejects(connect("3:b"), { message: "Failed to parse port 'b'" });
  await assert.rejects(connect("4294967296:1"), { message: "Failed to parse cid '4294967296'" });
  await assert.rejects(connect("3:1"), { message: "Failed to connect to '3:1': No such device" });
  assert.throws(listen("x:y"), { message: "Failed to parse cid 'x'" });
  assert.throws(listen("3:1"), { message: /^Failed to bind socket: / });
  assert.equal(vsockTransport.format(vsockTransport.parse("3:1")), "vsock:3:1");
});
