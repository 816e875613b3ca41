/**
 * A workbench attached to another one over QMP: what QEMU is to an operator, without a QEMU.
 * @module
 */
import assert from "node:assert/strict";
import { QmpClient } from "../../core/qmp_client.ts";
import { serveQmp } from "../../core/qmp_server.ts";
import { CommandError, TransportError, Workbench } from "../../mod.ts";

/** A directory, a model guest served in it, and a workbench attached to that. */
async function pair(options: Parameters<typeof Workbench.open>[0] = {}) {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-attached-" });
  const model = await Workbench.open({ ram: "8M", ...options });
  const server = serveQmp(model.session, `unix:${directory}/qmp`);
  const bench = await Workbench.open({ qmp: `${directory}/qmp` });
  return {
    directory,
    model,
    server,
    bench,
    async [Symbol.asyncDispose]() {
      await bench[Symbol.asyncDispose]();
      await server.close();
      await model[Symbol.asyncDispose]();
      Deno.removeSync(directory, { recursive: true });
    },
  };
}

/** Something listens and does this with whoever comes. */
async function withServer(serve: (conn: Deno.Conn) => Promise<void>, test: (path: string) => Promise<void>) {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-attached-" });
  const path = `${directory}/socket`;
  const listener = Deno.listen({ transport: "unix", path });
  const conns: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const conn of listener) {
      conns.push(conn);
      serve(conn).catch(() => {});
    }
  })();
  try {
    await test(path);
  } finally {
    listener.close();
    await accepting;
    for (const conn of conns) {
      try {
        conn.close();
      } catch {
        // the test closed it
      }
    }
    Deno.removeSync(directory, { recursive: true });
  }
}

const say = (conn: Deno.Conn, text: string) => conn.write(new TextEncoder().encode(text));
const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": []}}\r\n';

Deno.test("an attached workbench answers as the model does", async () => {
  await using both = await pair();
  for (
    const line of [
      "info status",
      "info migrate",
      "info migrate_capabilities",
      "info migrate_parameters",
      "info name",
      "info uuid",
      "info balloon",
      "info dirty_rate",
      "info vcpu_dirty_limit",
      "info ramblock",
      "migrate_set_capability zero-blocks on",
      "migrate_set_capability nonsense on",
      "migrate_set_capability multifd perhaps",
      "migrate_set_parameter downtime-limit 2000001",
      "migrate_set_parameter xbzrle-cache-size 12x",
      "migrate_set_parameter nonsense 1",
      "migrate",
      "migrate foo:bar",
      "migrate -x foo",
      "xp /4xw 0",
      "print /x 10+20",
      "getfd x",
      "closefd x",
      "foo",
      "info foo",
      "help migrate",
      "savevm x",
      "migrate_pause",
      "cancel_vcpu_dirty_limit",
      "x-query-ramblock",
      "query-status",
    ]
  ) {
    const [here, there] = [await both.model.execute(line), await both.bench.execute(line)];
    assert.deepEqual({ line, ...there }, { line, ...here });
  }
});

Deno.test("an attached workbench migrates in the foreground, with progress, statistics and events", async () => {
  await using both = await pair({ content: "random:seed=1,bytes=4M" });
  const events: string[] = [];
  both.bench.on("MIGRATION", ({ data }) => events.push((data as { status: string }).status));
  await both.bench.setCapability("events", true);
  assert.equal(both.bench.capability("events"), true);
  await both.bench.setParameter("multifd-channels", 7);
  assert.equal(both.model.parameter("multifd-channels"), 7);
  const percents: number[] = [];
  const info = await both.bench.migrate(`file:${both.directory}/saved`, {
    onProgress: (p) => percents.push(p.percent),
  });
  assert.equal(info.status, "completed");
  assert.equal(info.ram?.total, both.model.session.guest.memory.totalBytes);
  assert.equal(percents.at(-1), 100);
  assert.deepEqual(events, ["setup", "active", "device", "completed"]);
  assert.equal(both.bench.session.runState, "postmigrate");
});

