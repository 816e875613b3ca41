/**
 * Sockets by number: the same addresses, the same answers as Deno's own.
 * @module
 */
import assert from "node:assert/strict";
import net from "node:net";
import fc from "fast-check";
import type { MigrateAddress, Transport, TransportContext } from "../../core/transport.ts";
import { inetName, unixName } from "../../transports/numbered.ts";
import { tcpTransport } from "../../transports/tcp.ts";
import { unixTransport } from "../../transports/unix.ts";

const plain: TransportContext = {
  takeNamedFd: () => undefined,
  fdset: () => undefined,
  warn: () => {},
  report: () => {},
};
const further: TransportContext = { ...plain, extra: { count: 1, direct: false } };

Deno.test("an address in numbers becomes what the kernel calls it, a name does not", () => {
  const bytes = (host: string) => inetName(host, 0x1234)?.toHex();
  assert.equal(bytes("127.0.0.1"), "020012347f0000010000000000000000");
  assert.equal(bytes("::1"), "0a001234" + "00000000" + "00".repeat(15) + "01" + "00000000");
  assert.equal(bytes("fe80::1:2"), "0a001234" + "00000000" + "fe80" + "00".repeat(10) + "00010002" + "00000000");
  for (const host of ["localhost", "256.1.1.1", "1.2.3", "fe80::1%eth0", "1::2::3", "1:2:3", ":::", "::ffff:1.2.3.4"]) {
    assert.equal(bytes(host), undefined, host);
  }
  fc.assert(fc.property(fc.ipV6(), (host) => {
    const name = inetName(host, 1);
    if (!name) return assert.match(host, /\./);
    const groups = name.subarray(8, 24).toHex().match(/..../g)!.join(":");
    assert.ok(sameAddress(groups, host), `${groups} is not ${host}`);
  }));
  assert.equal(unixName("/tmp/s")!.length, 110);
  assert.equal(unixName("x".repeat(107))!.at(-1), 0);
  assert.equal(unixName("x".repeat(108)), undefined);
});

/** Whether two spellings are one address, as Node sees it. */
function sameAddress(a: string, b: string): boolean {
  const list = new net.BlockList();
  list.addAddress(a, "ipv6");
  return list.check(b, "ipv6");
}

/** Send one byte from a further channel of a source to the destination. */
async function meet(transport: Transport, address: MigrateAddress): Promise<boolean> {
  const listener = transport.listen(address, further);
  try {
    const accepting = listener.accept();
    const near = await transport.connectExtra!(listener.addresses![0], plain, { direct: false });
    const far = await accepting;
    await near.write!(Uint8Array.of(7));
    const view = new Uint8Array(2);
    assert.equal(await far.read!(view), 1);
    assert.equal(view[0], 7);
    await far.write!(Uint8Array.of(8, 9));
    assert.deepEqual(await near.peek!(2), Uint8Array.of(8, 9));
    assert.equal(near.lendSocket?.(), undefined, "what was read ahead would be lost");
    await near.close();
    assert.equal(await far.read!(view), 0);
    const numbered = far.lendSocket !== undefined;
    await far.close();
    assert.equal(far.lendSocket?.(), undefined, "closed");
    return numbered;
  } finally {
    listener.close();
  }
}

Deno.test("TCP over IPv4 and IPv6, by number and by name, comes by number", async () => {
  const v6 = Deno.networkInterfaces().some(({ address }) => address === "::1");
  for (const host of ["127.0.0.1", ...(v6 ? ["[::1]"] : []), "localhost"]) {
    assert.equal(await meet(tcpTransport, tcpTransport.parse(`${host}:0`)), true, host);
  }
  assert.equal(await meet(tcpTransport, tcpTransport.parse("127.0.0.1:0,keep-alive=on")), true);
});

for (const ffi of [true, false]) {
  const permissions = ffi
    ? "inherit" as const
    : { read: true, write: true, net: true, env: true, sys: true, ffi: false };
  Deno.test({
    name: `sockets of multifd ${ffi ? "have numbers" : "are Deno's where FFI is not granted"}`,
    permissions,
    async fn() {
      const directory = Deno.makeTempDirSync({ prefix: "miglab-" });
      try {
        assert.equal(await meet(unixTransport, unixTransport.parse(`${directory}/s`)), ffi);
        assert.equal(await meet(tcpTransport, tcpTransport.parse("127.0.0.1:0")), ffi);
        assert.deepEqual([...Deno.readDirSync(directory)], []);
      } finally {
        Deno.removeSync(directory, { recursive: true });
      }
    },
  });
}

Deno.test("a socket by number refuses in the words Deno's own is reported in", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-" });
  try {
    const address = unixTransport.parse(`${directory}/none`);
    const said = async (context: () => unknown) => {
      try {
        await context();
        return "nothing";
      } catch (error) {
        return (error as Error).message;
      }
    };
    const refused = `Failed to connect to '${directory}/none': No such file or directory`;
    assert.equal(await said(() => unixTransport.connect(address, plain)), refused);
    assert.equal(await said(() => unixTransport.connectExtra!(address, plain, { direct: false })), refused);
    for (const context of [plain, further]) {
      assert.equal(
        await said(() => unixTransport.listen(unixTransport.parse(`${directory}/no/s`), context)),
        `Failed to bind socket to ${directory}/no/s: No such file or directory`,
      );
      const taken = tcpTransport.listen(tcpTransport.parse("127.0.0.1:0"), context);
      const again = tcpTransport.format(taken.addresses![0]).replace(/^tcp:/, "").replace(/,.*/, "");
      assert.equal(
        await said(() => tcpTransport.listen(tcpTransport.parse(again), context)),
        "Failed to find an available port: Address already in use",
      );
      taken.close();
      const gone = tcpTransport.parse(again);
      assert.equal(
        await said(() => tcpTransport.connectExtra!(gone, context, { direct: false })),
        `Failed to connect to '${again}': Connection refused`,
      );
    }
    const listener = unixTransport.listen(unixTransport.parse(`${directory}/s`), further);
    assert.equal(Deno.statSync(`${directory}/s`).mode! & 0o777, 0o600);
    const accepting = said(() => listener.accept());
    const plainListener = unixTransport.listen(unixTransport.parse(`${directory}/t`), plain);
    const plainAccepting = said(() => plainListener.accept());
    await new Promise((resolve) => setTimeout(resolve, 10));
    listener.close();
    plainListener.close();
    assert.equal(await accepting, await plainAccepting);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
