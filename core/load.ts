/**
 * Loading a guest: a fold over the records of its stream.
 *
 * Pages land where they belong as they come; the last copy of a page wins. Device sections and other iterables are kept
 * as bytes with their descriptions, so that the guest can be saved again in any form.
 *
 * Source: QEMU migration/savevm.c qemu_loadvm_state; ram.c ram_load_precopy.
 * @module
 */
import { GuestBuilder, matchBlocks } from "../guest/adopt.ts";
import type { Guest } from "../guest/guest.ts";
import { type RamBlock, SLOT } from "../guest/memory.ts";
import * as C from "../stream/constants.ts";
import { StreamDecoder } from "../stream/decode.ts";
import { hex, StreamError, TransportError, UnsupportedError } from "../stream/errors.ts";
import type {
  CommandRecord,
  DeviceRecord,
  RamBlockEntry,
  RamPagesRecord,
  SectionDataRecord,
  SectionRecord,
  StreamRecord,
} from "../stream/records.ts";
import type { LoadRequest } from "./dataplane.ts";
import { Lane, TouchAhead, WORTHWHILE } from "./lane.ts";
import { checkConfiguration } from "./load_configuration.ts";
import { type MappedArea, readMappedPages } from "./mapped_load.ts";
import { MultifdReceiver } from "./multifd_receiver.ts";
import { IncomingReturnPath } from "./return_path.ts";
import { ScatterRead } from "./scatter_read.ts";

