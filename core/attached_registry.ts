/**
 * The command table of an attached QEMU: ours, with what that QEMU has more, and without capabilities and parameters it
 * lacks. Names, their order and the values of enumerations are its own, from `query-migrate-capabilities` and
 * `query-qmp-schema`; what they mean, and the rules they follow, is known here for those that are.
 * @module
 */
import type { Command, HmpFace } from "./command.ts";
import { foreignArguments } from "./attached_arguments.ts";
import type { Parameter, ParameterType } from "./plugin.ts";
import { enumValues, QmpSchema, type SchemaInfo } from "./qmp_schema.ts";
import type { Registry } from "./registry.ts";

/** What was asked of a QEMU for it. */
export interface QemuVocabulary {
  /** Names, in its order. */
  readonly capabilities: readonly string[];
  /** `query-qmp-schema`. */
  readonly schema: readonly SchemaInfo[];
  /** Text of `help`. */
  readonly help: string;
  /** Text of `help info`. */
  readonly infoHelp: string;
  /** Names of `query-commands`. */
  readonly commands: readonly string[];
}

/** Nothing is known yet: the table is ours. */
export const NO_VOCABULARY: QemuVocabulary = { capabilities: [], schema: [], help: "", infoHelp: "", commands: [] };

/** Fit the table to a QEMU. */
export function attachedRegistry(ours: Registry, theirs: QemuVocabulary): Registry {
  const extra = foreignCommands(ours, theirs);
  const hmp = new Map(ours.hmp);
  for (const command of extra) {
    for (const name of [command.hmp!.name, ...command.hmp!.aliases ?? []]) if (!hmp.has(name)) hmp.set(name, command);
  }
  const qmp = new Map(ours.qmp);
  const plain: Command[] = [];
  for (const name of theirs.commands) {
    if (qmp.has(name)) continue;
    const command: Command = { qmp: { name }, run: elsewhere };
    qmp.set(name, command);
    plain.push(command);
  }
  return Object.freeze<Registry>({
    ...ours,
    capabilities: theirs.capabilities.map((name) =>
      ours.capabilities.find((one) => one.name === name) ?? { name, help: "" }
    ),
    parameters: parametersOf(ours, theirs.schema),
    commands: [...ours.commands, ...extra, ...plain],
    hmp,
    qmp,
  });
}

function elsewhere(): never {
  throw new TypeError("the command belongs to another process");
}

/** Members of `migrate-set-parameters`. */
function parametersOf(ours: Registry, infos: readonly SchemaInfo[]): readonly Parameter[] {
  const schema = new QmpSchema(infos);
  const members = schema.find("migrate-set-parameters")?.members;
  if (!members) return ours.parameters;
  return members.map(({ name, type }): Parameter => {
    const known = ours.parameters.find((one) => one.name === name);
    const info = schema.type(type);
    const values = info?.["meta-type"] === "enum" ? enumValues(info) : undefined;
    if (known) return values ? { ...known, values } : known;
    return { name, help: "", type: values ? "enum" : typeOf(info), values, default: undefined, hidden: true };
  }).toSorted((a, b) => (a.ordinal ?? Infinity) - (b.ordinal ?? Infinity) || 0);
}

function typeOf(info: SchemaInfo | undefined): ParameterType {
  switch (info?.["json-type"]) {
    case "boolean":
      return "bool";
    case "int":
      return "uint64";
    default:
      return info?.["meta-type"] === "array" ? "list" : "string";
  }
}

/** Commands of its human monitor that are not in our table: they are handed on, but Tab and its hint know them. */
function foreignCommands(ours: Registry, { help, infoHelp }: QemuVocabulary): Command[] {
  const faces = [...facesOf(help, ""), ...facesOf(infoHelp, "info ")];
  return faces.filter(({ name }) => !ours.hmp.has(name) && name !== "help" && name !== "info")
    .map((hmp): Command => ({ hmp, run: elsewhere }));
}

/** `block_stream|bs device -- help` and, over further lines, more help. */
function facesOf(text: string, prefix: "" | "info "): HmpFace[] {
  return text.replace(/\n[ \t]+/g, " ").split("\n").flatMap((line): HmpFace[] => {
    const match = /^(info )?([\w?|-]+)( [^\t]*?)? -- (.*)$/.exec(line);
    if (!match || (match[1] ?? "") !== prefix) return [];
    const [name, ...aliases] = match[2].split("|");
    return [{
      name: prefix + name,
      aliases: prefix ? [] : aliases,
      params: match[3]?.trim() ?? "",
      help: match[4],
      args: foreignArguments(prefix + name, match[3] ?? ""),
    }];
  });
}
