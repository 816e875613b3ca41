import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import type { Compression } from "../../containers/magic.ts";
import { unpack } from "../../containers/unpack.ts";
import { bufferSource } from "../../stream/channel.ts";

/** Three megabytes that do not shrink to nothing. */
const plain = Buffer.alloc(3 << 20);
for (let i = 0, x = 1; i < plain.length; i++) plain[i] = i % 4096 < 512 ? (x = (x * 48271) % 0x7fffffff) & 0xff : 0;

async function all(packed: Uint8Array, compression: Compression, sequential = true, searchPath?: string) {
  const source = unpack(bufferSource(packed, { sequential, chunk: 70_001 }), compression, { searchPath });
  const pieces: Uint8Array[] = [];
  const view = new Uint8Array(100_003);
  for (let got; (got = await source.read(view)) > 0;) pieces.push(view.slice(0, got));
  return { bytes: Buffer.concat(pieces), problem: source.problem() };
}

function pack(program: string, bytes: Uint8Array): Uint8Array {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, bytes);
    const { stdout, status } = spawnSync("sh", ["-c", `"$0" -c < "$1"`, program, path], { maxBuffer: 1 << 26 });
    assert.equal(status, 0);
    return stdout;
  } finally {
    Deno.removeSync(path);
  }
}

function installed(program: string): boolean {
  return !spawnSync(program, ["--version"]).error;
}

for (const compression of ["gzip", "zstd"] as const) {
  const packOne = (bytes: Uint8Array) => compression === "gzip" ? gzipSync(bytes) : zstdCompressSync(bytes);

  Deno.test(`unpack() reads ${compression}, one member after another`, async () => {
    const packed = Buffer.concat([plain.subarray(0, 1 << 20), plain.subarray(1 << 20)].map(packOne));
    const { bytes, problem } = await all(packed, compression);
    assert(bytes.equals(plain));
    assert.equal(problem, undefined);
  });

  Deno.test(`unpack() gives what a cut ${compression} file still holds`, async () => {
    const packed = packOne(plain);
    const { bytes, problem } = await all(packed.subarray(0, packed.length * 2 / 3), compression);
    assert(bytes.length > 1 << 19 && bytes.length < plain.length, `${bytes.length}`);
    assert(bytes.equals(plain.subarray(0, bytes.length)));
    assert.match(problem!, new RegExp(`^the file was cut: its ${compression} data ends early \\([^\n]+\\)$`));
  });

  Deno.test(`unpack() says what is wrong with ${compression} that is damaged`, async () => {
    const packed = Buffer.from(packOne(plain));
    packed.fill(0xff, packed.length >> 1, (packed.length >> 1) + 50_000);
    const { bytes, problem } = await all(packed, compression);
    assert(!bytes.equals(plain));
    assert.match(problem!, new RegExp(`^${compression}: [^\n]+$`));
  });
}

for (const compression of ["bzip2", "xz", "lzop"] as const) {
  Deno.test({
    name: `unpack() reads ${compression} by the system's program`,
    ignore: !installed(compression),
    async fn() {
      const packed = pack(compression, plain);
      const { bytes, problem } = await all(packed, compression, false);
      assert(bytes.equals(plain));
      assert.equal(problem, undefined);
      const cut = await all(packed.subarray(0, packed.length / 2), compression);
      assert(cut.bytes.length < plain.length);
      assert(cut.bytes.equals(plain.subarray(0, cut.bytes.length)));
      assert.match(cut.problem!, new RegExp(`^the file was cut: its ${compression} data ends early \\([^\n:;]+\\)$`));
    },
  });
}

Deno.test("unpack() names the program that is missing", async () => {
  await assert.rejects(all(Buffer.from("BZh9"), "bzip2", true, ""), {
    name: "TransportError",
    message: "Cannot unpack: the program bzip2 is not installed (apt-get install bzip2)",
  });
});

/** A zstd frame of a header of six bytes and blocks of four, each of which stands for 128 KiB of "A". */
function zstdOfRuns(blocks: number): Uint8Array {
  const frame = new Uint8Array(6 + 4 * blocks);
  frame.set([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]);
  for (let i = 0; i < blocks; i++) {
    frame.set([i === blocks - 1 ? 3 : 2, 0x00, 0x10, 0x41], 6 + 4 * i);
  }
  return frame;
}

