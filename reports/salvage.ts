/**
 * `salvage`: what a damaged or truncated file still holds, and a list of what is lost.
 *
 *     DIR/ram/NAME.raw             content of each block; lost pages are holes
 *     DIR/devices/NAME.N.bin       body of each device section, NAME.N.json its fields
 *     DIR/iterables/NAME.N.bin     bodies of an iterable other than ram, end to end
 *     DIR/vmdescription.json       the description, where it is there
 *     DIR/domain.xml               of a libvirt image
 *     DIR/salvage.json, .txt       this report
 *
 * The directory appears when it is complete. Pages are as the file has them last: of a save that was cut short, a later copy
 * may be what is missing.
 * @module
 */
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { Breath, type LongWork } from "../containers/breath.ts";
import { errorText } from "../containers/file_source.ts";
import { ImageDevice } from "../containers/image_device.ts";
import { TransportError } from "../stream/errors.ts";
import type { Tables } from "../stream/tables.ts";
import { type JoinedPieces, joinPieces, type SalvagedChannel } from "./salvage_channels.ts";
import { type Opened, openGiven, openMain } from "./salvage_open.ts";
import { type SalvagedIterable, salvageIterables } from "./salvage_iterable.ts";
import { findMappedBlocks, type MappedBlock, mappedBlockOf } from "./salvage_mapped.ts";
import { type Damage, type Pieces, readPieces } from "./salvage_pieces.ts";
import { type SalvagedBlock, salvageMapped, salvagePages, type SalvageTarget } from "./salvage_ram.ts";
import { salvageText } from "./salvage_text.ts";

/** How to salvage. */
export interface SalvageOptions extends LongWork {
  /** Where in the file the stream begins. Default 0. */
  readonly offset?: number;
  /** Files of the further channels of a multifd or postcopy-preempt migration. */
  readonly channels?: readonly string[];
  /** Codecs of plugins. */
  readonly tables?: Partial<Tables>;
  /** Told when the file was read and something is about to be written. */
  readonly onWrite?: () => void;
}

/** A device that was recovered. */
export interface SalvagedDevice {
  /** idstr of the section. */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instanceId: number;
  /** Version of its layout. */
  readonly version: number;
  /** Of the body, in the file. */
  readonly offset: number;
  /** Of the body. */
  readonly bytes: number;
  /** Its bytes, in the directory. */
  readonly file: string;
  /** Why its fields are not all decoded. */
  readonly problem?: string;
}

/** What was recovered and what was not: `salvage --json`. */
export interface SalvageReport {
  /** As it was given. */
  readonly path: string;
  /** Size of the file. */
  readonly bytes: number;
  /** Versioned machine name; null where that is lost. */
  readonly machine: string | null;
  /** Nothing is wrong with the file, and with those of further channels. */
  readonly intact: boolean;
  /** Further channels that were given. */
  readonly channels: readonly SalvagedChannel[];
  /** Where decoding stopped, and why. */
  readonly damages: readonly Damage[];
  /** Blocks with any page or a known length. */
  readonly ram: readonly SalvagedBlock[];
  /** Devices that were recovered. */
  readonly devices: readonly SalvagedDevice[];
  /** Iterable sections other than ram that were recovered, as bytes. */
  readonly iterables: readonly SalvagedIterable[];
  /** What was not. */
  readonly lost: {
    /** Pages of all blocks. */
    readonly pages: number;
    /** Devices the description lists and the file does not hold any more; null: there is no description to tell. */
    readonly devices: readonly { readonly name: string; readonly instanceId: number }[] | null;
    /** What cannot be counted, each a sentence. */
    readonly notes: readonly string[];
  };
}

/**
 * Recover what a file holds into a new directory.
 * @param path      of the damaged file, "-" for standard input
 * @param directory that does not exist yet, or is empty
 * @throws {TransportError} when the file cannot be read, or the directory not be made
 */
export async function salvageImage(
  path: string,
  directory: string,
  options: SalvageOptions = {},
): Promise<SalvageReport> {
  const { channels = [], tables = {} } = options;
  const given = await openGiven(channels);
  let opened: Opened | undefined;
  let joined: JoinedPieces | undefined;
  try {
    opened = await openMain(path, options.offset ?? 0);
    const bytes = given.reduce((sum, { source }) => sum + source.size!(), opened.source.size!());
    const breath = new Breath(bytes, options);
    const found = await readPieces(opened.source, tables, breath);
    joined = await joinPieces(found, given, tables, breath);
    options.onWrite?.();
    const part = makePart(directory);
    try {
      const report = await new Salvage(path, opened, part, tables, breath).write(found, joined);
      if (fs.existsSync(directory)) fs.rmdirSync(directory);
      fs.renameSync(part, directory);
      return report;
    } catch (error) {
      fs.rmSync(part, { recursive: true, force: true });
      throw error;
    }
  } finally {
    joined?.close();
    opened?.close();
    for (const { close } of given) close();
  }
}

