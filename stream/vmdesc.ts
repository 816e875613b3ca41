/**
 * VMDESCRIPTION: the JSON after the end of a stream that says how its device sections are laid out.
 *
 *     06  be32 length  { "configuration": VMSD, "page_size": n, "devices": [DEVICE, ...] }
 *
 *     VMSD   = "vmsd_name", "version", "fields": [FIELD, ...], ["subsections": [VMSD, ...]]
 *     DEVICE = "name", "instance_id", VMSD members            vmstate handlers
 *            | "name", "instance_id", "size", "fields"        old-style handlers, one opaque buffer
 *     FIELD  = "name", ["array_len" | "index"], "type", ["struct": VMSD | VMSD members, repeated], "size"
 *
 * Compact, one line, separators ", " and ": ", ASCII. Sizes are bytes on the wire.
 * Iterable sections (ram, dirty-bitmap) are not in it. Source: QEMU migration/vmstate.c
 * (vmsd_desc_field_start, vmstate_save_state_v), migration/savevm.c (vmstate_save, qemu_savevm_state_setup).
 * @module
 */
import { StreamError } from "./errors.ts";
import { JsonObject, type JsonOrigin, type JsonValue, parseJson } from "./vmjson.ts";

export type { JsonOrigin } from "./vmjson.ts";
export { findVmdescription, type FoundVmdescription } from "./vmfind.ts";

/** Most elements one `array_len` may claim: QEMU's counts are C ints. */
const ARRAY_LEN_LIMIT = 0x7fffffff;
/** Longest name; on the wire a byte counts them. */
const NAME_LIMIT = 255;
/** Largest `size`, `version` or `instance_id`. */
const U32_LIMIT = 0xffffffff;
/** Largest `page_size`; real ones are 1 KiB to 64 KiB. */
const PAGE_SIZE_LIMIT = 1 << 30;

/** What one vmsd wrote: its fields, then its subsections. */
export interface Vmsd {
  /** Name of the VMStateDescription; subsections are called `<vmsd_name>/<something>`. */
  readonly vmsdName: string;
  /** As written; the reader's may be newer. */
  readonly version: number;
  /** One entry per field, or per element or run of an array; vmarray.ts puts those together. */
  readonly fields: readonly FieldDescription[];
  /** Those that were written, in stream order. */
  readonly subsections: readonly Vmsd[];
}

/** One entry of `fields`. */
export interface FieldDescription {
  /** Name in QEMU's source; `name[k]` where the vmsd defines the same name more than once. */
  readonly name: string;
  /** VMStateInfo's name ("uint32", "buffer"), or "struct", "vstruct", "unknown". */
  readonly type: string;
  /** Bytes of the element, or of the first element where `arrayLen` is there. */
  readonly size: number;
  /** Elements this one entry stands for. */
  readonly arrayLen: number | undefined;
  /** Number of the element, where each has an entry; the last element of such an array has none. */
  readonly index: number | undefined;
  /** Layout of a "struct". */
  readonly struct: Vmsd | undefined;
  /** VMSD members beside the field's own: one for vstruct and tmp, one per element for qtailq and qlist. */
  readonly inline: readonly Vmsd[];
}

/** One FULL section. */
export interface DeviceDescription extends Vmsd {
  /** idstr of the section. */
  readonly name: string;
  /** Tells devices of one idstr apart: an ordinal, an APIC id, a port. */
  readonly instanceId: number;
  /** Written by an old-style handler: no `vmsd_name` (here the idstr) and no `version` (here 0). */
  readonly oldStyle: boolean;
  /** Its object as it stands in the JSON, for writing it back. */
  readonly text: string;
}

/** A whole description. */
export interface VmDescription {
  /** Layout of the configuration section; undefined when none was sent. */
  readonly configuration: Vmsd | undefined;
  /** The configuration's object as it stands in the JSON. */
  readonly configurationText: string | undefined;
  /** Bytes of a target page. */
  readonly pageSize: number | undefined;
  /** In stream order. */
  readonly devices: readonly DeviceDescription[];
  /** The device of a section, by idstr and instance id. */
  device(name: string, instanceId: number): DeviceDescription | undefined;
}

/**
 * Read a description's JSON, repeated keys kept.
 *
 * @param text   the JSON alone, without the record's type byte and length
 * @param origin where it lies, for errors
 * @throws {StreamError} naming the member (`devices[3].fields[2].size`) that is missing or out of range
 */
export function parseVmdescription(text: string, origin: JsonOrigin = {}): VmDescription {
  return new DescriptionReader(text, origin).read();
}

/**
 * Read one device's object alone, as {@link DeviceDescription.text} holds it.
 * @throws {StreamError} as {@link parseVmdescription}
 */
export function parseDeviceDescription(text: string, origin: JsonOrigin = {}): DeviceDescription {
  return new DescriptionReader(text, origin).readDevice();
}

