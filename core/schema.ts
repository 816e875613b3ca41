/**
 * Shapes of QMP arguments, and the check of a value against one.
 *
 * A check walks as QEMU's generated visitors do: members in the order of the schema, each for presence and type; then
 * unknown members. The path in a message is spelled out (`channels[0].addr.port`), except where QEMU names only the last
 * step: enumerations, small integers, alternates. Source: QEMU qapi/qobject-input-visitor.c, qapi/qapi-visit-core.c.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import { JsonFloat } from "./json.ts";

/** A shape. Integers arrive as number or bigint and leave as number where they fit one exactly. */
export type Schema =
  | { readonly type: "string" | "bool" | "int" | "uint64" | "strOrNull" | "any" }
  | { readonly type: "uint8" | "uint16" | "uint32" }
  | { readonly type: "enum"; readonly values: readonly string[] }
  | { readonly type: "array"; readonly items: Schema }
  | ObjectSchema
  | UnionSchema;

/** Members of an object, in the schema's order; a name with a leading `*` is optional. */
export interface ObjectSchema {
  /** Tells it from other shapes. */
  readonly type: "object";
  /** In the order they are checked. */
  readonly members: Readonly<Record<string, Schema>>;
}

/** An object whose further members depend on one of them. */
export interface UnionSchema {
  /** Tells it from other shapes. */
  readonly type: "union";
  /** The member that decides. */
  readonly discriminator: string;
  /** By its value. */
  readonly variants: Readonly<Record<string, ObjectSchema | UnionSchema>>;
}

/** Short ways to write schemas. */
export const STRING: Schema = { type: "string" };
/** true or false. */
export const BOOL: Schema = { type: "bool" };
/** int64. */
export const INT: Schema = { type: "int" };
/** uint64; QAPI's `size` is the same on the wire. */
export const UINT64: Schema = { type: "uint64" };

/** An object of these members. */
export function object(members: Readonly<Record<string, Schema>> = {}): ObjectSchema {
  return { type: "object", members };
}

/** A list of these. */
export function array(items: Schema): Schema {
  return { type: "array", items };
}

/** One of these words. */
export function enumeration(values: readonly string[]): Schema {
  return { type: "enum", values };
}

/**
 * Check a value.
 * @param path spelled-out path, "" for the arguments themselves
 * @param name last step of it, as QEMU's short messages have it; "null" inside a list
 * @returns the value with its integers normalised; members that were absent stay absent
 * @throws {CommandError} with QEMU's text
 */
export function check(schema: Schema, value: unknown, path = "", name = path): unknown {
  switch (schema.type) {
    case "any":
      return value;
    case "string":
      if (typeof value !== "string") throw wrongType(path, "string");
      return value;
    case "bool":
      if (typeof value !== "boolean") throw wrongType(path, "boolean");
      return value;
    case "strOrNull":
      if (value !== null && typeof value !== "string") throw wrongType(name, "StrOrNull");
      return value;
    case "int": {
      const whole = integer(value);
      if (whole === undefined || whole > (1n << 63n) - 1n) throw wrongType(path, "integer");
      return narrow(whole);
    }
    case "uint64":
    case "uint8":
    case "uint16":
    case "uint32": {
      const whole = integer(value);
      if (whole === undefined) throw new CommandError(`Parameter '${path}' expects uint64`);
      const wrapped = BigInt.asUintN(64, whole);
      const bits = Number(schema.type.slice(4));
      if (wrapped >> BigInt(bits)) throw new CommandError(`Parameter '${name}' expects ${schema.type}_t`);
      return narrow(wrapped);
    }
    case "enum":
      if (typeof value !== "string") throw wrongType(path, "string");
      if (!schema.values.includes(value)) throw notAccepted(name, value);
      return value;
    case "array":
      if (!Array.isArray(value)) throw wrongType(path, "array");
      return value.map((item, index) => check(schema.items, item, `${path}[${index}]`, "null"));
    case "object":
    case "union":
      return checkObject(schema, value, path);
  }
}

function checkObject(schema: ObjectSchema | UnionSchema, value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof JsonFloat) {
    throw wrongType(path, "object");
  }
  const given = value as Record<string, unknown>;
  const checked: Record<string, unknown> = {};
  const known = new Set<string>();
  const prefix = path === "" ? "" : path + ".";
  const member = (name: string, shape: Schema, optional: boolean) => {
    known.add(name);
    if (!Object.hasOwn(given, name) || given[name] === undefined) {
      if (!optional) throw new CommandError(`Parameter '${prefix}${name}' is missing`);
      return;
    }
    checked[name] = check(shape, given[name], prefix + name, name);
  };
  let shape = schema;
  while (shape.type === "union") {
    member(shape.discriminator, enumeration(Object.keys(shape.variants)), false);
    shape = shape.variants[checked[shape.discriminator] as string];
  }
  for (const [name, type] of Object.entries(shape.members)) {
    member(name.replace(/^\*/, ""), type, name.startsWith("*"));
  }
  const unknown = Object.keys(given).find((name) => !known.has(name) && given[name] !== undefined);
  if (unknown !== undefined) throw new CommandError(`Parameter '${prefix}${unknown}' is unexpected`);
  return checked;
}

/** An integer of 64 bits, signed or not; undefined for anything else. */
function integer(value: unknown): bigint | undefined {
  if (typeof value === "bigint") return value >= -(1n << 63n) && value < 1n << 64n ? value : undefined;
  if (typeof value === "number" && Number.isInteger(value)) return integer(BigInt(value));
  return undefined;
}

/** A number where it is exact, else the bigint. */
export function narrow(value: bigint): number | bigint {
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}

function wrongType(path: string, expected: string): CommandError {
  return new CommandError(`Invalid parameter type for '${path}', expected: ${expected}`);
}

/** QEMU's refusal of a word that is not in an enumeration. */
export function notAccepted(name: string, value: string): CommandError {
  return new CommandError(`Parameter '${name}' does not accept value '${value}'`);
}
