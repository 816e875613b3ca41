/**
 * The state of one device in an image: its bytes, and its fields by the stream's own description.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import type { SectionType } from "../stream/records.ts";
import type { VmDescription } from "../stream/vmdesc.ts";
import { type PlainFields, walkDevice, type WalkedDevice } from "../stream/vmstate.ts";
import type { StreamIndex } from "./index_result.ts";

/** The state of one device. */
export class ImageDevice {
  /** idstr of the section: "0000:00:01.1/ide". */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instanceId: number;
  /** Version of its layout. */
  readonly version: number;
  /** Id of its section in this stream. */
  readonly sectionId: number;
  /** "full". */
  readonly type: SectionType;
  /** Of the body, in the file. */
  readonly offset: number;
  /** Bytes of the body. */
  readonly bytes: number;
  /** Written before RAM (early_setup). */
  readonly early: boolean;
  /** How its length was found: by the description, by the footer after it, or taken to the end. */
  readonly bounds: "description" | "footer" | "rest";
  readonly #source: ByteSource;
  readonly #copy: Uint8Array | undefined;
  readonly #description: VmDescription | undefined;
  #walked: WalkedDevice | undefined;

  /**
   * A device that was found.
   * @param source the stream, read again for the body where it can seek
   */
  constructor(source: ByteSource, device: StreamIndex["devices"][number], description: VmDescription | undefined) {
    const { section } = device;
    this.name = section.name;
    this.instanceId = section.instanceId;
    this.version = section.version;
    this.sectionId = section.id;
    this.type = section.type;
    this.offset = section.offset;
    this.bytes = section.bytes;
    this.early = device.early;
    this.bounds = device.bounds;
    this.#source = source;
    this.#copy = device.body;
    this.#description = description;
  }

  /** The bytes of the body, as they stand in the stream. */
  body(): Uint8Array {
    if (this.#copy) return this.#copy;
    const body = new Uint8Array(this.bytes);
    return body.subarray(0, this.#source.readAt!(body, this.offset));
  }

  /** The fields as a tree with offsets; undefined where no description says how they are laid out. */
  walk(): WalkedDevice | undefined {
    const vmsd = this.#description?.device(this.name, this.instanceId);
    if (!vmsd) return undefined;
    return this.#walked ??= walkDevice(vmsd, this.body(), {
      channel: this.#source.name,
      offset: this.offset,
      partial: true,
    });
  }

  /** Fields by name, decoded when first asked for; empty where no description says how they are laid out. */
  get fields(): PlainFields {
    return this.walk()?.fields ?? {};
  }

  /** Why `fields` is not all of it. */
  get problem(): string | undefined {
    const walked = this.walk();
    if (!walked) return "no description of its fields";
    if (walked.problem) return walked.problem.message;
    return walked.consumed < this.bytes ? `${this.bytes - walked.consumed} bytes behind the last field` : undefined;
  }
}