/** The parts of a description, each already JSON. */
export interface VmdescriptionParts {
  /** Left out when no configuration section was sent. */
  readonly configurationText?: string;
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** In stream order. */
  readonly deviceTexts: readonly string[];
}

/** Put a description together, byte for byte as QEMU does. */
export function writeVmdescription(parts: VmdescriptionParts): string {
  const configuration = parts.configurationText === undefined ? "" : `"configuration": ${parts.configurationText}, `;
  return `{${configuration}"page_size": ${parts.pageSize}, "devices": [${parts.deviceTexts.join(", ")}]}`;
}

/** What a configuration section holds, as far as its description shows it. */
export interface ConfigurationShape {
  /** Versioned machine name, ASCII. */
  readonly machine: string;
  /** Written by targets whose page size is not fixed. */
  readonly targetPageBits?: number;
  /** Names in stream order: "x-ignore-shared", "mapped-ram". */
  readonly capabilities?: readonly string[];
  /** 16 bytes; only whether it is there counts. */
  readonly uuid?: Uint8Array;
}

/** Description of a configuration section as QEMU writes it (migration/savevm.c vmstate_configuration). */
export function configurationText(shape: ConfigurationShape): string {
  const subsections: string[] = [];
  const u32 = (name: string) => `{"name": "${name}", "type": "uint32", "size": 4}`;
  const subsection = (name: string, fields: string) =>
    subsections.push(`{"vmsd_name": "configuration/${name}", "version": 1, "fields": [${fields}]}`);
  if (shape.targetPageBits !== undefined) subsection("target-page-bits", u32("target_page_bits"));
  const capabilities = shape.capabilities ?? [];
  if (capabilities.length > 0) {
    const count = capabilities.length > 1 ? `"array_len": ${capabilities.length}, ` : "";
    const size = 1 + capabilities[0].length; // of the first one only
    subsection(
      "capabilities",
      `${u32("caps_count")}, {"name": "capabilities", ${count}"type": "capability", "size": ${size}}`,
    );
  }
  if (shape.uuid) subsection("uuid", `{"name": "uuid.data", "array_len": 16, "type": "uint8", "size": 1}`);
  const tail = subsections.length > 0 ? `, "subsections": [${subsections.join(", ")}]` : "";
  return `{"vmsd_name": "configuration", "version": 1, "fields": [${u32("len")}, ` +
    `{"name": "name", "type": "buffer", "size": ${shape.machine.length}}]${tail}}`;
}

/** Turns JSON into descriptions; `#path` names the member at hand. */
class DescriptionReader {
  readonly #text: string;
  readonly #origin: JsonOrigin;
  readonly #path: (string | number)[] = [];

  constructor(text: string, origin: JsonOrigin) {
    this.#text = text;
    this.#origin = origin;
  }