Deno.test("migrate() of an attached workbench rejects with the reason", async () => {
  await using both = await pair();
  await assert.rejects(both.bench.migrate(`file:${both.directory}/no/x`), /Could not create/);
  await assert.rejects(both.bench.migrate(`unix:${both.directory}/nobody`), /Failed to connect to .*No such file/);
  assert.equal(both.bench.info().status, "failed");
  await assert.rejects(both.bench.hmp(`migrate unix:${both.directory}/nobody`), /Failed to connect/);
});

Deno.test("aborting a migration of an attached workbench cancels it there, and the guest goes on", async () => {
  await using both = await pair({ content: "random:seed=1,bytes=8M" });
  await both.bench.setParameter("max-bandwidth", 1 << 20);
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 100);
  await assert.rejects(both.bench.migrate(`file:${both.directory}/x`, { signal: abort.signal }), /cancelled/);
  assert.equal(both.model.info().status, "cancelled");
  assert.equal(both.model.session.runState, "running");
});

Deno.test("an attached workbench loads what comes", async () => {
  await using source = await pair({ content: "random:seed=1,bytes=4M" });
  await source.bench.migrate(`file:${source.directory}/saved`);
  await using both = await pair({ incoming: "defer", ram: undefined });
  const info = await both.bench.migrateIncoming(`file:${source.directory}/saved`);
  assert.equal(info.status, "completed");
  assert.equal(both.model.session.runState, "running");
});

Deno.test("what a monitor command's JSON says passes unchanged, errors included", async () => {
  await using both = await pair();
  for (
    const text of [
      '{"execute": "query-status", "id": 7}',
      '{"execute": "nonsense"}',
      '{"execute": "migrate", "arguments": {}}',
      '{"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": 18446744073709551615}}',
      '{"execute": "query-migrate-parameters"}',
      "{",
    ]
  ) {
    assert.deepEqual((await both.bench.executeQmp(text)).reply, (await both.model.executeQmp(text)).reply);
  }
});

Deno.test("options that describe a machine do not go with qmp", async () => {
  await assert.rejects(Workbench.open({ qmp: "/nowhere", ram: "1M" }), /Cannot use 'ram' with 'qmp'/);
});

Deno.test("nobody there, no socket and no QMP are one line each", async () => {
  await assert.rejects(QmpClient.open("/nowhere/qmp"), {
    name: "TransportError",
    message: "Failed to connect to '/nowhere/qmp': No such file or directory",
  });
  await assert.rejects(QmpClient.open("tcp:127.0.0.1:1"), /Connection refused/);
  await assert.rejects(QmpClient.open("tcp:somewhere"), { name: "CommandError" });
  await withServer((conn) => say(conn, "SSH-2.0-OpenSSH_9.2\r\n").then(), async (path) => {
    await assert.rejects(QmpClient.open(path), /what answers there does not speak QMP/);
  });
  await withServer((conn) => say(conn, "x".repeat(100_000)).then(), async (path) => {
    await assert.rejects(QmpClient.open(path), /what answers there does not speak QMP/);
  });
  await withServer(() => new Promise(() => {}), async (path) => {
    await assert.rejects(QmpClient.open(path, { handshakeMs: 100 }), /no QMP greeting within 100 ms/);
  });
  await withServer((conn) => Promise.resolve(conn.close()), async (path) => {
    await assert.rejects(QmpClient.open(path), /it closed the connection without a QMP greeting/);
  });
  await withServer((conn) => say(conn, GREETING).then(), async (path) => {
    await assert.rejects(QmpClient.open(path, { handshakeMs: 1000 }), {
      message: new RegExp(`^Cannot attach to '${path}': QEMU did not answer qmp_capabilities within \\d+ ms$`),
    });
  });
  await withServer(
    (conn) => say(conn, "QEMU 10.0.2 monitor - type 'help' for more information\r\n(qemu) ").then(),
    async (path) => {
      await assert.rejects(QmpClient.open(path), {
        message: `Cannot attach to '${path}': it is QEMU's human monitor; a QMP socket is made by -qmp`,
      });
    },
  );
  for (const path of [Deno.makeTempFileSync({ prefix: "miglab-attached-" }), Deno.makeTempDirSync()]) {
    await assert.rejects(QmpClient.open(path), { message: `Failed to connect to '${path}': it is not a socket` });
    Deno.removeSync(path);
  }
});