Deno.test({
  name: "unpack() reads zstd where there is no program of that name and no leave to run one",
  permissions: { env: ["PATH"] },
  async fn() {
    const path = Deno.env.get("PATH")!;
    Deno.env.set("PATH", "");
    try {
      const skippable = Buffer.from("502a4d1803000000aabbcc", "hex");
      const params = { [constants.ZSTD_c_checksumFlag]: 1 };
      const frames = [plain.subarray(0, 1 << 20), plain.subarray(1 << 20)].map((part) =>
        zstdCompressSync(part, { params })
      );
      const whole = await all(Buffer.concat([skippable, frames[0], skippable, frames[1], skippable]), "zstd");
      assert(whole.bytes.equals(plain));
      assert.equal(whole.problem, undefined);
      const wrong = Buffer.from(frames[1]);
      wrong[wrong.length - 1] ^= 1;
      const { problem } = await all(Buffer.concat([frames[0], wrong]), "zstd");
      assert.equal(problem, "zstd: Restored data doesn't match checksum");
    } finally {
      Deno.env.set("PATH", path);
    }
  },
});

Deno.test("unpack() says that zstd is followed by something else, and that it takes more memory than is given", async () => {
  const followed = await all(Buffer.concat([zstdCompressSync(plain), Buffer.alloc(5000)]), "zstd");
  assert(followed.bytes.equals(plain));
  assert.equal(followed.problem, "zstd: what follows its last frame is no zstd");
  const wide = zstdOfRuns(4);
  wide[5] = 0xa8; // a window of 2 GiB
  const { bytes, problem } = await all(wide, "zstd");
  assert.equal(bytes.length, 0);
  assert.equal(problem, "zstd: a window of more than 128 MiB, which zstd -dc --long=31 unpacks");
});

Deno.test("unpack() of zstd is no further ahead than its reader, however much a few bytes stand for", async () => {
  const blocks = 1 << 14; // 64 KiB of zstd, 2 GiB of data
  const source = unpack(bufferSource(zstdOfRuns(blocks), { sequential: true }), "zstd");
  const view = new Uint8Array(1 << 20);
  const before = Deno.memoryUsage();
  let most = 0, total = 0;
  for (let got; (got = await source.read(view)) > 0; total += got) {
    assert(view[0] === 0x41 && view[got - 1] === 0x41);
    const { rss } = Deno.memoryUsage();
    most = Math.max(most, rss - before.rss);
  }
  assert.deepEqual([total, source.problem()], [blocks * 0x20000, undefined]);
  assert(most < 200 << 20, `${most >> 20} MiB`);
});

for (const compression of ["gzip", "zstd"] as const) {
  const packed = compression === "gzip" ? gzipSync(plain) : zstdCompressSync(plain);

  Deno.test({
    name: `unpack() reads ${compression} without a permission`,
    permissions: "none",
    async fn() {
      assert((await all(packed, compression)).bytes.equals(plain));
    },
  });
}

Deno.test({
  name: "unpack() says in a line that it may not run the program",
  permissions: "none",
  async fn() {
    await assert.rejects(all(Buffer.from("BZh9"), "bzip2"), {
      name: "TransportError",
      message: /^Cannot unpack with 'bzip2': Requires run access to "bzip2", [^\n]+$/,
    });
  },
});

const xz = installed("xz") ? pack("xz", plain) : undefined;

Deno.test({
  name: "unpack() needs no more than to run the program",
  ignore: !xz,
  permissions: { run: ["xz"] },
  async fn() {
    assert((await all(xz!, "xz")).bytes.equals(plain));
  },
});

Deno.test("unpack() is done with a program that reads no further", async () => {
  if (!xz) return;
  const damaged = Buffer.concat([xz.subarray(0, xz.length >> 1), Buffer.alloc(4 << 20, 0x55)]);
  const { bytes, problem } = await all(damaged, "xz");
  assert(bytes.length > 1 << 20 && bytes.subarray(0, 1 << 20).equals(plain.subarray(0, 1 << 20)));
  assert.match(problem!, /^xz: [^\n]+$/);
});

Deno.test("unpack() passes on that its source cannot be read", async () => {
  if (!xz) return;
  let reads = 0;
  const read = (view: Uint8Array) => {
    if (reads++ > 0) throw new Error("the disk is gone");
    view.set(xz.subarray(0, 1000));
    return 1000;
  };
  const source = unpack({ name: "main", start: 0, read }, "xz");
  await assert.rejects(async () => {
    while (await source.read(new Uint8Array(1 << 16)) > 0);
  }, /^Error: the disk is gone$/);
});

Deno.test("closing early ends the program", async () => {
  if (!installed("xz")) return;
  const source = unpack(bufferSource(pack("xz", plain), { sequential: true }), "xz");
  assert((await source.read(new Uint8Array(100))) > 0);
  source.close();
  assert.equal(await source.read(new Uint8Array(10_000_000)) >= 0, true);
});
