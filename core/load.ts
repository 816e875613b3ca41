/**
 * Loading a guest: a fold over the records of its stream.
 *
 *     RAM        load_ram.ts: pages land where they belong as they come
 *     devices    load_devices.ts: kept as bytes with their descriptions
 *     commands   load_commands.ts: followed, and answered on the return path
 *
 * Source: QEMU migration/savevm.c qemu_loadvm_state.
 * @module
 */
import { GuestBuilder } from "../guest/adopt.ts";
import type { Guest } from "../guest/guest.ts";
import * as C from "../stream/constants.ts";
import { StreamDecoder } from "../stream/decode.ts";
import { StreamError, TransportError } from "../stream/errors.ts";
import type { ConfigurationRecord, SectionRecord, StreamRecord } from "../stream/records.ts";
import type { LoadRequest } from "./dataplane.ts";
import { CommandLoad } from "./load_commands.ts";
import { checkConfiguration } from "./load_configuration.ts";
import { checkDevice, DeviceLoad } from "./load_devices.ts";
import { reportChannel, reportFault, unsupported } from "./load_faults.ts";
import { RamLoad } from "./load_ram.ts";

/** Milliseconds of work after which the event loop gets its turn and progress is told. */
const BREATH_MS = 15;

/**
 * Read one stream to its end. Lines QEMU would print about a fault were reported when it rejects.
 * @throws {StreamError} what was wrong with the bytes, with `reason` as QEMU words the errno
 * @throws {TransportError} the channel failed
 */
export function loadGuest(request: LoadRequest): Promise<Guest> {
  return new Load(request).run();
}

class Load {
  readonly #request: LoadRequest;
  readonly #decoder: StreamDecoder;
  readonly #builder: GuestBuilder;
  readonly #ram: RamLoad;
  readonly #devices: DeviceLoad;
  readonly #commands: CommandLoad;
  /** Section whose body is being read. */
  #section?: SectionRecord;
  #footerSeen = false;
  #configured = false;
  #vmdesc = false;
  #lastBreath = performance.now();

  constructor(request: LoadRequest) {
    this.#request = request;
    const { channel, expect } = request;
    if (!channel.read) throw new TransportError(`Unable to read from ${channel.noun}: Bad file descriptor`);
    this.#decoder = new StreamDecoder({
      name: channel.name,
      ...(channel.start !== undefined ? { start: channel.start } : {}),
      read: channel.read.bind(channel),
      ...(channel.readAt ? { readAt: channel.readAt.bind(channel) } : {}),
      ...(channel.size ? { size: channel.size.bind(channel) } : {}),
    }, {
      sections: request.tables.sections,
      ignoreTrailing: true,
      requireConfiguration: expect?.globals.sendConfiguration ?? false,
    });
    this.#builder = new GuestBuilder(expect ? { expect } : {});
    this.#devices = new DeviceLoad(this.#builder);
    this.#ram = new RamLoad({
      request,
      decoder: this.#decoder,
      builder: this.#builder,
      breathe: (position) => this.#breathe(position),
    });
    this.#commands = new CommandLoad(request, (payload) => this.#ram.discard(payload));
  }

  async run(): Promise<Guest> {
    const { report } = this.#request;
    try {
      await this.#read();
    } catch (thrown) {
      this.#request.signal.throwIfAborted();
      // a channel that failed woke the main one, whose error tells nothing
      const failure = this.#ram.channelFailure;
      const error = failure ?? thrown;
      if (!this.#decoder.eofSeen || !(error instanceof StreamError)) {
        if (failure) reportChannel(this.#request, failure);
        else reportFault(this.#request, error, this.#section);
        await this.#commands.shut(1);
        throw error;
      }
      // everything a destination needs came before the end mark; QEMU does not look at the description either
      report(error.qemu[0] ?? error.message);
    } finally {
      await this.#ram.close();
    }
    const guest = this.#finish();
    await this.#commands.shut(0);
    return guest;
  }

  async #read(): Promise<void> {
    const { progress } = this.#request;
    const { reader } = this.#decoder;
    for await (const record of this.#decoder.records()) {
      const done = this.#apply(record);
      if (done) await done;
      const wait = this.#breathe(reader.offset);
      if (wait) await wait;
    }
    progress?.(reader.offset, reader.source.size?.());
  }

  /** Let others run when it is time to. @throws when the load was given up */
  #breathe(position: number): Promise<void> | undefined {
    return performance.now() - this.#lastBreath < BREATH_MS ? undefined : this.#pause(position);
  }

  async #pause(position: number): Promise<void> {
    const { signal, progress } = this.#request;
    progress?.(position + this.#ram.furtherBytes, this.#decoder.reader.source.size?.());
    await new Promise((resolve) => setTimeout(resolve, 0));
    signal.throwIfAborted();
    this.#lastBreath = performance.now();
  }

  /** Not async: most records are batches of pages, and wait for nothing. */
  #apply(record: StreamRecord): void | Promise<void> {
    switch (record.kind) {
      case "ram-pages":
        return this.#ram.pages(record);
      case "ram-block":
        return this.#ram.listed(record.block);
      case "mapped-bitmap":
        return this.#ram.bitmap(record);
      case "mapped-pages":
        if (record.data) unsupported(record, "mapped-ram", "Migration requires seekable transport (e.g. file)");
        return;
      case "ram-mark": {
        const wait = this.#ram.mark(record);
        // what fails from here on is not the section's fault
        if (record.flags & C.RAM_SAVE_FLAG_EOS) this.#section = undefined;
        return wait;
      }
      case "configuration":
        return this.#configuration(record);
      case "section":
        return this.#begin(record);
      case "device":
        this.#section = undefined;
        return this.#devices.device(record);
      case "section-data":
        return this.#devices.piece(this.#section!, record);
      case "command":
        return this.#commands.apply(record);
      case "footer":
        this.#footerSeen = true;
        this.#section = undefined;
        return;
      case "vmdescription":
        this.#vmdesc = true;
        return;
    }
  }

  #configuration(record: ConfigurationRecord): void {
    this.#configured = true;
    checkConfiguration(record, this.#request);
    this.#builder.setConfiguration({
      machine: record.machine,
      ...(record.targetPageBits !== undefined ? { targetPageBits: record.targetPageBits } : {}),
      ...(record.uuid ? { uuid: record.uuid } : {}),
    });
  }

  #begin(record: SectionRecord): void {
    if (record.idstr === "ram") this.#ram.begin(record);
    if (this.#request.expect && record.type === "full") checkDevice(record, this.#request.expect);
    this.#section = record;
  }

  #finish(): Guest {
    const { description } = this.#decoder;
    this.#ram.finish();
    if (description) {
      this.#builder.describe(
        description.devices.map(({ name, instanceId, text }) => ({ idstr: name, instanceId, text })),
      );
    }
    this.#builder.setGlobals({
      sendConfiguration: this.#configured,
      sendSectionFooter: this.#footerSeen,
      sendSwitchoverStart: this.#commands.switchover,
      suppressVmdesc: !this.#vmdesc,
      storeGlobalState: this.#builder.savedRunState !== undefined,
    });
    return this.#builder.finish();
  }
}
