/**
 * Names a running QEMU knows, for the Tab key: asked for when they are wanted. What a machine is made of is asked each time;
 * what its program can make (types, their properties) once.
 *
 *     device_add e1000,net|      properties of e1000 that begin with "net"
 *     sendkey ctrl-alt-f|        keys that begin with "f"
 *     qom-list /machine/per|     children of /machine that begin with "per"
 *
 * Source: QEMU's own completion, system/qdev-monitor.c, net/net-hmp-cmds.c, chardev/char-hmp-cmds.c, qom/qom-hmp-cmds.c,
 * migration/migration-hmp-cmds.c, trace/trace-hmp-cmds.c, ui/ui-hmp-cmds.c.
 * @module
 */
import type { Arguments } from "./command.ts";
import { enumValues, QmpSchema, type SchemaInfo } from "./qmp_schema.ts";
import type { NameKind, Names } from "./remote_names.ts";

/** Asks a QEMU for something by its QMP name. */
export type AskQemu = (name: string, args?: Arguments) => Promise<unknown>;

/** Object property, as QOM tells of it. */
interface Property {
  readonly name: string;
  readonly type?: string;
  readonly description?: string;
  /** Values, where there are few. */
  readonly values?: readonly string[];
}

/** Properties whose value names something of the machine. */
const REFERENCES: Readonly<Record<string, NameKind>> = {
  drive: "nodes",
  netdev: "netdevs",
  chardev: "chardevs",
  iothread: "objects",
  memdev: "objects",
};

/** Words of `device_add` beside the properties of the device. */
const DEVICE_WORDS: readonly Property[] = [{ name: "id", type: "str" }, { name: "bus", type: "str" }];
/** And of `object_add`. */
const OBJECT_WORDS: readonly Property[] = [{ name: "id", type: "str" }];

/** The names of one QEMU. */
export class AttachedNames {
  readonly #ask: AskQemu;
  #schema: QmpSchema | undefined;
  readonly #kept = new Map<string, Promise<unknown>>();

  constructor(ask: AskQemu) {
    this.#ask = ask;
  }

  /** Types of its QMP commands' arguments; without them there are no keys, watchdog actions and options of backends. */
  set schema(infos: readonly SchemaInfo[]) {
    this.#schema = new QmpSchema(infos);
  }

