/**
 * What `query-qmp-schema` tells: types go by numbers there, so finding one is a walk from the command that uses it.
 * Source: QEMU qapi/introspect.json.
 * @module
 */

/** QAPI SchemaInfo, as far as it is looked at. */
export interface SchemaInfo {
  /** Of commands, readable; of types, a number. */
  readonly name: string;
  /** "command", "object", "enum", "builtin", "array". */
  readonly "meta-type": string;
  /** Of a command. */
  readonly "arg-type"?: string;
  /** Of an object or an enumeration. */
  readonly members?: readonly { readonly name: string; readonly type?: string }[];
  /** Of an object: further members, by the value of its tag. */
  readonly variants?: readonly { readonly case: string; readonly type: string }[];
  /** Of an enumeration, where `members` is not there yet. */
  readonly values?: readonly string[];
  /** Of an array. */
  readonly "element-type"?: string;
  /** Of a builtin: "int", "string", "boolean". */
  readonly "json-type"?: string;
}

/** A schema that can be walked. */
export class QmpSchema {
  readonly #infos: ReadonlyMap<string, SchemaInfo>;

  constructor(infos: readonly SchemaInfo[]) {
    this.#infos = new Map(infos.map((info) => [info.name, info]));
  }

  /** A type by the name the schema has for it. */
  type(name: string | undefined): SchemaInfo | undefined {
    return name === undefined ? undefined : this.#infos.get(name);
  }

  /**
   * The type at the end of a path through a command's arguments: each step names a member, or a variant; arrays are passed.
   *
   *     find("send-key", "keys", "qcode", "data")     the enumeration of keys
   */
  find(command: string, ...path: readonly string[]): SchemaInfo | undefined {
    let info = this.#element(this.#infos.get(command)?.["arg-type"]);
    for (const step of path) {
      const next: string | undefined = info?.members?.find(({ name }) => name === step)?.type ??
        info?.variants?.find((variant) => variant.case === step)?.type;
      info = this.#element(next);
    }
    return info;
  }

  #element(name: string | undefined): SchemaInfo | undefined {
    const info = this.type(name);
    return info?.["meta-type"] === "array" ? this.#element(info["element-type"]) : info;
  }
}

/** Values of an enumeration; none for any other type. */
export function enumValues(info: SchemaInfo | undefined): readonly string[] {
  if (info?.["meta-type"] !== "enum") return [];
  return info.members?.map(({ name }) => name) ?? info.values ?? [];
}