Deno.test("a QMP that knows no migration is no machine's monitor", async () => {
  const server = async (conn: Deno.Conn) => {
    await say(conn, GREETING);
    for await (const text of conn.readable.pipeThrough(new TextDecoderStream())) {
      for (const line of text.trim().split("\n")) {
        const { execute, id } = JSON.parse(line);
        const error = { class: "CommandNotFound", desc: `The command ${execute} has not been found` };
        await say(conn, JSON.stringify(execute === "qmp_capabilities" ? { return: {}, id } : { error, id }) + "\r\n");
      }
    }
  };
  await withServer(server, async (path) => {
    await assert.rejects(Workbench.open({ qmp: path }), {
      name: "TransportError",
      message: `Cannot attach to '${path}': The command query-migrate-capabilities has not been found; ` +
        "is it a machine's monitor?",
    });
  });
});

Deno.test("what came of an attached machine is reported: that it went, and that there is one again", async () => {
  await using both = await pair();
  const reports: string[] = [];
  await using bench = await Workbench.open({ qmp: both.server.address, report: (line) => reports.push(line) });
  const { address } = both.server;
  await both.server.close();
  await until(() => reports.length === 1);
  assert.equal((await bench.execute("info status")).error, true);
  const again = serveQmp(both.model.session, address);
  try {
    await both.model.hmp("stop");
    assert.equal((await bench.execute("info status")).out, "VM status: paused\n");
    await until(() => reports.length === 2);
  } finally {
    await again.close();
  }
  assert.deepEqual(reports.slice(0, 2), [
    `lost QEMU at ${address}: QEMU closed the connection; the next command connects again`,
    `attached to QEMU at ${address} again: it is paused`,
  ]);
});

Deno.test("a monitor on which negotiation is complete already is taken as it is", async () => {
  const answers = [
    { error: { class: "CommandNotFound", desc: "Capabilities negotiation is already complete, command ignored" } },
    { return: { status: "running", running: true } },
  ];
  const server = async (conn: Deno.Conn) => {
    await say(conn, GREETING);
    const buffer = new Uint8Array(4096);
    for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
      for (const line of new TextDecoder().decode(buffer.subarray(0, n)).trim().split("\n")) {
        await say(conn, JSON.stringify({ ...answers.shift(), id: JSON.parse(line).id }) + "\r\n");
      }
    }
  };
  await withServer(server, async (path) => {
    await using client = await QmpClient.open(path);
    assert.deepEqual(await client.execute("query-status"), { status: "running", running: true });
  });
});

Deno.test("a server that greets again and asks for negotiation again gets it", async () => {
  const negotiated: boolean[] = [];
  const server = async (conn: Deno.Conn) => {
    await say(conn, GREETING);
    let ready = false, commands = 0;
    const buffer = new Uint8Array(4096);
    for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
      for (const line of new TextDecoder().decode(buffer.subarray(0, n)).trim().split("\n")) {
        const { id, execute } = JSON.parse(line);
        if (execute === "qmp_capabilities") {
          negotiated.push(ready = true);
          await say(conn, JSON.stringify({ return: {}, id }) + "\r\n");
        } else if (!ready) {
          const desc = "Expecting capabilities negotiation with 'qmp_capabilities'";
          await say(conn, JSON.stringify({ error: { class: "CommandNotFound", desc }, id }) + "\r\n");
        } else {
          await say(conn, JSON.stringify({ return: ++commands, id }) + "\r\n");
          ready = false;
          await say(conn, GREETING);
        }
      }
    }
  };
  await withServer(server, async (path) => {
    await using client = await QmpClient.open(path);
    assert.equal(await client.execute("query-status"), 1);
    assert.equal(await client.execute("query-status"), 2);
    assert.deepEqual(negotiated, [true, true]);
  });
});