  /**
   * Names for a word.
   * @param typed  as far as it is there
   * @param before words of the line between the command and this one
   * @throws {CommandError} {TransportError} when this QEMU cannot be asked
   */
  async find(kind: NameKind, typed: string, before: readonly string[]): Promise<Names> {
    switch (kind) {
      case "device-options":
        return await this.#options(typed, () => this.#deviceTypes(), (type) => this.#deviceProperties(type));
      case "object-options":
        return await this.#options(typed, () => this.#objectTypes(), (type) => this.#objectProperties(type));
      case "netdev-options":
        return await this.#options(typed, () => this.#netdevTypes(), (type) => this.#netdevProperties(type));
      case "keys":
        return fitting(this.#values("send-key", "keys", "qcode", "data"), typed.slice(typed.lastIndexOf("-") + 1));
      case "qom-paths":
        return await this.#paths(typed);
      case "qom-properties":
        return fitting((await this.#children(before[0])).filter(isValue).map(({ name }) => name), typed);
      default:
        return fitting(await this.#list(kind, typed), typed);
    }
  }

  async #list(kind: NameKind, typed: string): Promise<readonly string[]> {
    switch (kind) {
      case "chardev-backends":
        return names(await this.#once("query-chardev-backends"));
      case "chardevs":
        return (await this.#asked<{ label: string }[]>("query-chardev")).map(({ label }) => label);
      case "ringbufs":
        return names((await this.#children("/chardevs")).filter(({ type }) => type === "child<chardev-ringbuf>"));
      case "devices":
        return await this.#unpluggable();
      case "objects":
        return names((await this.#children("/objects")).filter((one) => !isValue(one)));
      case "netdevs":
        return (await this.#netClients()).filter(({ type }) => type !== "nic").map(({ name }) => name);
      case "net-clients":
        return (await this.#netClients()).map(({ name }) => name);
      case "blocks":
        return (await this.#asked<{ device: string }[]>("query-block")).map(({ device }) => device);
      case "nodes": {
        const nodes = await this.#nodes();
        return [...await this.#list("blocks", ""), ...nodes.map((node) => node["node-name"])]
          .filter((name) => !name.startsWith("#")); // QEMU made that one up
      }
      case "jobs":
        return [
          ...await this.#list("blocks", ""),
          ...(await this.#asked<{ device: string }[]>("query-block-jobs")).map(({ device }) => device),
        ];
      case "snapshots":
        return (await this.#nodes()).flatMap(({ image }) => image?.snapshots ?? []).flatMap((
          { name, id },
        ) => [name, id]);
      case "trace-events":
        return names(await this.#asked("trace-event-get-state", { name: `${typed}*` }));
      case "fdsets":
        return (await this.#asked<{ "fdset-id": number }[]>("query-fdsets")).map((set) => String(set["fdset-id"]));
      case "watchdog-actions":
        return this.#values("watchdog-set-action", "action");
      default:
        return [];
    }
  }

  /** "TYPE,KEY=VALUE,...": whichever of these the end of the word is. */
  async #options(
    typed: string,
    types: () => Promise<readonly string[]>,
    properties: (type: string) => Promise<readonly Property[]>,
  ): Promise<Names> {
    const comma = typed.lastIndexOf(",");
    if (comma < 0) return { ...fitting(await types(), typed), open: true };
    const [type, ...given] = typed.slice(0, comma).split(",");
    const [, key, value] = /^([^=]*)(?:=(.*))?$/s.exec(typed.slice(comma + 1))!;
    const all = await properties(type);
    if (value === undefined) {
      const left = all.filter(({ name }) => !given.some((option) => option.startsWith(`${name}=`)));
      return { ...fitting(left.map(({ name }) => `${name}=`), key), open: true };
    }
    const property = all.find(({ name }) => name === key);
    if (!property) return { words: [], typed: value };
    const values = property.type === "bool" ? ["on", "off"] : property.values ??
      (key in REFERENCES ? await this.#list(REFERENCES[key], "") : []);
    const about = [property.type, property.description].filter(Boolean).join(": ");
    return { ...fitting(values, value), open: true, hint: about && `${key}=${about}` };
  }

  async #deviceTypes(): Promise<readonly string[]> {
    // which ones a person may make is told nowhere else
    const help = await this.#once("human-monitor-command", { "command-line": "device_add help" }) as string;
    return [...help.matchAll(/^name "([^"]+)"/gm)].map(([, name]) => name);
  }

  async #objectTypes(): Promise<readonly string[]> {
    return names(await this.#once("qom-list-types", { implements: "user-creatable", abstract: false }));
  }

  #netdevTypes(): Promise<readonly string[]> {
    return Promise.resolve(this.#values("netdev_add", "type"));
  }

  async #deviceProperties(typename: string): Promise<readonly Property[]> {
    const own = await this.#once("device-list-properties", { typename }) as Property[];
    return [...DEVICE_WORDS, ...own.filter(isValue)];
  }

  async #objectProperties(typename: string): Promise<readonly Property[]> {
    const own = await this.#once("qom-list-properties", { typename }) as Property[];
    return [...OBJECT_WORDS, ...own.filter(isValue).filter(({ name }) => name !== "type")];
  }

  #netdevProperties(type: string): Promise<readonly Property[]> {
    const members = [this.#schema?.find("netdev_add"), this.#schema?.find("netdev_add", type)]
      .flatMap((info) => info?.members ?? []).filter(({ name }) => name !== "type");
    return Promise.resolve(members.map(({ name, type }): Property => {
      const info = this.#schema!.type(type);
      if (info?.["meta-type"] === "enum") return { name, values: enumValues(info) };
      return { name, type: info?.["json-type"] === "boolean" ? "bool" : info?.["json-type"] };
    }));
  }

  async #unpluggable(): Promise<readonly string[]> {
    const ids = names((await this.#children("/machine/peripheral")).filter((one) => !isValue(one)));
    const is = (id: string, property: string) =>
      this.#ask("qom-get", { path: `/machine/peripheral/${id}`, property }).catch(() => false);
    const fit = await Promise.all(ids.map((id) => Promise.all([is(id, "hotpluggable"), is(id, "realized")])));
    return ids.filter((_, i) => fit[i].every((yes) => yes === true));
  }

  /** QMP has no word for them. */
  async #netClients(): Promise<readonly { readonly name: string; readonly type: string }[]> {
    const text = await this.#asked<string>("human-monitor-command", { "command-line": "info network" });
    return [...text.matchAll(/^(?: \\ )?(\S+): index=\d+,type=([\w-]+)/gm)].map(([, name, type]) => ({ name, type }));
  }

  async #nodes(): Promise<readonly BlockNode[]> {
    return await this.#asked<BlockNode[]>("query-named-block-nodes", { flat: true });
  }

  async #paths(typed: string): Promise<Names> {
    const slash = typed.lastIndexOf("/");
    if (slash < 0) return { ...fitting(["/"], typed), open: true };
    const children = await this.#children(typed.slice(0, slash) || "/");
    const below = children.filter((one) => !isValue(one)).map(({ name }) => `${name}/`);
    return { ...fitting(below, typed.slice(slash + 1)), open: true };
  }

  async #children(path: string): Promise<readonly Property[]> {
    return await this.#asked<Property[]>("qom-list", { path });
  }

  #values(command: string, ...path: readonly string[]): readonly string[] {
    return enumValues(this.#schema?.find(command, ...path));
  }

  async #asked<T>(name: string, args?: Arguments): Promise<T> {
    return await this.#ask(name, args) as T;
  }

  /** An answer that stays true as long as that QEMU runs. */
  #once(name: string, args?: Arguments): Promise<unknown> {
    const key = `${name} ${JSON.stringify(args)}`;
    let answer = this.#kept.get(key);
    if (!answer) {
      answer = this.#ask(name, args);
      this.#kept.set(key, answer);
      answer.catch(() => this.#kept.delete(key));
    }
    return answer;
  }
}

/** BlockDeviceInfo, as far as it is looked at. */
interface BlockNode {
  readonly "node-name": string;
  readonly image?: { readonly snapshots?: readonly { readonly name: string; readonly id: string }[] };
}

/** Not another object below this one. */
function isValue({ type = "" }: Property): boolean {
  return !type.startsWith("child<");
}

function names(list: unknown): readonly string[] {
  return (list as readonly { readonly name: string }[]).map(({ name }) => name);
}

function fitting(words: readonly string[], typed: string): Names {
  return { words: [...new Set(words)].filter((word) => word !== "" && word.startsWith(typed)).sort(), typed };
}
