/**
 * Which saved guest is meant: options that say the same in every command that reads one.
 *
 *     root.command("verify").argument("<file>", ...).option(...CHANNEL).option(...SNAPSHOT).option(...OFFSET)
 *         .action((file, options) => ... fileRequest(options, context))
 *
 * @module
 */
import { repeatable, sizeArgument } from "./options.ts";
import type { Context } from "./program.ts";

/** Where in a file, and in which files beside it, a guest is. */
export interface FileRequest {
  /** Where in the file the stream begins: a size. */
  readonly offset?: string;
  /** Further channels of the migration. */
  readonly channels?: readonly string[];
  /** Internal snapshot of a qcow2 image. */
  readonly snapshot?: string;
  /** A file that is nothing known is raw memory. */
  readonly raw?: boolean;
  /** Modules of plugins. */
  readonly plugins?: readonly string[];
}

/** `--offset` */
export const OFFSET = ["--offset <bytes>", "where in the file the stream begins", sizeArgument] as const;

/** `--channel` */
export const CHANNEL = ["--channel <file>", "a further channel of the migration; repeatable", repeatable] as const;

/** `--snapshot` */
export const SNAPSHOT = ["--snapshot <name>", "internal snapshot of a qcow2 image, by name or id"] as const;

/** `--raw` */
export const RAW = ["--raw", "a file that is nothing known is raw memory: byte N is address N"] as const;

/** Options of a command as the tools take them. */
export function fileRequest<Options>(
  options: Options & { readonly channel?: readonly string[] },
  context: Context,
): Omit<Options, "channel"> & Pick<FileRequest, "channels" | "plugins"> {
  const { channel, ...rest } = options;
  return { ...rest, channels: channel, plugins: context.options().plugin };
}