Deno.test("answers over several lines, integers of 64 bits and answers out of order are understood", async () => {
  const server = async (conn: Deno.Conn) => {
    await say(conn, JSON.stringify(JSON.parse(GREETING), undefined, 4) + "\r\n");
    const seen: number[] = [];
    const buffer = new Uint8Array(4096);
    for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
      for (const line of new TextDecoder().decode(buffer.subarray(0, n)).trim().split("\n")) {
        const { id, execute } = JSON.parse(line);
        if (execute === "qmp_capabilities") await say(conn, `{"return": {}, "id": ${id}}\r\n`);
        else if (seen.push(id) === 2) {
          await say(conn, `{\n    "return": 18446744073709551615,\n    "id": ${seen[1]}\n}\n{"event": "STOP"}\n`);
          await say(conn, `{"return": 1.5, "id": ${seen[0]}}`);
          await say(conn, "\r\n");
        }
      }
    }
  };
  await withServer(server, async (path) => {
    await using client = await QmpClient.open(path);
    const events: string[] = [];
    client.events.on(({ event }) => events.push(event));
    const [first, second] = await Promise.all([client.execute("a"), client.execute("b")]);
    assert.deepEqual([first, second], [1.5, 18446744073709551615n]);
    assert.deepEqual(events, ["STOP"]);
  });
});

Deno.test("a server that goes away fails what was asked, and is connected to again", async () => {
  await using both = await pair();
  await using client = await QmpClient.open(both.server.address);
  const lost: string[] = [];
  client.onLost((reason) => lost.push(reason));
  await both.server.close();
  await until(() => !client.connected);
  assert.deepEqual(lost, ["QEMU closed the connection"]);
  await assert.rejects(client.execute("query-status"), TransportError);
  const again = serveQmp(both.model.session, both.server.address);
  try {
    assert.deepEqual(await client.execute("query-status"), { status: "running", running: true });
  } finally {
    await again.close();
  }
});

Deno.test("a command that is not answered in time is given up", async () => {
  const server = async (conn: Deno.Conn) => {
    await say(conn, GREETING);
    await conn.read(new Uint8Array(4096));
    await say(conn, '{"return": {}, "id": 1}\r\n');
  };
  await withServer(server, async (path) => {
    await using client = await QmpClient.open(path);
    await assert.rejects(client.execute("stop", {}, { timeoutMs: 50 }), /QEMU did not answer stop within 50 ms/);
  });
});

Deno.test("a migration under way fails when its machine goes away", async () => {
  await using both = await pair({ content: "random:seed=1,bytes=8M" });
  await both.bench.setParameter("max-bandwidth", 1 << 20);
  const migration = both.bench.migrate(`file:${both.directory}/x`);
  setTimeout(() => both.server.close(), 150);
  await assert.rejects(migration, /[Ll]ost QEMU at .*: (QEMU closed the connection|Broken pipe)/);
  both.model.session.outgoing.cancel();
});

Deno.test("a served session answers several clients, and ends with quit", async () => {
  await using both = await pair();
  await using other = await QmpClient.open(both.server.address);
  assert.deepEqual(await other.execute("query-status"), { status: "running", running: true });
  assert.equal(both.server.clients, 2);
  assert.equal((Deno.statSync(`${both.directory}/qmp`).mode! & 0o777).toString(8), "600");
  await assert.rejects(other.execute("nonsense"), CommandError);
  await other.execute("quit");
  await both.server.ended;
  assert.throws(() => Deno.statSync(`${both.directory}/qmp`), Deno.errors.NotFound);
});

Deno.test("a machine that was asked to end and hangs up is not lost", async () => {
  await using both = await pair();
  const behind = `${both.directory}/qmp`;
  const relay = async (conn: Deno.Conn) => {
    const machine = await Deno.connect({ transport: "unix", path: behind });
    const back = machine.readable.pipeTo(conn.writable).catch(() => {});
    const reader = conn.readable.pipeThrough(new TextDecoderStream()).getReader();
    for (let asked = await reader.read(); !asked.done; asked = await reader.read()) {
      if (asked.value.includes('"quit"')) break; // without an answer
      await machine.write(new TextEncoder().encode(asked.value));
    }
    machine.close();
    await back;
  };
  await withServer(relay, async (path) => {
    const reported: string[] = [];
    await using bench = await Workbench.open({ qmp: path, report: (line) => reported.push(line) });
    assert.deepEqual(await bench.execute("quit"), { out: "", error: false });
    assert.equal(bench.session.exitStatus, 0);
    assert.deepEqual(reported, []);
  });
});

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 5000;
  while (!condition()) {
    assert(performance.now() < end, "waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