  read(): VmDescription {
    const root = this.#object(parseJson(this.#text, this.#origin), 0);
    const configuration = root.get("configuration");
    const pageSize = this.#optional(root, "page_size", PAGE_SIZE_LIMIT);
    if (pageSize !== undefined && (pageSize === 0 || (pageSize & (pageSize - 1)) !== 0)) {
      this.#path.push("page_size");
      this.#fail(root.start, `${pageSize}`, "a power of two");
    }
    const devices = this.#array(root, "devices", root.get("devices"), (value) => this.#device(value, root.start));
    const byKey = new Map<string, DeviceDescription>();
    for (const device of devices) {
      const key = `${device.instanceId}/${device.name}`;
      if (!byKey.has(key)) byKey.set(key, device);
    }
    return {
      configuration: configuration === undefined ? undefined : this.#under("configuration", () => {
        return this.#vmsd(this.#object(configuration, root.start));
      }),
      configurationText: configuration instanceof JsonObject ? this.#slice(configuration) : undefined,
      pageSize,
      devices,
      device: (name, instanceId) => byKey.get(`${instanceId}/${name}`),
    };
  }

  readDevice(): DeviceDescription {
    return this.#device(parseJson(this.#text, this.#origin), 0);
  }

  #device(value: JsonValue, at: number): DeviceDescription {
    const object = this.#object(value, at);
    const name = this.#string(object, "name");
    const oldStyle = !object.keys.includes("vmsd_name");
    const vmsd = oldStyle
      ? { vmsdName: name, version: 0, fields: this.#fields(object, object.get("fields")), subsections: [] }
      : this.#vmsd(object);
    return {
      name,
      instanceId: this.#number(object, "instance_id", U32_LIMIT),
      oldStyle,
      ...vmsd,
      text: this.#slice(object),
    };
  }

  #vmsd(object: JsonObject): Vmsd {
    const copies = this.#vmsds(object);
    if (copies.length !== 1) {
      this.#path.push("vmsd_name");
      this.#fail(object.start, copies.length === 0 ? "nothing" : `${copies.length} of it`, "one string");
    }
    return copies[0];
  }

  /** Every copy of the VMSD members in an object; each begins with its `vmsd_name`. */
  #vmsds(object: JsonObject): Vmsd[] {
    const { keys, values } = object;
    const copies: Vmsd[] = [];
    for (let at = keys.indexOf("vmsd_name"); at >= 0 && at < keys.length;) {
      const name = this.#name(object, "vmsd_name", values[at]);
      let version: JsonValue | undefined, fields: JsonValue | undefined, subsections: JsonValue | undefined;
      for (at++; at < keys.length && keys[at] !== "vmsd_name"; at++) {
        if (keys[at] === "version") version = values[at];
        else if (keys[at] === "fields") fields = values[at];
        else if (keys[at] === "subsections") subsections = values[at];
      }
      copies.push({
        vmsdName: name,
        version: this.#integer(object, "version", version, U32_LIMIT),
        fields: this.#fields(object, fields),
        subsections: subsections === undefined
          ? []
          : this.#array(object, "subsections", subsections, (each) => this.#vmsd(this.#object(each, object.start))),
      });
    }
    return copies;
  }

  #fields(object: JsonObject, value: JsonValue | undefined): FieldDescription[] {
    return this.#array(object, "fields", value, (each) => this.#field(this.#object(each, object.start)));
  }

  #field(object: JsonObject): FieldDescription {
    const type = this.#string(object, "type");
    const struct = object.get("struct");
    if (type === "struct" && struct === undefined) this.#failMember(object, "struct", struct, "an object");
    return {
      name: this.#string(object, "name"),
      type,
      size: this.#number(object, "size", U32_LIMIT),
      arrayLen: this.#optional(object, "array_len", ARRAY_LEN_LIMIT),
      index: this.#optional(object, "index", ARRAY_LEN_LIMIT),
      struct: struct === undefined ? undefined : this.#under("struct", () => {
        return this.#vmsd(this.#object(struct, object.start));
      }),
      inline: this.#vmsds(object),
    };
  }

  #array<T>(object: JsonObject, key: string, value: JsonValue | undefined, each: (value: JsonValue) => T): T[] {
    if (!Array.isArray(value)) this.#failMember(object, key, value, "an array");
    const depth = this.#path.push(key, 0);
    const result = value.map((entry, index) => {
      this.#path[depth - 1] = index;
      return each(entry);
    });
    this.#path.length = depth - 2;
    return result;
  }

  #under<T>(key: string, read: () => T): T {
    this.#path.push(key);
    const value = read();
    this.#path.pop();
    return value;
  }

  #object(value: JsonValue, at: number): JsonObject {
    if (!(value instanceof JsonObject)) this.#fail(at, show(value), "an object");
    return value;
  }

  #string(object: JsonObject, key: string): string {
    return this.#name(object, key, object.get(key));
  }

  /** Names go into messages: one line, of a sane length. */
  #name(object: JsonObject, key: string, value: JsonValue | undefined): string {
    // deno-lint-ignore no-control-regex -- they are what must not be there
    if (typeof value !== "string" || value.length > NAME_LIMIT || /[\x00-\x1f\x7f]/.test(value)) {
      this.#failMember(object, key, value, `a string of at most ${NAME_LIMIT} printable characters`);
    }
    return value;
  }

  #number(object: JsonObject, key: string, limit: number): number {
    return this.#integer(object, key, object.get(key), limit);
  }

  #optional(object: JsonObject, key: string, limit: number): number | undefined {
    const value = object.get(key);
    return value === undefined ? undefined : this.#integer(object, key, value, limit);
  }

  #integer(object: JsonObject, key: string, value: JsonValue | undefined, limit: number): number {
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > limit) {
      this.#failMember(object, key, value, `an integer from 0 to ${limit}`);
    }
    return value;
  }

  #slice(object: JsonObject): string {
    return this.#text.slice(object.start, object.end);
  }

  #failMember(object: JsonObject, key: string, value: JsonValue | undefined, expected: string): never {
    this.#path.push(key);
    this.#fail(object.start, show(value), expected);
  }

  #fail(at: number, found: string, expected: string): never {
    const path = this.#path.map((step) => typeof step === "number" ? `[${step}]` : `.${step}`).join("").slice(1);
    throw new StreamError(`Cannot read VMDESCRIPTION ${path || "root"}`, {
      channel: this.#origin.channel ?? "vmdescription",
      offset: (this.#origin.offset ?? 0) + at,
      found,
      expected,
    });
  }
}

/** A value in an error: short, never the whole tree. */
function show(value: JsonValue | undefined): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "an array";
  if (value instanceof JsonObject) return "an object";
  return JSON.stringify(typeof value === "string" ? value.slice(0, 40) : value);
}