/** A directory beside the one that is wanted. */
function makePart(directory: string): string {
  try {
    if (fs.existsSync(directory) && fs.readdirSync(directory).length > 0) {
      throw new TransportError(`Could not make '${directory}': it is there and not empty`);
    }
    return fs.mkdtempSync(join(dirname(directory), `.${basename(directory).slice(0, 200)}.`));
  } catch (error) {
    if (error instanceof TransportError) throw error;
    throw new TransportError(`Could not make '${directory}': ${errorText(error)}`, { cause: error });
  }
}

class Salvage {
  readonly #names = new Set<string>();
  readonly #target: (room: string) => SalvageTarget;
  readonly #breath: Breath;
  readonly #notes: string[];

  constructor(
    readonly path: string,
    readonly opened: Opened,
    readonly directory: string,
    readonly tables: Partial<Tables>,
    breath: Breath,
  ) {
    this.#notes = [...opened.notes];
    this.#breath = breath;
    this.#target = (room) => {
      fs.mkdirSync(join(directory, room), { recursive: true });
      return {
        fileFor: (name) => `${room}/${this.#fileName(room, name)}`,
        pathOf: (file) => join(directory, file),
      };
    };
  }

  /** @param joined the same with the pages of further channels */
  async write(found: Pieces, joined: JoinedPieces): Promise<SalvageReport> {
    const { source, xml } = this.opened;
    const { tables } = this;
    const whole = found.damages.length === 0 && found.pieces.length === 1 && found.pieces[0].index.complete;
    const discarded = whole && found.pieces[0].index.commands.some(({ name }) => name === "POSTCOPY_RAM_DISCARD");
    const mapped = await this.#mappedBlocks(found, whole);
    // behind a damage ram may have nothing but its end
    const format = found.pieces.map(({ index }) => index.ramFormat).find((each) => each !== null);
    const elsewhere = !mapped.length && format === "multifd" && !joined.multifd;
    if (mapped.length && joined.channels.length) {
      this.#notes.push("mapped-ram has its pages in the file: no channel was used");
    } else this.#notes.push(...joined.notes);
    if (elsewhere) this.#notes.push("pages are on multifd channels, which this file does not hold");
    // where nothing is wrong, pages that never came were not meant to; but those that postcopy discards come again
    const absent = whole && joined.sound && !elsewhere && !discarded;
    const ram = mapped.length
      ? await salvageMapped(source, mapped, this.#finished(found, mapped), this.#target("ram"), this.#breath)
      : await salvagePages(joined, tables, this.#target("ram"), absent, this.#breath);
    const lostPages = ram.reduce((sum, { lostPages }) => sum + lostPages, 0);
    const short = discarded && joined.sound && lostPages > 0;
    if (short) {
      this.#notes.push(
        joined.channels.length
          ? "pages are on a postcopy-preempt channel that goes on behind what was given"
          : "pages are on a postcopy-preempt channel, which this file does not hold",
      );
    }
    const intact = whole && joined.sound && !(short && joined.channels.length > 0);
    const devices = this.#devices(found);
    const iterables = salvageIterables(source, found, () => this.#target("iterables"));
    this.#doubts(found, mapped, ram, whole);
    const { broken } = this.opened;
    // that no stream begins where the container does is no news then
    const further = broken
      ? joined.damages.filter(({ offset, channel }) => channel !== undefined || offset !== source.start)
      : joined.damages;
    const damages = broken ? [{ offset: broken.offset, message: broken.message }, ...further] : further;
    const report: SalvageReport = {
      path: this.path,
      bytes: source.size!(),
      machine: found.pieces.map(({ index }) => index.configuration?.machine).find(Boolean) ?? null,
      intact,
      channels: joined.channels,
      damages,
      ram,
      devices,
      iterables,
      lost: {
        pages: lostPages,
        devices: found.description
          ? found.description.devices
            .filter((one) => !devices.some((two) => two.name === one.name && two.instanceId === one.instanceId))
            .map(({ name, instanceId }) => ({ name, instanceId }))
          : null,
        notes: this.#notes,
      },
    };
    if (found.description) this.#write("vmdescription.json", this.#description(found));
    if (xml) this.#write("domain.xml", xml);
    this.#write("salvage.json", JSON.stringify(report, undefined, 2) + "\n");
    this.#write("salvage.txt", salvageText(report));
    return report;
  }

  /** Blocks at fixed offsets: those of the list, and where that is damaged those that can be found. */
  async #mappedBlocks({ pieces }: Pieces, intact: boolean): Promise<MappedBlock[]> {
    const { source } = this.opened;
    const listed = pieces.flatMap(({ index }) => index.blocks)
      .filter(({ entry }) => entry.mapped)
      .map(({ entry }) => mappedBlockOf(source, entry));
    const plain = pieces.some(({ index }) => index.blocks.some(({ pages }) => pages.sentPages > 0));
    if (intact || plain) return listed;
    const ends = listed.map(({ pagesOffset, bytes }) => pagesOffset + bytes).filter((end) => end <= source.size!());
    const last = Math.max(source.start ?? 0, ...ends);
    // the list of a damaged file may have ended early
    const further = await findMappedBlocks(source, last > 0 && listed.length ? last : source.start ?? 0, this.#breath);
    return [...listed, ...further.filter(({ id }) => !listed.some((block) => block.id === id))];
  }

  /** Bitmaps are written when ram ends: one that has a bit says that all were. */
  #finished({ pieces }: Pieces, mapped: readonly MappedBlock[]): boolean {
    const ended = pieces.some(({ index }) => index.sections.some(({ name, type }) => name === "ram" && type === "end"));
    return ended || mapped.some(({ bitmap }) => bitmap?.some((byte) => byte !== 0));
  }

  #devices({ pieces, description }: Pieces): SalvagedDevice[] {
    const target = this.#target("devices");
    const seen = new Set<number>();
    const devices: SalvagedDevice[] = [];
    for (const { index, source } of pieces) {
      for (const indexed of index.devices) {
        const device = new ImageDevice(source, indexed, description ?? index.description);
        const { name, instanceId, version, offset, bytes, problem } = device;
        if (seen.has(offset)) continue;
        seen.add(offset);
        const file = target.fileFor(`${name}.${instanceId}.bin`);
        fs.writeFileSync(target.pathOf(file), device.body(), { mode: 0o600 });
        if (device.walk()) {
          this.#write(file.replace(/\.bin$/, ".json"), JSON.stringify(device.fields, undefined, 2) + "\n");
        }
        devices.push({ name, instanceId, version, offset, bytes, file, ...(problem ? { problem } : {}) });
      }
    }
    return devices;
  }

  /** What cannot be counted. */
  #doubts(found: Pieces, mapped: readonly MappedBlock[], ram: readonly SalvagedBlock[], intact: boolean): void {
    if (intact) return;
    const { pieces, description, givenUp, blocks } = found;
    const sections = pieces.flatMap(({ index }) => index.sections);
    if (mapped.length && !this.#finished(found, mapped)) {
      this.#notes.push(
        "no bitmap was written: slots that are not zero were taken for pages, the others may be zero or lost",
      );
    } else if (!mapped.length && blocks.size && !sections.some(({ name, type }) => name === "ram" && type === "end")) {
      this.#notes.push("the end of ram is missing: pages may be older than the guest's last");
    }
    if (!ram.length) this.#notes.push("no RAM block was found");
    if (!description) this.#notes.push("the description is missing: which devices are lost cannot be told");
    if (givenUp) this.#notes.push("the search was given up: too many damaged places");
  }

  #description({ description }: Pieces): string {
    const { configurationText, devices, pageSize } = description!;
    const configuration = configurationText ? `"configuration": ${configurationText}, ` : "";
    return `{${configuration}"page_size": ${pageSize ?? 0}, "devices": [${
      devices.map(({ text }) => text).join(", ")
    }]}\n`;
  }

  #write(file: string, text: string): void {
    fs.writeFileSync(join(this.directory, file), text, { mode: 0o600 });
  }

  /** Names of blocks and devices hold slashes, and come from a hostile file. */
  #fileName(room: string, name: string): string {
    const dot = room === "ram" ? name : name.slice(0, -4);
    const end = room === "ram" ? ".raw" : ".bin";
    const plain = dot.replace(/[^\w@.:-]+/g, "_").replace(/^\.+/, "_").slice(0, 180) || "_";
    let file = plain + end;
    for (let n = 2; this.#names.has(`${room}/${file}`); n++) file = `${plain}~${n}${end}`;
    this.#names.add(`${room}/${file}`);
    return file;
  }
}
