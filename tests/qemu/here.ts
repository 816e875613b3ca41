/**
 * This side of a migration between a real QEMU and the product: one call each for save, load and listen.
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { newRamCounters, type RamCounters } from "../../core/plugin.ts";
import { loadGuest } from "../../core/load.ts";
import { saveGuest } from "../../core/save.ts";
import type { Transport, TransportContext } from "../../core/transport.ts";
import type { Guest, RunState } from "../../guest/guest.ts";
import { mappedRam } from "../../plugins/mapped_ram.ts";
import { execTransport } from "../../transports/exec.ts";
import { fileTransport } from "../../transports/file.ts";
import { tcpTransport } from "../../transports/tcp.ts";
import { unixTransport } from "../../transports/unix.ts";
import type { Qemu } from "./qemu.ts";

const TRANSPORTS: readonly Transport[] = [fileTransport, execTransport, unixTransport, tcpTransport];
const PARAMETERS: Record<string, unknown> = {
  "max-bandwidth": 0,
  "downtime-limit": 300,
  "avail-switchover-bandwidth": 0,
  "zero-page-detection": "multifd",
};

/** How a stream leaves or enters. */
export interface Options {
  readonly capabilities?: readonly string[];
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** What the guest is said to have been doing; default: as it was saved, or prelaunch. */
  readonly runState?: RunState;
}

function context(): TransportContext {
  return { takeNamedFd: () => undefined, fdset: () => undefined, warn: () => {}, report: () => {} };
}

function transportOf(uri: string): [Transport, rest: string] {
  const at = uri.indexOf(":");
  const transport = TRANSPORTS.find(({ scheme }) => scheme === uri.slice(0, at));
  assert(transport, `no transport for ${uri}`);
  return [transport, uri.slice(at + 1)];
}

/** Save a guest to `uri`. */
export async function saveHere(guest: Guest, uri: string, options: Options = {}): Promise<RamCounters> {
  const [transport, rest] = transportOf(uri);
  const channel = await transport.connect(transport.parse(rest), context());
  const capabilities = options.capabilities ?? [];
  const counters = newRamCounters();
  try {
    await saveGuest({
      guest,
      channel,
      capability: (name) => capabilities.includes(name),
      parameter: (name) => ({ ...PARAMETERS, ...options.parameters })[name],
      ...(capabilities.includes("mapped-ram") ? { strategy: mappedRam.ramStrategy! } : {}),
      counters,
      signal: new AbortController().signal,
      observer: {
        setupDone() {},
        pass() {},
        switchover() {},
        runState: () => options.runState ?? guest.savedRunState ?? "prelaunch",
      },
    });
  } finally {
    await channel.close();
  }
  return counters;
}

/** A destination that waits: where it can be reached, and the guest that will have come. */
export interface Waiting {
  readonly uri: string;
  readonly guest: Promise<Guest>;
}

/** Wait for a guest at `uri`; the `uri` answered has the port that was chosen. */
export function listenHere(uri: string, options: Options = {}): Waiting {
  const [transport, rest] = transportOf(uri);
  const listener = transport.listen(transport.parse(rest), context());
  const address = listener.addresses?.[0];
  const capabilities = options.capabilities ?? [];
  const reported: string[] = [];
  const guest = (async () => {
    const channel = await listener.accept();
    try {
      return await loadGuest({
        channel,
        capability: (name) => capabilities.includes(name),
        parameter: (name) => ({ ...PARAMETERS, ...options.parameters })[name],
        tables: { sections: {}, ramFlags: {} },
        signal: new AbortController().signal,
        report: (line) => reported.push(line),
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}; reported: ${reported.join("; ")}`, { cause: error });
    } finally {
      await channel.close();
      listener.close();
    }
  })();
  guest.catch(() => {}); // whoever awaits it is told
  return { uri: address ? transport.format(address) : uri, guest };
}

/** Load a guest from `uri`. */
export function loadHere(uri: string, options: Options = {}): Promise<Guest> {
  return listenHere(uri, options).guest;
}

/** Every page the guest's processor can see is as QEMU's own `pmemsave` of the same guest has it. */
export async function assertSameMemory(vm: Qemu, guest: Guest): Promise<void> {
  assert(guest.physical?.length, "it is not known where the guest's RAM lies");
  for (const { base, length, idstr, blockOffset } of guest.physical) {
    const theirs = await vm.pmemsave(base, length);
    assert.equal(theirs.length, length, `pmemsave of ${idstr}`);
    const ours = new Uint8Array(length);
    guest.memory.block(idstr)!.read(blockOffset, ours);
    assertSameBytes(ours, theirs, `${idstr} at guest-physical 0x${base.toString(16)}`);
  }
}

/** A piece of a block. */
export interface BlockRange {
  readonly block: string;
  readonly offset: number;
  readonly length: number;
}

/** Every block of both guests is the same, byte for byte, but for what is known to change. */
export function assertSameBlocks(a: Guest, b: Guest, changing: readonly BlockRange[] = []): void {
  assert.deepEqual(
    a.memory.blocks.map(({ idstr, usedLength }) => [idstr, usedLength]),
    b.memory.blocks.map(({ idstr, usedLength }) => [idstr, usedLength]),
  );
  for (const block of a.memory.blocks) {
    const left = new Uint8Array(block.usedLength), right = new Uint8Array(block.usedLength);
    block.read(0, left);
    b.memory.block(block.idstr)!.read(0, right);
    for (const { block: idstr, offset, length } of changing) {
      if (idstr !== block.idstr) continue;
      left.fill(0, offset, offset + length);
      right.fill(0, offset, offset + length);
    }
    assertSameBytes(left, right, block.idstr);
  }
}

/** Compare without printing megabytes: the first place that differs is named. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (actual.length === expected.length && Buffer.compare(actual, expected) === 0) return;
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  assert.fail(`${what}: ${actual.length} and ${expected.length} bytes, first different at 0x${at.toString(16)}`);
}
