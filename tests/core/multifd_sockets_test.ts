/**
 * Captured channels sent to a workbench that waits, as the README of the captures says: main connection first or not, one
 * connection a file.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Workbench } from "../../mod.ts";
import { badManifest, type BadVariant, type Capture, loadFixture, manifest } from "../fixtures.ts";

function of({ files }: Capture | BadVariant): { main: string; channels: string[] } {
  const role = (name: string) => files.filter((file) => file.role === name).map(({ file }) => file);
  return { main: role("main")[0], channels: role("multifd") };
}

const isMultifd = (each: Capture | BadVariant) => of(each).channels.length > 0;

interface Waiting extends AsyncDisposable {
  readonly bench: Workbench;
  readonly path: string;
  readonly done: Promise<unknown>;
  readonly reported: string[];
}

/** A destination with the settings of a capture. Its uuid is the capture's. */
async function wait(parameters: Record<string, unknown>, uuid?: string): Promise<Waiting> {
  const bench = await Workbench.open({ incoming: "defer", ...(uuid ? { uuid } : {}) });
  const reported: string[] = [];
  bench.session.onReport((line) => reported.push(line));
  await bench.setCapability("multifd", true);
  for (const name of ["multifd-channels", "multifd-compression", "tls-creds"] as const) {
    if (name in parameters) await bench.setParameter(name, parameters[name] as never);
  }
  const directory = Deno.makeTempDirSync({ prefix: "miglab-" });
  const path = `${directory}/s`;
  const done = bench.migrateIncoming(`unix:${path}`).then(() => undefined, (error) => error);
  while (!bench.session.incoming.addresses.length) await new Promise((resolve) => setTimeout(resolve, 1));
  const dispose = async () => {
    await bench[Symbol.asyncDispose]();
    Deno.removeSync(directory, { recursive: true });
  };
  return { bench, path, done, reported, [Symbol.asyncDispose]: dispose };
}

/** Connect and send; whether the other side takes it all is its affair. @returns hangs up */
async function send(path: string, bytes: Uint8Array, hangUp: boolean): Promise<() => void> {
  const conn = await Deno.connect({ transport: "unix", path });
  let open = true;
  const close = () => {
    if (open) conn.close();
    open = false;
  };
  (async () => {
    for (let done = 0; done < bytes.length;) done += await conn.write(bytes.subarray(done));
    if (hangUp) close();
  })().catch(() => {});
  return close;
}

const UUID = "aabbccdd-0011-2233-4455-66778899aabb";

/** With FFI each channel has a thread of its own; without it all are read by one. */
const WAYS = [true, false].map((ffi) => ({
  way: ffi ? "with threads" : "without threads",
  permissions: ffi ? "inherit" as const : { read: true, write: true, net: true, env: true, sys: true, ffi: false },
}));

for (const capture of manifest().filter(isMultifd)) {
  for (const [mainFirst, { way, permissions }] of [[true, WAYS[0]], [false, WAYS[0]], [false, WAYS[1]]] as const) {
    const order = mainFirst ? "its main channel first" : "its main channel last";
    const name = `${capture.name} sent over sockets, ${order}, ${way}, loads with the RAM the guest had`;
    Deno.test({ name, permissions }, async () => {
      const { main, channels } = of(capture);
      const uuid = capture.multifd.channels[0].uuid.startsWith("aabb") ? UUID : undefined;
      await using waiting = await wait(capture.parameters ?? {}, uuid);
      const { bench, path, done, reported } = waiting;
      const files = mainFirst ? [main, ...channels] : [...channels.toReversed(), main];
      const hangUps = [];
      for (const file of files) hangUps.push(await send(path, await loadFixture(file), false));
      assert.equal(await done, undefined, reported.join("; "));
      hangUps.forEach((hangUp) => hangUp());
      assert.deepEqual(reported, []);
      for (const { name, sha256 } of capture.ram.blocks) {
        const block = bench.session.guest.memory.block(name)!;
        const bytes = new Uint8Array(block.usedLength);
        block.read(0, bytes);
        assert.equal(createHash("sha256").update(bytes).digest("hex"), sha256, name);
      }
    });
  }
}

