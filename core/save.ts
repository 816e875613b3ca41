/**
 * Saving a guest: the order of a precopy stream.
 *
 *     header [configuration] [OPEN_RETURN_PATH PING 1] [POSTCOPY_ADVISE]
 *     START ram, START others, early devices                 -> setupDone
 *     { PART ram }                                           until little enough is left
 *     -> switchover [SWITCHOVER_START] END ram, END others, FULL devices, EOF [VMDESCRIPTION]
 *
 * Source: QEMU migration/migration.c migration_thread, migration_completion_precopy; savevm.c qemu_savevm_state_*.
 * @module
 */
import { SLOT } from "../guest/memory.ts";
import { encodeConfiguration } from "../stream/configuration.ts";
import * as C from "../stream/constants.ts";
import * as encode from "../stream/encode.ts";
import { TransportError } from "../stream/errors.ts";
import { StreamWriter } from "../stream/writer.ts";
import { mayStartWorkers } from "../threads/may_start.ts";
import { exchangeInto, WriteBehind } from "../threads/write_behind.ts";
import type { SaveRequest } from "./dataplane.ts";
import { errnoText } from "./errno.ts";
import { WORTHWHILE } from "./lane.ts";
import { Pace } from "./pace.ts";
import { plainPages } from "./plain_pages.ts";
import type { RamSaveContext } from "./plugin.ts";
import { OutgoingReturnPath } from "./return_path.ts";
import { DeviceWriter } from "./save_devices.ts";

/** Staging of the writer: one slot of pages with their headers, small enough to stay in the processor's cache. */
const STAGING = SLOT + SLOT / 64 + 1024;
/** Milliseconds of one PART before the next begins (MAX_WAIT in migration/ram.c). */
const PART_MS = 50;

/** Write the whole guest into the request's channel. Rejects with the signal's reason when cancelled. */
export function saveGuest(request: SaveRequest): Promise<void> {
  return new Save(request).run();
}

class Save {
  readonly #request: SaveRequest;
  readonly #writer: StreamWriter;
  readonly #behind: WriteBehind | undefined;
  readonly #context: RamSaveContext;
  readonly #pace: Pace;
  readonly #devices: DeviceWriter;
  /** Bytes that went through the channel's `write`, and beside it. */
  #streamed = 0;
  #beside = 0;
  /** Next range: block index and offset. */
  #block = 0;
  #offset = 0;
  #stopped = false;

