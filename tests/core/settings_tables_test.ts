/**
 * The captured tables: every capability, every ordered pair of them in four contexts, every parameter at and around its limits.
 */
import assert from "node:assert/strict";
import { JsonFloat } from "../../core/json.ts";
import { errorReply, runQmp } from "../../core/qmp.ts";
import type { Session } from "../../core/session.ts";
import { Workbench } from "../../mod.ts";
import { readTranscript } from "./transcripts.ts";

const CONTEXTS: Readonly<Record<string, Parameters<typeof Workbench.open>[0]>> = {
  "source, tcg": { accelerator: "tcg" },
  "source, kvm": { accelerator: "kvm" },
  "source, kvm with dirty-ring-size": { accelerator: "kvm", dirtyRing: true },
  "destination waiting (-incoming defer), tcg": { accelerator: "tcg", incoming: "defer" },
};

/** One bench per context, everything off at the start of each row. */
async function inContexts<Row extends { context: string }>(
  rows: readonly Row[],
  check: (session: Session, row: Row) => Promise<void>,
): Promise<void> {
  for (const [context, options] of Object.entries(CONTEXTS)) {
    await using bench = await Workbench.open({ ram: "1M", stopped: true, ...options });
    const mine = rows.filter((row) => row.context === context);
    assert(mine.length > 0, `no rows for ${context}`);
    for (const row of mine) {
      bench.session.setCapabilities(allOff(bench.session));
      await check(bench.session, row);
    }
  }
}

const allOff = ({ registry }: Session) => registry.capabilities.map(({ name }) => ({ capability: name, state: false }));

const on = (session: Session) =>
  session.registry.capabilities.filter(({ name }) => session.on(name)).map(({ name }) => name);

async function hmp(session: Session, line: string): Promise<string> {
  return await runQmp(session, "human-monitor-command", { "command-line": line }, { fds: session.fds }) as string;
}

async function qmp(session: Session, name: string, args: unknown): Promise<unknown> {
  try {
    return { return: await runQmp(session, name, args, { fds: session.fds }) };
  } catch (error) {
    return errorReply(error);
  }
}

const setOne = (session: Session, capability: string, state: boolean) =>
  qmp(session, "migrate-set-capabilities", { capabilities: [{ capability, state }] });

Deno.test("each capability alone is switched as by QEMU", async () => {
  interface Row {
    context: string;
    capability: string;
    hmp_on: string;
    on: string[];
    hmp_off: string;
    qmp_on: unknown;
    qmp_on_stderr?: string;
  }
  const { rows } = readTranscript("caps_single") as { rows: Row[] };
  await inContexts(rows, async (session, row) => {
    const { capability } = row;
    assert.equal(await hmp(session, `migrate_set_capability ${capability} on`), row.hmp_on);
    assert.deepEqual(on(session), row.on);
    assert.equal(await hmp(session, `migrate_set_capability ${capability} off`), row.hmp_off);
    let stderr = "";
    const stop = session.onReport((line) => stderr += line + "\n");
    assert.deepEqual(await setOne(session, capability, true), row.qmp_on);
    assert.equal(stderr, row.qmp_on_stderr ?? "");
    stop();
  });
});

Deno.test("every ordered pair of capabilities is judged as by QEMU, in HMP and in QMP", async () => {
  interface Row {
    context: string;
    first: string;
    second: string;
    out1: string;
    out2: string;
    on: string[];
    first_off?: string;
  }
  const { rows } = readTranscript("caps_pairs") as { rows: Row[] };
  await inContexts(rows, async (session, row) => {
    assert.equal(await hmp(session, `migrate_set_capability ${row.first} on`), row.out1, row.first);
    assert.equal(await hmp(session, `migrate_set_capability ${row.second} on`), row.out2, `${row.first} ${row.second}`);
    assert.deepEqual(on(session), row.on);
    assert.equal(await hmp(session, `migrate_set_capability ${row.first} off`), row.first_off ?? "");
    session.setCapabilities(allOff(session));
    const said = (text: string) => {
      const error = /^Error: (.*)\r\n$/.exec(text.replace(/^warning: .*\r\n/, ""));
      return error ? { error: { class: "GenericError", desc: error[1] } } : { return: {} };
    };
    assert.deepEqual(await setOne(session, row.first, true), said(row.out1));
    assert.deepEqual(await setOne(session, row.second, true), said(row.out2));
  });
});

Deno.test("every parameter takes and refuses values as in QEMU, in HMP and in QMP", async () => {
  interface Row {
    hmp?: string;
    out?: string;
    qmp?: { execute: string; arguments: Record<string, unknown> };
    reply?: unknown;
    line: string;
    qmp_value: unknown;
  }
  const { rows, defaults } = readTranscript("params_table") as { rows: Row[]; defaults: Record<string, unknown> };
  assert.equal(rows.length, 1259);
  await using bench = await Workbench.open({ ram: "1M", stopped: true });
  const { session } = bench;
  for (const row of rows) {
    const name = row.hmp ? row.hmp.split(/ +/)[1] : Object.keys(row.qmp!.arguments)[0];
    const what = row.hmp ?? `${name} ${Object.values(row.qmp!.arguments)}`;
    session.setParameters(defaults);
    if (row.hmp !== undefined) assert.equal(await hmp(session, row.hmp), row.out, what);
    else assert.deepEqual(await qmp(session, row.qmp!.execute, row.qmp!.arguments), row.reply, what);
    const listing = await hmp(session, "info migrate_parameters");
    assert.equal(listing.split("\r\n").find((line) => line.startsWith(name + ":")) ?? null, row.line ?? null, what);
    const values = await runQmp(session, "query-migrate-parameters", {}, { fds: session.fds }) as Record<
      string,
      unknown
    >;
    const expected = row.qmp_value instanceof JsonFloat ? row.qmp_value.value : row.qmp_value;
    assert.deepEqual(values[name], expected ?? undefined, what);
  }
});