/** Pages in a row after which more are expected to follow. */
const IN_A_ROW = 32;
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
  readonly #entries: RamBlockEntry[] = [];
  readonly #mapped: MappedArea[] = [];
  readonly #bodies = new Map<number, Uint8Array[]>();
  #returnPath?: IncomingReturnPath;
  /** Section whose body is being read. */
  #section?: SectionRecord;
  #blocks?: RamBlock[];
  #ramSectionId = 0;
  #pageRecords = 0;
  #footerSeen = false;
  #configured = false;
  #switchover = false;
  #vmdesc = false;
  #lastBreath = performance.now();
  #ahead?: TouchAhead;
  #scatter?: ScatterRead;
  #multifd?: MultifdReceiver;
  #flushSeen = false;

  constructor(request: LoadRequest) {
    this.#request = request;
    const { channel, expect } = request;
    if (!channel.read) throw new TransportError(`Unable to read from ${channel.noun}: Bad file descriptor`);
    const read = channel.read.bind(channel);
    this.#decoder = new StreamDecoder({
      name: channel.name,
      ...(channel.start !== undefined ? { start: channel.start } : {}),
      read,
      ...(channel.readAt ? { readAt: channel.readAt.bind(channel) } : {}),
      ...(channel.size ? { size: channel.size.bind(channel) } : {}),
    }, {
      sections: request.tables.sections,
      ignoreTrailing: true,
      requireConfiguration: expect?.globals.sendConfiguration ?? false,
    });
    this.#builder = new GuestBuilder(expect ? { expect } : {});
  }

  async run(): Promise<Guest> {
    const { report } = this.#request;
    try {
      await this.#read();
    } catch (thrown) {
      this.#request.signal.throwIfAborted();
      // a channel that failed woke the main one, whose error tells nothing
      const error = this.#multifd?.failure ?? thrown;
      if (!this.#decoder.eofSeen || !(error instanceof StreamError)) {
        if (this.#multifd?.failure) this.#reportChannel(this.#multifd.failure);
        else this.#reportFault(error);
        await this.#returnPath?.shut(1);
        throw error;
      }
      // everything a destination needs came before the end mark; QEMU does not look at the description either
      report(error.qemu[0] ?? error.message);
    } finally {
      this.#multifd?.stop();
      this.#ahead?.close();
      this.#scatter?.close();
    }
    const guest = this.#finish();
    await this.#returnPath?.shut(0);
    return guest;
  }

  async #read(): Promise<void> {
    const { signal, progress } = this.#request;
    const { reader } = this.#decoder;
    for await (const record of this.#decoder.records()) {
      const done = this.#apply(record);
      if (done) await done;
      if (performance.now() - this.#lastBreath < BREATH_MS) continue;
      progress?.(reader.offset + (this.#multifd?.bytes ?? 0), reader.source.size?.());
      await new Promise((resolve) => setTimeout(resolve, 0));
      signal.throwIfAborted();
      this.#lastBreath = performance.now();
    }
    progress?.(reader.offset, reader.source.size?.());
  }

  /** Not async: most records are batches of pages, and wait for nothing. */
  #apply(record: StreamRecord): void | Promise<void> {
    switch (record.kind) {
      case "ram-pages":
        return this.#pages(record);
      case "configuration":
        this.#configured = true;
        checkConfiguration(record, this.#request);
        this.#builder.setConfiguration({
          machine: record.machine,
          ...(record.targetPageBits !== undefined ? { targetPageBits: record.targetPageBits } : {}),
          ...(record.uuid ? { uuid: record.uuid } : {}),
        });
        return;
      case "section":
        this.#section = record;
        if (record.idstr === "ram") this.#ramSectionId = record.sectionId;
        if (this.#request.expect && record.type === "full") this.#checkDevice(record, this.#request.expect);
        return;
      case "ram-block":
        this.#entries.push(record.block);
        return;
      case "mapped-bitmap":
        this.#mapped.push({ entry: record.block, index: record.index, bitmap: record.bitmap.slice() });
        return;
      case "mapped-pages":
        if (record.data) this.#unsupported(record, "mapped-ram", "Migration requires seekable transport (e.g. file)");
        return;
      case "ram-mark":
        return this.#mark(record.flags, record);
      case "device":
        this.#device(record);
        return;
      case "section-data":
        this.#sectionData(record);
        return;
      case "command":
        return this.#command(record);
      case "footer":
        this.#footerSeen = true;
        this.#section = undefined;
        return;
      case "vmdescription":
        this.#vmdesc = true;
        return;
    }
  }

  /** The list is complete: make (or compare) the blocks. */
  #openBlocks(): RamBlock[] {
    if (this.#blocks) return this.#blocks;
    const { expect } = this.#request;
    const { reader } = this.#decoder;
    const mappedRam = this.#mapped.length > 0;
    const refused = expect && matchBlocks(expect, this.#entries, { mappedRam });
    if (refused) {
      throw new StreamError("Cannot accept RAM block list", {
        channel: reader.source.name,
        offset: this.#section!.offset,
        found: "blocks of another machine",
        expected: `those of ${expect.configuration.machine}`,
        qemu: [refused],
      });
    }
    const memory = this.#builder.setBlocks(
      this.#entries.map(({ idstr, usedLength, pageSize, address }) => ({
        idstr,
        usedLength,
        ...(pageSize !== undefined ? { pageSize } : {}),
        ...(address !== undefined ? { address } : {}),
      })),
      this.#decoder.ram.framing.pageSize,
      this.#ramSectionId,
    );
    return this.#blocks = this.#entries.map(({ idstr }) => memory.block(idstr)!);
  }

  /** Apply a run of page records. */
  #pages(record: RamPagesRecord): void | Promise<void> {
    const blocks = this.#openBlocks();
    const { count, bytes, dataAt, pageOffset, flags, dataLength, pageSize } = record;
    this.#pageRecords += count;
    for (let i = 0; i < count; i++) {
      const block = blocks[record.block[i]];
      const flag = flags[i];
      if (flag & C.RAM_SAVE_FLAG_PAGE) {
        block.land(pageOffset[i], bytes, dataAt[i], pageSize);
        if (pageOffset[i] % SLOT === 0) this.#ahead?.wrote(block, pageOffset[i]);
      } else if (flag & C.RAM_SAVE_FLAG_ZERO) {
        if (!block.isUntouched(pageOffset[i])) block.zero(pageOffset[i], pageSize);
      } else this.#codecPage(record, i, block, flag, bytes.subarray(dataAt[i], dataAt[i] + dataLength[i]));
    }
    const last = count - 1, first = count - IN_A_ROW;
    const inARow = first >= 0 && record.block[first] === record.block[last] &&
      pageOffset[last] - pageOffset[first] === (IN_A_ROW - 1) * pageSize &&
      dataAt[last] - dataAt[first] === (IN_A_ROW - 1) * (8 + pageSize);
    if (this.#scatter && inARow) {
      return this.#scatterFrom(blocks[record.block[last]], pageOffset[last] + pageSize, pageSize);
    }
  }

  /** Pages came in a row: take those that follow straight from the file, until the row ends. */
  async #scatterFrom(block: RamBlock, offset: number, pageSize: number): Promise<void> {
    const { reader } = this.#decoder;
    let position = reader.offset;
    while (offset < block.usedLength) {
      const good = this.#scatter!.read(block, offset, position, pageSize);
      this.#pageRecords += good;
      offset += good * pageSize;
      position += good * (8 + pageSize);
      if (good === 0 || (offset % SLOT !== 0 && offset < block.usedLength)) break;
      if (offset < block.usedLength) this.#ahead?.wrote(block, offset);
      if (performance.now() - this.#lastBreath >= BREATH_MS) await this.#breathe(position);
    }
    if (position > reader.offset) reader.seek(position);
  }

  async #breathe(position: number): Promise<void> {
    const { signal, progress } = this.#request;
    progress?.(position, this.#decoder.reader.source.size?.());
    await new Promise((resolve) => setTimeout(resolve, 0));
    signal.throwIfAborted();
    this.#lastBreath = performance.now();
  }

  /** A page that is not plain: its plugin knows. */
  #codecPage(record: RamPagesRecord, i: number, block: RamBlock, flag: number, payload: Uint8Array): void {
    const kind = flag & ~C.RAM_SAVE_FLAG_CONTINUE;
    const codec = this.#request.tables.ramFlags[kind];
    const offset = record.offset + record.at[i];
    const { channel, pageOffset, pageSize } = record;
    if (!codec) {
      throw new UnsupportedError(`Cannot place page ${hex(pageOffset[i])} of ${block.idstr}`, {
        channel,
        offset,
        found: `flags ${hex(kind)}`,
        expected: "a page, or a plugin that owns the flag",
        feature: kind === C.RAM_SAVE_FLAG_XBZRLE ? "xbzrle" : hex(kind),
      });
    }
    const refused = codec.apply(block.writable(pageOffset[i], pageSize), payload);
    if (refused) {
      throw new StreamError(`Cannot place page ${hex(pageOffset[i])} of ${block.idstr}`, {
        channel,
        offset,
        found: `a malformed ${codec.feature} record`,
        expected: "one that stays inside the page",
        qemu: [refused, `Failed to decompress XBZRLE page at ${pageOffset[i].toString(16)}`],
      });
    }
  }

  #mark(flags: number, record: StreamRecord): void | Promise<void> {
    const flush = (flags & C.RAM_SAVE_FLAG_MULTIFD_FLUSH) !== 0;
    if (flush) {
      if (!this.#packets) {
        this.#unsupported(record, "multifd", "pages are in the multifd channels, which this channel does not carry");
      }
      this.#flushSeen = true;
      return this.#syncMultifd();
    }
    if (!(flags & C.RAM_SAVE_FLAG_EOS)) return;
    // machine types up to 8.0 have no marks of their own: each end of a section is one
    const synced = this.#packets && !this.#flushSeen ? this.#syncMultifd() : undefined;
    return synced ? synced.then(() => this.#sectionEnd(record)) : this.#sectionEnd(record);
  }

  #sectionEnd(record: StreamRecord): void | Promise<void> {
    const type = this.#section?.type;
    if (type === "start" || type === "full") {
      const blocks = this.#openBlocks();
      this.#section = undefined;
      if (!this.#mapped.length) return this.#touchAhead();
      const { channel, channels, signal, progress } = this.#request;
      return readMappedPages({ channel, channels, areas: this.#mapped, blocks, signal, progress });
    }
    if (type === "end" && this.#pageRecords === 0 && !this.#mapped.length && this.#entries.length && !this.#multifd) {
      const shared = this.#decoder.ram.framing.ignoreShared;
      if (!shared) this.#unsupported(record, "multifd", "the main channel carries no page at all");
    }
    this.#section = undefined;
  }

  /** Further channels carry packets. With mapped-ram they read the file. */
  get #packets(): boolean {
    return !this.#decoder.ram.framing.mappedRam && (this.#request.channels?.length ?? 0) > 0;
  }

  #touchAhead(): void {
    const total = this.#entries.reduce((sum, entry) => sum + entry.usedLength, 0);
    if (total < WORTHWHILE) return;
    this.#ahead ??= new TouchAhead(Lane.start());
    const { channel } = this.#request;
    if (channel.file && channel.readAt && !this.#packets) this.#scatter ??= ScatterRead.open(channel.file.path);
  }

  /** Wait at a mark for the multifd channels; at the first one they begin. */
  #syncMultifd(): Promise<void> {
    if (!this.#multifd) {
      const { channel, channels, parameter, tables } = this.#request;
      const blocks = this.#openBlocks();
      const compression = parameter("multifd-compression");
      this.#touchAhead();
      this.#multifd = new MultifdReceiver({
        channels: channels!,
        block: (idstr) => blocks.find((block) => block.idstr === idstr),
        pageSize: this.#decoder.ram.framing.pageSize,
        codec: Object.values(tables.multifd ?? {}).find(({ name }) => name === compression),
        ahead: this.#ahead,
        onFailure: () => channel.abort(),
      });
      this.#multifd.start();
    }
    return this.#multifd.sync();
  }

  /** A strict destination has the devices of its machine, in their versions. */
  #checkDevice(section: SectionRecord, expect: Guest): void {
    const { idstr, instanceId, versionId, offset } = section;
    if (idstr === "ram") return;
    const own = expect.devices.find((device) => device.idstr === idstr && device.instanceId === instanceId);
    const fault = (found: string, expected: string, qemu: string) => {
      this.#section = undefined;
      throw new StreamError("Cannot accept section", {
        channel: section.channel,
        offset,
        found,
        expected,
        qemu: [qemu],
      });
    };
    if (!own) {
      fault(
        `${idstr} instance ${instanceId}`,
        `a device of ${expect.configuration.machine}`,
        `Unknown savevm section or instance '${idstr}' ${instanceId}. Make sure that your current VM setup matches your ` +
          `saved VM setup, including any hotplugged devices`,
      );
    } else if (versionId > own.versionId) {
      fault(
        `version ${versionId} of ${idstr}`,
        `at most ${own.versionId}`,
        `savevm: unsupported version ${versionId} for '${idstr}' v${own.versionId}`,
      );
    }
  }

  #device(record: DeviceRecord): void {
    const { idstr, instanceId, versionId, sectionId, body, early } = record;
    this.#section = undefined;
    this.#builder.addDevice({
      idstr,
      instanceId,
      versionId,
      sectionId,
      body: body.slice(),
      ...(early ? { early } : {}),
    });
  }

  #sectionData(record: SectionDataRecord): void {
    const section = this.#section!;
    const key = section.offset;
    const pieces = this.#bodies.get(key) ?? [];
    if (!pieces.length) this.#bodies.clear();
    pieces.push(record.data.slice());
    this.#bodies.set(key, pieces);
    const body = concat(pieces);
    const { idstr, instanceId, versionId, sectionId } = section;
    const whole = pieces.length > 1;
    if (section.type === "start") this.#builder.startIterable({ idstr, instanceId, versionId, sectionId }, body);
    else if (section.type === "end") this.#builder.endIterable(sectionId, body);
    else if (whole) this.#builder.replacePart(sectionId, body);
    else this.#builder.addPart(sectionId, body);
  }

  async #command(record: CommandRecord): Promise<void> {
    const { name, payload } = record;
    const { capability, anyCapabilities, report } = this.#request;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const refuse = (found: string, expected: string, qemu: string, reason = "Invalid argument"): never => {
      throw new StreamError(`Cannot accept command ${name}`, {
        channel: record.channel,
        offset: record.offset,
        found,
        expected,
        qemu: [qemu],
        reason,
      });
    };
    switch (name) {
      case "OPEN_RETURN_PATH":
        if (this.#returnPath) report("CMD_OPEN_RETURN_PATH called when RP already open");
        this.#returnPath ??= new IncomingReturnPath(this.#request.channel);
        return;
      case "PING":
        return await this.#returnPath?.pong(view.getUint32(0));
      case "SWITCHOVER_START":
        this.#switchover = true;
        return;
      case "POSTCOPY_ADVISE": {
        if (anyCapabilities) return;
        const on = capability("postcopy-ram");
        if (payload.length && !on) {
          refuse("postcopy-ram off here", "it on", "RAM postcopy is disabled but have 16 byte advise");
        }
        if (!payload.length && on) {
          refuse("postcopy-ram on here", "it off", "RAM postcopy is enabled but have 0 byte advise");
        }
        return;
      }
      case "POSTCOPY_LISTEN":
        if (!anyCapabilities) {
          this.#unsupported(record, "postcopy-ram", "a live postcopy asks for pages over the return path");
        }
        return;
      case "ENABLE_COLO":
        if (!capability("x-colo")) {
          refuse(
            "x-colo off here",
            "it on",
            "ENABLE_COLO command come in migration stream, but x-colo capability is not set",
          );
        }
        return;
    }
  }

  #finish(): Guest {
    const { description } = this.#decoder;
    if (this.#entries.length) this.#openBlocks();
    if (description) {
      this.#builder.describe(
        description.devices.map(({ name, instanceId, text }) => ({ idstr: name, instanceId, text })),
      );
    }
    this.#builder.setGlobals({
      sendConfiguration: this.#configured,
      sendSectionFooter: this.#footerSeen,
      sendSwitchoverStart: this.#switchover,
      suppressVmdesc: !this.#vmdesc,
      storeGlobalState: this.#builder.savedRunState !== undefined,
    });
    return this.#builder.finish();
  }

  #unsupported(record: StreamRecord, feature: string, found: string): never {
    throw new UnsupportedError(`Cannot load a stream of ${feature}`, {
      channel: record.channel,
      offset: record.offset,
      found,
      feature,
    });
  }

  /** What a multifd channel says of its end is the whole story. */
  #reportChannel(error: Error): void {
    const { report, channelFailed } = this.#request;
    const description = error instanceof StreamError ? error.qemu[0] ?? error.message : error.message;
    channelFailed?.(description);
    // other errors are reported by who asked for the load
    if (error instanceof StreamError) report(description);
  }

  /** Say what QEMU says about the fault: from the inside out, then the section it happened in. */
  #reportFault(error: unknown): void {
    const { report } = this.#request;
    const lines = error instanceof StreamError ? [...error.qemu] : [];
    const section = this.#section;
    const framing = lines.some((line) => /section footer|Mismatched section|error while loading/.test(line));
    if (section && !framing) {
      const { type, idstr, instanceId, sectionId } = section;
      lines.push(
        type === "start" || type === "full"
          ? `error while loading state for instance ${hex(instanceId)} of device '${idstr}'`
          : `error while loading state section id ${sectionId}(${idstr})`,
      );
    }
    for (const line of lines) report(line);
  }
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
