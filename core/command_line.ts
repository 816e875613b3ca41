/**
 * `-incoming VALUE`: a URI, `defer`, or a channel description as JSON or `key=value,...`.
 * Source: QEMU system/vl.c (incoming_option_parse), util/keyval.c.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import { MIGRATION_CHANNEL } from "./commands/migration.ts";
import { parseJson } from "./json.ts";
import type { MigrationChannel } from "./reach.ts";
import { check } from "./schema.ts";

/** Where to load from: one of the two ways `migrate-incoming` takes. */
export type IncomingSource = { readonly uri: string } | { readonly channels: readonly MigrationChannel[] };

/**
 * Read the option's value.
 * @returns undefined for `defer`
 * @throws {CommandError} with QEMU's text
 */
export function parseIncomingOption(value: string): IncomingSource | undefined {
  if (value === "defer") return undefined;
  if (/^[a-z]+:/.test(value)) return { uri: value };
  const given = value.startsWith("{") ? parseJson(value) : keyValues(value);
  return { channels: [check(MIGRATION_CHANNEL, given) as unknown as MigrationChannel] };
}

/** `main,addr.transport=file,addr.offset=0`: a first word without `=` is the channel's type; dots nest; integers stay text. */
function keyValues(text: string): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  text.split(",").forEach((part, index) => {
    const equals = part.indexOf("=");
    if (equals < 0 && index > 0) throw new CommandError(`No implicit parameter name for value '${part}'`);
    const key = equals < 0 ? "channel-type" : part.slice(0, equals);
    const steps = key.split(".");
    const last = steps.pop()!;
    let place = root;
    for (const step of steps) {
      const next = Object.hasOwn(place, step) ? place[step] : place[step] = {};
      if (typeof next !== "object" || next === null) throw new CommandError(`Parameters '${key}' used inconsistently`);
      place = next as Record<string, unknown>;
    }
    const value = part.slice(equals + 1);
    place[last] = last === "offset" && /^\d+$/.test(value) ? BigInt(value) : value;
  });
  return root;
}
