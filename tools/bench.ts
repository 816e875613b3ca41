/**
 * A workbench as the command line describes it.
 * @module
 */
import type { Bench, BenchOptions } from "../repl/bench.ts";
import { offsetHint } from "./hint.ts";
import { pluginsOf, sizeOf } from "./words.ts";

/** Open one. @throws in one line that names the file, where there is one */
export async function openBench(
  { content = [], accel, plugins, offset, channels, ...options }: BenchOptions,
): Promise<Bench> {
  const [{ AssembledWorkbench }, { DEFAULT_ASSEMBLY }, { parseContent }] = await Promise.all([
    import("../core/workbench.ts"),
    import("../assembly.ts"),
    import("../guest/content.ts"),
  ]);
  const modules = await pluginsOf(plugins);
  const start = await sizeOf(offset);
  try {
    return await AssembledWorkbench.assemble({
      ...options,
      offset: start,
      channels,
      content: content.length > 0 ? content.map(parseContent) : undefined,
      accelerator: accel,
      plugins: modules,
    }, DEFAULT_ASSEMBLY);
  } catch (error) {
    if (options.guest !== undefined && error instanceof Error) await explain(error, options.guest, start ?? 0);
    throw error;
  }
}

/** Channels that may stand in files of their own. */
const BESIDE = ["multifd", "postcopy-preempt"];

async function explain(error: Error & { feature?: string }, guest: string, offset: number): Promise<void> {
  error.message += await offsetHint(error.message, guest, offset);
  if (BESIDE.includes(error.feature ?? "")) error.message += "; give the file of each with --channel";
  if (!error.message.includes(guest)) error.message = `${guest}: ${error.message}`;
}
