/**
 * A workbench as the command line describes it.
 * @module
 */
import type { Bench, BenchOptions } from "../repl/bench.ts";
import { pluginsOf, sizeOf } from "./words.ts";

/** Open one. @throws in one line that names the file, where there is one */
export async function openBench(
  { content = [], accel, plugins, offset, channels, ...options }: BenchOptions,
): Promise<Bench> {
  const { parseContent, Workbench } = await import("../mod.ts");
  try {
    return await Workbench.open({
      ...options,
      offset: await sizeOf(offset),
      channels,
      content: content.length > 0 ? content.map(parseContent) : undefined,
      accelerator: accel,
      plugins: await pluginsOf(plugins),
    });
  } catch (error) {
    if (options.guest !== undefined && error instanceof Error) explain(error, options.guest);
    throw error;
  }
}

/** Channels that may stand in files of their own. */
const BESIDE = ["multifd", "postcopy-preempt"];

function explain(error: Error & { feature?: string }, guest: string): void {
  if (BESIDE.includes(error.feature ?? "")) error.message += "; give the file of each with --channel";
  if (!error.message.includes(guest)) error.message = `${guest}: ${error.message}`;
}