/** `error-desc` of each variant that ends by itself. */
const DESCRIPTIONS: Readonly<Record<string, RegExp>> = {
  "multifd-init-magic": /^multifd: received packet magic 11223345 expected 11223344$/,
  "multifd-init-version": /^multifd: received packet version 2 expected 1$/,
  "multifd-init-uuid": /^multifd: received uuid '01010101-.* and expected uuid '00000000-.*' for channel 1$/,
  "multifd-channel-id-range": /^multifd: received channel id 9 is greater than number of channels 2$/,
  "multifd-channel-id-twice": /^multifd: received id '0' already setup'$/,
  "multifd-packet-magic": /^multifd: received packet magic [0-9a-f]+, expected 11223344$/,
  "multifd-pages-alloc": /^multifd: received packet with 129 pages, expected 128$/,
  "multifd-normal-pages":
    /^multifd: received packet with 1000 non-zero pages, which exceeds maximum expected pages 128$/,
  "multifd-offset-past-block": /^multifd: offset too long \d+ \(max 1000000\)$/,
  "multifd-block-unknown": /^multifd: unknown ram block /,
  "multifd-channel-truncated": /^Unexpected end-of-file before all data were read$/,
  "multifd-sync-missing": /^Cannot find SYNC packet at offset 0x[0-9a-f]+ in "multifd 0": the end of the connection/,
  "multifd-zlib-garbage": /^multifd \d: inflate returned -3 instead of Z_OK$/,
  "multifd-zlib-packet-size": /^multifd/,
  "multifd-zlib-packet-size-huge": /^Cannot read multifd packet .*16777216 bytes of payload, expected at most 1048576$/,
  "multifd-compression-flag": /^multifd \d: flags received 4 flags expected 2$/,
};

for (const variant of badManifest().filter(isMultifd)) {
  const expected = DESCRIPTIONS[variant.name];
  if (!expected) continue;
  for (const { way, permissions } of WAYS) {
    const name = `bad/${variant.name} over sockets, ${way}, ends at once, in QEMU's words: ${variant.what}`;
    Deno.test({ name, permissions }, async () => {
      const { main, channels } = of(variant);
      await using waiting = await wait(variant.loaded_with.parameters);
      const { bench, path, done, reported } = waiting;
      const begin = performance.now();
      const hangUps = [];
      for (const file of [main, ...channels]) {
        hangUps.push(await send(path, await loadFixture(`bad/${file}`), file !== main).catch(() => () => {}));
      }
      assert(await done instanceof Error, "it loaded");
      hangUps.forEach((hangUp) => hangUp());
      assert(performance.now() - begin < 20_000, "took over twenty seconds");
      const { status, "error-desc": description } = bench.info();
      assert.equal(status, "failed");
      assert.match(description!, expected, reported.join("; "));
      assert.notEqual(bench.session.guest.kind, "adopted");
      assert.equal(bench.session.runState, "inmigrate");
      // where QEMU did not hang, what it printed
      const { verdict, stderr } = variant.qemu;
      if (verdict === "rejected" && !variant.name.endsWith("uuid")) {
        assert.equal(reported.join("\n"), stderr.replaceAll("qemu-system-x86_64: ", ""));
      }
    });
  }
}

Deno.test("a source of another VM is refused by its uuid; without one of its own a destination takes any", async () => {
  for (const uuid of ["11111111-0000-0000-0000-000000000000", undefined]) {
    await using waiting = await wait({ "multifd-compression": "zlib" }, uuid);
    const { path, done } = waiting;
    const capture = manifest().find(({ name }) => name === "pc-multifd-2-zlib-legacy-zero")!;
    const { main, channels } = of(capture);
    const hangUps = [];
    for (const file of [main, ...channels]) {
      hangUps.push(await send(path, await loadFixture(file), false).catch(() => () => {}));
    }
    const error = await done as Error | undefined;
    hangUps.forEach((hangUp) => hangUp());
    if (uuid) assert.match(error!.message, /received uuid 'aabbccdd-0011-.*' and expected uuid '11111111-/);
    else assert.equal(error, undefined);
  }
});

Deno.test("TLS over sockets is refused at both ends: there are no credentials", async () => {
  for (const multifd of [false, true]) {
    await using waiting = await wait({ "tls-creds": "tls0" });
    const { bench, path, done, reported } = waiting;
    await using source = await Workbench.open({ ram: "16M", stopped: true });
    await source.setParameter("tls-creds", "tls0");
    await source.setCapability("multifd", multifd);
    const message = "No TLS credentials with id 'tls0'";
    await assert.rejects(source.migrate(`unix:${path}`), { message });
    assert.equal(source.session.runState, "prelaunch");
    assert(await done instanceof Error);
    assert.deepEqual(reported, [message]);
    assert.deepEqual(bench.info(), { status: "failed" });
  }
});