  constructor(request: SaveRequest) {
    this.#request = request;
    const { channel, guest, counters, capability, parameter } = request;
    const count = (n: number) => {
      this.#streamed += n;
      counters.transferred = this.#streamed + this.#beside;
    };
    this.#behind = request.strategy ? undefined : writeBehind(request);
    const exchange = this.#behind && exchangeInto(this.#behind, channel.start ?? 0);
    this.#writer = new StreamWriter({
      name: channel.name,
      ...(exchange
        ? {
          exchange: (filled: Uint8Array<ArrayBuffer> | undefined, length: number) => {
            count(length);
            return exchange(filled, length);
          },
        }
        : {}),
      start: channel.start ?? 0,
      write: (view) => {
        const done = channel.write!(view);
        return done instanceof Promise ? done.then(() => count(view.length)) : count(view.length);
      },
      ...(channel.seek ? { seek: (to: number) => channel.seek!(to) } : {}),
    }, STAGING);
    this.#devices = new DeviceWriter(guest, this.#writer, () => request.observer.runState());
    this.#pace = new Pace(parameter, (bytesPerSecond, pagesPerSecond) => {
      const perMs = Math.max(bytesPerSecond / 1000, 1);
      request.onRate?.({ bytesPerSecond, pagesPerSecond, expectedDowntimeMs: Math.round(counters.remaining / perMs) });
    });
    this.#context = {
      guest,
      channel,
      writer: this.#writer,
      channels: request.channels ?? [],
      tables: request.tables ?? {},
      pageSize: guest.targetPageSize,
      counters,
      detectZero: parameter("zero-page-detection") !== "none",
      capability,
      parameter,
      sent: (bytes) => {
        if (this.#stopped || request.observer.runState() !== "running") counters.downtimeBytes += bytes;
        else counters.precopyBytes += bytes;
      },
      beside: (bytes) => {
        this.#beside += bytes;
        counters.transferred = this.#streamed + this.#beside;
      },
    };
  }

  async run(): Promise<void> {
    try {
      await this.#run();
    } finally {
      this.#behind?.[Symbol.dispose]();
      await this.#request.strategy?.close?.(this.#context);
    }
  }

  async #run(): Promise<void> {
    const { observer, counters, guest, channel } = this.#request;
    const returnPath = this.#capability("return-path") || this.#capability("postcopy-ram")
      ? new OutgoingReturnPath(channel)
      : undefined;
    counters.remaining = guest.memory.totalBytes;
    await this.#setup(returnPath !== undefined);
    await this.#iterate();
    this.#check();
    await observer.switchover();
    this.#stopped = true;
    this.#check();
    await this.#complete();
    await this.#writer.flush();
    await this.#behind?.drain();
    this.#check();
    await returnPath?.finish();
  }

  #capability(name: string): boolean {
    return this.#request.capability(name);
  }

  #check(): void {
    this.#request.signal.throwIfAborted();
  }

  async #setup(returnPath: boolean): Promise<void> {
    const { guest, observer, counters } = this.#request;
    const writer = this.#writer;
    await encode.encodeHeader(writer);
    if (guest.globals.sendConfiguration) await encodeConfiguration(writer, this.#configuration());
    if (returnPath) {
      await encode.encodeCommand(writer, C.MIG_CMD.indexOf("OPEN_RETURN_PATH"), new Uint8Array());
      await encode.encodeCommand(writer, C.MIG_CMD.indexOf("PING"), Uint8Array.of(0, 0, 0, 1));
    }
    if (this.#capability("postcopy-ram") || this.#capability("dirty-bitmaps")) await this.#advise();
    try {
      await this.#startRam();
      await this.#devices.starts();
      await writer.flush();
    } catch (error) {
      this.#check();
      if (!(error instanceof TransportError)) throw error;
      counters.dirtySyncCount = 1;
      observer.setupDone();
      throw new TransportError("ram_save_setup failed: Input/output error", { cause: error });
    }
    await this.#devices.bodies(true);
    await writer.flush();
    counters.dirtySyncCount = 1;
    observer.setupDone();
  }

  /** The configuration this stream begins with: validated capabilities in enum order. */
  #configuration() {
    const { machine, targetPageBits, uuid } = this.#request.guest.configuration;
    const capabilities = ["x-ignore-shared", "mapped-ram"].filter((name) => this.#capability(name));
    return {
      machine,
      ...(targetPageBits !== undefined ? { targetPageBits } : {}),
      ...(capabilities.length ? { capabilities } : {}),
      ...(uuid && this.#capability("validate-uuid") ? { uuid } : {}),
    };
  }

  async #advise(): Promise<void> {
    const { guest } = this.#request;
    const payload = new Uint8Array(this.#capability("postcopy-ram") ? 16 : 0);
    if (payload.length) {
      const view = new DataView(payload.buffer);
      view.setBigUint64(0, BigInt(guest.memory.blocks.reduce((sum, block) => sum | block.pageSize, 0)));
      view.setBigUint64(8, BigInt(guest.targetPageSize));
    }
    await encode.encodeCommand(this.#writer, C.MIG_CMD.indexOf("POSTCOPY_ADVISE"), payload);
  }

  async #startRam(): Promise<void> {
    const { guest, strategy } = this.#request;
    const writer = this.#writer;
    await encode.encodeSection(writer, this.#ramSection("start"));
    await writer.room(8);
    writer.u64(BigInt(guest.memory.totalBytes) | BigInt(C.RAM_SAVE_FLAG_MEM_SIZE));
    for (const block of guest.memory.blocks) {
      const huge = this.#capability("postcopy-ram") && block.pageSize !== Math.max(4096, guest.targetPageSize);
      await encode.encodeRamBlock(writer, {
        idstr: block.idstr,
        usedLength: block.usedLength,
        ...(huge ? { pageSize: block.pageSize } : {}),
        ...(this.#capability("x-ignore-shared") ? { address: block.address ?? 0n } : {}),
      });
      await strategy?.setupBlock?.(this.#context, block);
    }
    await strategy?.setupEnd?.(this.#context);
    await this.#ramEnd();
  }

  /** PARTs until what is left may be sent while the guest stands still. */
  async #iterate(): Promise<void> {
    const { counters } = this.#request;
    while (counters.remaining > 0 && !(counters.remaining < this.#pace.threshold)) {
      await encode.encodeSection(this.#writer, this.#ramSection("part"));
      const until = performance.now() + PART_MS;
      let full = false;
      while (counters.remaining > 0 && !full && performance.now() < until) {
        await this.#range();
        full = this.#pace.account(counters.transferred + this.#writer.pos, counters.normal + counters.duplicate);
        const breath = this.#pace.breathe();
        if (breath) await breath;
        this.#check();
      }
      this.#context.sent(8);
      await this.#ramEnd();
      if (full) {
        await this.#writer.flush();
        await this.#pace.rest(counters.transferred, counters.normal + counters.duplicate, this.#request.signal);
        this.#check();
      }
    }
    await this.#writer.flush();
  }

  /** Send the next range of at most one slot. */
  async #range(): Promise<void> {
    const { guest, counters, strategy, report } = this.#request;
    const block = guest.memory.blocks[this.#block];
    const offset = this.#offset;
    const length = Math.min(SLOT - offset % SLOT, block.usedLength - offset);
    try {
      const done = (strategy ?? plainPages).saveRange(this.#context, { block, offset, length });
      if (done) await done;
    } catch (error) {
      this.#check();
      if (error instanceof TransportError) {
        report?.(`failed to save SaveStateEntry with id(name): ${guest.ramSectionId}(ram): -5`);
      }
      throw error;
    }
    counters.remaining -= length;
    this.#offset += length;
    if (this.#offset >= block.usedLength) {
      this.#block++;
      this.#offset = 0;
    }
  }

  async #complete(): Promise<void> {
    const { guest, counters, observer, strategy } = this.#request;
    const writer = this.#writer;
    if (guest.globals.sendSwitchoverStart) {
      await encode.encodeCommand(writer, C.MIG_CMD.indexOf("SWITCHOVER_START"), new Uint8Array());
    }
    counters.dirtySyncCount++;
    observer.pass();
    await encode.encodeSection(writer, this.#ramSection("end"));
    while (counters.remaining > 0) {
      await this.#range();
      const breath = this.#pace.breathe();
      if (breath) await breath;
      this.#check();
    }
    await strategy?.complete?.(this.#context);
    await this.#ramEnd();
    await this.#devices.ends();
    await this.#devices.bodies(false);
    await writer.room(1);
    writer.u8(C.QEMU_VM_EOF);
    if (!guest.globals.suppressVmdesc) {
      const text = this.#devices.description(guest.globals.sendConfiguration ? this.#configuration() : undefined);
      await encode.encodeVmdescription(writer, new TextEncoder().encode(text));
    }
  }

  #ramSection(type: "start" | "part" | "end") {
    return {
      type,
      sectionId: this.#request.guest.ramSectionId,
      idstr: "ram",
      instanceId: 0,
      versionId: C.RAM_SAVE_VERSION,
    };
  }

  /** End a section of ram. */
  async #ramEnd(): Promise<void> {
    const { guest, strategy } = this.#request;
    await this.#writer.room(8);
    this.#writer.u64(C.RAM_SAVE_FLAG_EOS);
    await this.#devices.footer(guest.ramSectionId);
    await strategy?.sectionEnd?.(this.#context);
  }
}

/** A second thread to write with, where the channel is a file and there is enough to write. */
function writeBehind({ channel, guest }: SaveRequest): WriteBehind | undefined {
  if (!channel.file || guest.memory.totalBytes < WORTHWHILE || !mayStartWorkers()) return undefined;
  try {
    return new WriteBehind(channel.file.path, STAGING, (error) => {
      return new TransportError(`Unable to write to ${channel.noun}: ${errnoText(error)}`, { cause: error });
    });
  } catch {
    return undefined;
  }
}
